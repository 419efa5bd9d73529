"""Schedulers by class: a resumed training has the state of one that was not interrupted."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.models.backbones import OptiMetal2B
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.schedule import SchedulerConfig, WarmupCosine
from dielectric_gnn.training.trainer import Trainer
from dielectric_gnn.utils.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:.*(many workers|logging interval|LeafSpec|is not empty).*")

PLATEAU = partial(ReduceLROnPlateau, patience=0, threshold=1e6, threshold_mode="abs")
"""No loss improves by so much: the rate falls after every epoch but the first."""


def train(folder: Path, scheduler: Any, epochs: int, resume: Path | None = None) -> dict[str, Any]:
    last = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False)
    options: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=epochs, callbacks=[last], default_root_dir=folder, **options)
    model = DielectricModule(OptiMetal2B(8), lr_scheduler=SchedulerConfig(scheduler))
    trainer.fit(
        model, datamodule=CrystalDataModule(ExampleMetals(parts=1), train_size=8, batch_size=8), ckpt_path=resume
    )
    found: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return found


@pytest.mark.parametrize("scheduler", [PLATEAU, partial(ExponentialLR, gamma=0.5)], ids=["plateau", "exponential"])
def test_a_resumed_training_has_the_same_rates(scheduler: Any, tmp_path: Path) -> None:
    straight = train(tmp_path / "straight", scheduler, 3)
    train(tmp_path / "resumed", scheduler, 2)
    resumed = train(tmp_path / "resumed", scheduler, 3, tmp_path / "resumed" / "last.ckpt")
    rates = [each["optimizer_states"][0]["param_groups"][0]["lr"] for each in (straight, resumed)]
    states = [each["lr_schedulers"][0] for each in (straight, resumed)]
    assert rates[0] == rates[1] < 1e-3
    for key in ("last_epoch", "_last_lr"):
        assert states[0][key] == states[1][key]
    assert states[0]["last_epoch"] == 3


def test_a_schedule_and_a_scheduler_exclude_each_other() -> None:
    with pytest.raises(InputError, match=r"model\.schedule"):
        DielectricModule(OptiMetal2B(8), schedule=WarmupCosine(), lr_scheduler=SchedulerConfig(PLATEAU))
