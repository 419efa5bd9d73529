"""A training stopped by a signal in mid-epoch and continued equals one that ran through, bit for bit."""

import signal
from pathlib import Path

import pytest
import torch

from tests.commands import SMALL, Command

KILLER = '''
import os, random, signal
import numpy as np, torch
from lightning.pytorch import Callback

class Kill(Callback):
    """Sends this process a signal in mid-epoch, before the given batch of the given epoch."""

    def __init__(self, number: int, epoch: int, batch: int):
        self.number, self.epoch, self.batch = number, epoch, batch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            os.kill(os.getpid(), self.number)

class Noise(Callback):
    """Makes the weights depend on every global generator, as a network with dropout does."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        with torch.no_grad():
            bias = pl_module.head.drude_mlp.layers[-1].bias
            bias += 1e-3 * (torch.randn(1) + np.random.randn() + random.random())
'''
RUN = ("fit", "--config", "configs/base.yaml", *SMALL, "--trainer.callbacks", "killer.Noise")


@pytest.fixture(scope="module")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("killer")
    (folder / "killer.py").write_text(KILLER)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(command: Command, killer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    command(*RUN, "--run_dir", str(run_dir), paths=(killer,))
    return run_dir / "checkpoints" / "last.ckpt"


@pytest.mark.parametrize(
    ("number", "epoch", "batch"),
    [(signal.SIGINT, 0, 1), (signal.SIGTERM, 2, 2), (signal.SIGTERM, 1, 4)],
    ids=["SIGINT in the first epoch", "SIGTERM in mid-epoch", "SIGTERM in the last batch of an epoch"],
)
def test_restart_equals_one_go(
    command: Command, killer: Path, uninterrupted: Path, tmp_path: Path, number: int, epoch: int, batch: int
) -> None:
    run = (*RUN, "--run_dir", str(tmp_path))
    kill = ("--trainer.callbacks+", "killer.Kill", "--trainer.callbacks.number", str(int(number)),
            "--trainer.callbacks.epoch", str(epoch), "--trainer.callbacks.batch", str(batch))  # fmt: skip
    last = tmp_path / "checkpoints" / "last.ckpt"
    stopped = command(*run, *kill, status=128 + number, paths=(killer,))
    assert "Traceback" not in stopped.stderr
    assert f"--ckpt_path {last}" in stopped.stderr + stopped.stdout
    command(*run, "--ckpt_path", str(last), paths=(killer,))
    resumed, whole = (torch.load(path, weights_only=True) for path in (last, uninterrupted))
    assert resumed["global_step"] == whole["global_step"] == 20
    assert resumed["lr_schedulers"] == whole["lr_schedulers"]
    for key, value in whole["state_dict"].items():
        assert torch.equal(resumed["state_dict"][key], value), key
    for a, b in zip(
        resumed["optimizer_states"][0]["state"].values(), whole["optimizer_states"][0]["state"].values(), strict=True
    ):
        assert all(torch.equal(a[key], b[key]) for key in a)
    # The history of both launches is kept.
    assert {path.name for path in (tmp_path / "csv").iterdir()} == {"version_0", "version_1"}


def test_stopped_in_the_first_epoch_is_usable_for_prediction(command: Command, killer: Path, tmp_path: Path) -> None:
    kill = ("--trainer.callbacks+", "killer.Kill", "--trainer.callbacks.number", "2",
            "--trainer.callbacks.epoch", "0", "--trainer.callbacks.batch", "2")  # fmt: skip
    command(*RUN, *kill, "--run_dir", str(tmp_path), status=130, paths=(killer,))
    command(
        "predict", "--ckpt_path", str(tmp_path / "checkpoints" / "last.ckpt"), "--predictions.figures", "false",
        "--crystals", "docs/crystals/fcc_silver.cif",
    )  # fmt: skip
    assert (tmp_path / "predictions" / "fcc_silver.csv").is_file()
