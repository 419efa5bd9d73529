"""One data module serves any stages in any order; sets of one material; callbacks of a continued training."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.store.writer import write_store
from dielectric_gnn.metrics.spectral import DrudeR2, MaterialTable, material_metrics
from dielectric_gnn.models.backbones import OptiMetal2B
from dielectric_gnn.prediction.writer import PredictionWriter
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.training.callbacks.best_checkpoint import BestCheckpoint
from dielectric_gnn.training.callbacks.report import TestReport
from dielectric_gnn.training.checkpoint import AtomicCheckpointIO
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.resume import StoredTraining, check_callbacks
from dielectric_gnn.utils.errors import InputError

# What the command silences, too (trainer_parts.quiet): these tests use a plain Trainer.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(many workers|logging interval|LeafSpec|is not empty|`torch.jit).*",
    "ignore:.*does not log anything.*",
)

SILVER = "docs/crystals/fcc_silver.cif"


def trainer(folder: Path, *callbacks: object, epochs: int = 1) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=any(isinstance(callback, BestCheckpoint) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=list(callbacks),  # type: ignore[arg-type]
    )


def small_model() -> DielectricModule:
    return DielectricModule(OptiMetal2B(8))


@pytest.fixture
def one_of_each(metals: list[CrystalRecord], tmp_path: Path) -> str:
    """A store with two training materials and one for validation and test each."""
    split = {"train": slice(0, 2), "val": slice(2, 3), "test": slice(3, 4)}
    write_store(
        tmp_path / "store", metals[:4], 5.5, lambda ids, _: {k: list(ids[s]) for k, s in split.items()}, source="x"
    )
    return str(tmp_path / "store")


@pytest.mark.parametrize("order", ["fit predict test", "predict fit predict validate", "test predict"])
def test_stages_are_independent(order: str, tmp_path: Path, repository: Path) -> None:
    data = CrystalDataModule(ExampleMetals(parts=1), crystals=[str(repository / SILVER)], train_size=8)
    model, report, writer = small_model(), TestReport(), PredictionWriter(figures=False)
    for place, stage in enumerate(order.split()):
        folder = tmp_path / f"{place}-{stage}"
        launch = trainer(folder, report, writer)
        if stage == "predict":
            launch.predict(model, data, return_predictions=False)
            assert pd.read_csv(folder / "predictions/summary.csv")["material_id"].tolist() == ["fcc_silver"]
            writer.journal = None
        else:
            getattr(launch, stage)(model, datamodule=data)
            assert len(data.store) == 102 and data.indices["train"].size == 8
        if stage == "test":
            assert len(pd.read_csv(folder / "test/per_material.csv")) == 18
        if stage == "fit":
            assert len((folder / "train_ids.txt").read_text().split()) == 8


def test_sets_of_one_material(one_of_each: str, tmp_path: Path) -> None:
    data = CrystalDataModule(store=one_of_each, batch_size=2)
    model = small_model()
    trainer(tmp_path / "run").fit(model, datamodule=data)
    launch = trainer(tmp_path / "run", TestReport(), PredictionWriter(figures=True))
    launch.validate(model, datamodule=data, verbose=False)
    launch.test(model, datamodule=data, verbose=False)
    launch.predict(model, data, return_predictions=False)
    assert len(pd.read_csv(tmp_path / "run/test/per_material.csv")) == 1
    assert (tmp_path / "run/test/quantiles.png").is_file()
    assert len(pd.read_csv(tmp_path / "run/predictions/summary.csv")) == 1


def test_a_table_of_one_material_keeps_its_shape() -> None:
    table = MaterialTable(("a",))
    table.update(torch.tensor([7]), {"a": torch.tensor([0.5])})
    index, rows = table.table()
    assert index.tolist() == [7] and rows.tolist() == [[0.5]]


def test_a_training_does_not_go_on_without_its_average(tmp_path: Path) -> None:
    """The weights in the checkpoint are those of the average, which nothing would take any more."""
    data, model = CrystalDataModule(ExampleMetals(parts=1), train_size=8), small_model()
    average = EMAWeightAveraging()
    launch = trainer(tmp_path, average, BestCheckpoint(tmp_path))
    launch.fit(model, datamodule=data)
    path = str(tmp_path / "best.ckpt")
    assert "averaging_state" in torch.load(path, weights_only=True)
    with pytest.raises(InputError, match="EMAWeightAveraging"):
        check_callbacks(StoredTraining.from_file(path), [BestCheckpoint(tmp_path)])
    assert check_callbacks(StoredTraining.from_file(path), [EMAWeightAveraging(), BestCheckpoint(tmp_path)]) == ""
    other = EMAWeightAveraging()
    launch = trainer(tmp_path / "plain", BestCheckpoint(tmp_path / "plain"))
    launch.fit(small_model(), datamodule=CrystalDataModule(ExampleMetals(parts=1), train_size=8))
    assert "EMAWeightAveraging" in check_callbacks(StoredTraining.from_file(tmp_path / "plain/best.ckpt"), [other])


def test_a_checkpoint_that_was_read_is_not_read_again(tmp_path: Path) -> None:
    plugin, path = AtomicCheckpointIO(), tmp_path / "absent.ckpt"
    plugin.use_already_read(path, {"epoch": 3})
    assert plugin.load_checkpoint(str(path)) == {"epoch": 3}
    with pytest.raises(InputError, match="no such checkpoint"):
        plugin.load_checkpoint(path)


class Scripted(LightningModule):
    """Logs given validation losses, one for each epoch."""

    def __init__(self, losses: list[float]) -> None:
        super().__init__()
        self.losses = losses
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.weight.sum()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.log("val/loss", torch.tensor(self.losses[self.current_epoch]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def best_epoch(folder: Path, losses: list[float], stop: int | None = None, **rule: float) -> int:
    """Epoch of best.ckpt after a training; with `stop`, one that was continued after so many epochs."""
    loader = torch.utils.data.DataLoader([torch.zeros(1)])
    for epochs in (*([stop] if stop else []), len(losses)):
        launch = trainer(folder, BestCheckpoint(folder, **rule), epochs=epochs)  # type: ignore[arg-type]
        last = folder / "last.ckpt"
        launch.fit(Scripted(losses), loader, loader, ckpt_path=str(last) if last.exists() else None, weights_only=True)
        launch.save_checkpoint(last)
    epoch: int = torch.load(folder / "best.ckpt", weights_only=True)["epoch"]
    return epoch


SLOW = [9.0, 8.0, *[7.9] * 8, 7.8995, 7.5, 7.4995, 7.4, 7.5]


@pytest.mark.parametrize("stop", [None, 5, 12])
@pytest.mark.parametrize(
    ("losses", "rule", "expected"),
    [
        (SLOW, {}, 13),
        (SLOW[:13], {}, 12),
        (SLOW[:13], {"min_delta": 1e-3, "from_epoch": 10}, 11),  # 7.4995 is no gain of more than 1e-3
        (SLOW, {"min_delta": 1e-3, "from_epoch": 10}, 13),
        ([1.0, *[2.0] * 12, 0.9995, 1.5], {"min_delta": 1e-3, "from_epoch": 10}, 15),  # none: the last state
        ([1.0, *[2.0] * 12, 0.9995, 1.5], {}, 13),
    ],
)
def test_the_best_checkpoint_follows_its_rule(
    losses: list[float], rule: dict[str, float], expected: int, stop: int | None, tmp_path: Path
) -> None:
    """Also where a training was continued, before and after the first checkpoint."""
    assert best_epoch(tmp_path, losses, stop, **rule) == expected


@pytest.mark.parametrize("rule", [{"min_delta": -1.0}, {"from_epoch": -1}, {"min_delta": float("nan")}])
def test_rules_out_of_range_are_refused(rule: dict[str, float], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="best_"):
        BestCheckpoint(tmp_path, **rule)  # type: ignore[arg-type]


def test_the_definitions_of_the_study() -> None:
    """R² with 1e-7 beside the spread, relative error of ω_D with 1e-7 beside ω_D; finite where ours are undefined."""
    grid = EnergyGrid()
    rng = np.random.default_rng(0)
    true = torch.from_numpy(rng.normal(size=(3, grid.num, 2)))
    true[1] = 0.0  # flat
    predicted = true + torch.from_numpy(rng.normal(size=true.shape))
    drude, found = torch.tensor([5.0, 3.0, 0.0]).double(), torch.tensor([4.0, 3.5, 0.2]).double()
    one, other = Response(predicted, found), Response(true, drude)
    ours, theirs = (material_metrics(one, other, grid, definitions=kind) for kind in ("default", "published"))  # type: ignore[arg-type]
    for axis, name in enumerate(("re", "im")):
        t, p = true[..., axis].numpy(), predicted[..., axis].numpy()
        spread = ((t - t.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        np.testing.assert_allclose(theirs[f"r2_{name}"], 1 - ((p - t) ** 2).sum(axis=1) / (spread + 1e-7))
        assert not ours[f"r2_{name}"][1].isfinite()
    error = (found - drude).abs()
    np.testing.assert_allclose(theirs["drude_error_percent"], 100 * error / (drude + 1e-7))
    assert ours["drude_error_percent"].isnan().tolist() == [False, False, True]
    for key in ("mae", "sc_re", "drude_error", "delta_e"):
        torch.testing.assert_close(ours[key], theirs[key], equal_nan=True)
    metric = DrudeR2("published")
    metric.update(found[:1], drude[:1])
    assert float(metric.compute()) == pytest.approx(1 - 1.0 / 1e-7)
