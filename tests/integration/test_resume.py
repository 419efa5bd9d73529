"""A training stopped by a signal, or killed, and launched again equals one that ran through, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from dielectric_gnn.training.resume import differences
from dielectric_gnn.training.run_record import RECORD, read_record
from tests.commands import SMALL, Command, environment, run_command

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

class Announce(Callback):
    """SLURM says, twice, that time is running out, while what training needs is still computed."""

    def setup(self, trainer, pl_module, stage):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR1)

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
    continued = command(*run, paths=(killer,))
    assert f"continuing {last}" in continued.stderr + continued.stdout
    resumed, whole = (torch.load(path, weights_only=True) for path in (last, uninterrupted))
    assert resumed["global_step"] == whole["global_step"] == 20
    assert resumed["lr_schedulers"] == whole["lr_schedulers"]
    assert_same_weights(resumed, whole)
    assert_same_history(tmp_path, uninterrupted.parents[1])
    # The history of both launches is kept.
    assert {path.name for path in (tmp_path / "csv").iterdir()} == {"version_0", "version_1"}


def test_a_signal_in_the_very_last_batch_lets_the_training_end(
    command: Command, killer: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    kill = ("--trainer.callbacks+", "killer.Kill", "--trainer.callbacks.number", str(int(signal.SIGTERM)),
            "--trainer.callbacks.epoch", "3", "--trainer.callbacks.batch", "4")  # fmt: skip
    command(*RUN, *kill, "--run_dir", str(tmp_path), paths=(killer,))
    assert read_record(tmp_path / RECORD).status == "finished"
    assert_same_history(tmp_path, uninterrupted.parents[1])


def test_a_time_limit_announced_before_training_begins(command: Command, killer: Path, tmp_path: Path) -> None:
    announce = ("--trainer.callbacks+", "killer.Announce", "--requeue", "true", "--run_dir", str(tmp_path))
    shown = command(*RUN, *announce, status=128 + signal.SIGUSR1, paths=(killer,))
    assert "not requeued: this is no SLURM job" in shown.stderr + shown.stdout
    assert seen(tmp_path / "checkpoints" / "last.ckpt") == 1
    assert read_record(tmp_path / RECORD).status == "interrupted"


def assert_same_history(run: Path, other: Path) -> None:
    """Learning curve, and the best weights found on the way: no validation is left out."""
    one, whole = read_record(run / RECORD), read_record(other / RECORD)
    assert one.learning_curve == whole.learning_curve and len(whole.learning_curve) == 4
    assert (one.best_validation_loss, one.steps, one.epochs) == (whole.best_validation_loss, whole.steps, whole.epochs)
    best, expected = (torch.load(path / "checkpoints" / "best.ckpt", weights_only=True) for path in (run, other))
    assert_same_weights(best, expected)


def assert_same_weights(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Weights and state of the optimiser, bit for bit."""
    for key, value in other["state_dict"].items():
        assert torch.equal(one["state_dict"][key], value), key
    states = (checkpoint["optimizer_states"][0]["state"].values() for checkpoint in (one, other))
    for a, b in zip(*states, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)


def seen(checkpoint: Path) -> int:
    """Batches that it has seen."""
    return int(torch.load(checkpoint, weights_only=True)["global_step"])


def test_killed_at_any_moment_and_launched_again(
    repository: Path, killer: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    """SIGKILL leaves no time for a checkpoint; DIELECTRIC_GNN_KILLS says how often, three times by default."""
    generator = random.Random(time.time_ns())
    line = [sys.executable, "-m", "dielectric_gnn", *RUN, "--run_dir", str(tmp_path)]
    last = tmp_path / "checkpoints" / "last.ckpt"
    hits = 0
    for _ in range(int(os.environ.get("DIELECTRIC_GNN_KILLS", "3"))):
        process = subprocess.Popen(
            line, cwd=repository, env=environment(killer), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        # Start-up takes most of the time of so small a training: wait until it trains.
        while (shown := process.stdout.readline()) and not shown.startswith(("model:", "epoch")):
            pass
        # The first one at its first checkpoint, so that one at least hits an unfinished training that goes on.
        while process.poll() is None and not last.exists():
            time.sleep(0.005)
        time.sleep(generator.uniform(0, 3) if hits else 0)
        process.kill()
        process.communicate()
        assert process.returncode in (0, -signal.SIGKILL)
        hits += process.returncode == -signal.SIGKILL and seen(last) < 20
    result = run_command(*line[1:], paths=(killer,))
    assert result.returncode == 0, result.stderr
    assert hits and f"continuing {last}" in result.stderr + result.stdout, "no kill hit an unfinished training"
    assert_same_weights(*(torch.load(path, weights_only=True) for path in (last, uninterrupted)))
    assert_same_history(tmp_path, uninterrupted.parents[1])


def test_other_settings_do_not_continue_a_training_unasked(command: Command, uninterrupted: Path, killer: Path) -> None:
    run = (*RUN, "--run_dir", str(uninterrupted.parents[1]), "--data.batch_size", "8", "--model.optimizer.lr", "0.5")
    refused = command(*run, status=2, paths=(killer,))
    assert "holds a training with other settings" in refused.stderr and "Traceback" not in refused.stderr
    table = refused.stderr.splitlines()
    assert any(line.split() == ["data.batch_size", "16", "8", "configuration"] for line in table)
    assert any(line.split()[0].endswith("lr") and line.split()[-1] == "checkpoint" for line in table if line.split())


def test_fine_tuning_takes_weights_only(command: Command, uninterrupted: Path, killer: Path, tmp_path: Path) -> None:
    begin = ("fit", "--config", "configs/base.yaml", *SMALL, "--trainer.max_epochs", "1", "--fine_tune_from")
    shown = command(*begin, str(uninterrupted), "--run_dir", str(tmp_path / "same"))
    report = shown.stderr + shown.stdout
    assert "loaded backbone" in report and "head (" in report and "anew" not in report
    tuned = torch.load(tmp_path / "same" / "checkpoints" / "last.ckpt", weights_only=True)
    assert tuned["global_step"] == 5, "its own count, not 20 more"
    wider = command(*begin, str(uninterrupted), "--model.backbone.width", "32", "--run_dir", str(tmp_path / "w"))
    report = wider.stderr + wider.stdout
    assert "anew: backbone (" in report and "(16," in report and "(32," in report
    both = ("--ckpt_path", str(uninterrupted), "--run_dir", str(tmp_path / "b"))
    assert "not both" in command(*begin, str(uninterrupted), *both, status=2).stderr


def test_a_relaunched_fine_tuning_continues(
    command: Command, killer: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    base = ("--fine_tune_from", str(uninterrupted))
    kill = ("--trainer.callbacks+", "killer.Kill", "--trainer.callbacks.number", "15",
            "--trainer.callbacks.epoch", "2", "--trainer.callbacks.batch", "2")  # fmt: skip
    whole, run = tmp_path / "whole", tmp_path / "run"
    command(*RUN, *base, "--run_dir", str(whole), paths=(killer,))
    command(*RUN, *base, *kill, "--run_dir", str(run), status=143, paths=(killer,))
    last = run / "checkpoints" / "last.ckpt"
    shown = command(*RUN, *base, "--run_dir", str(run), paths=(killer,))
    assert f"continuing {last}, which has seen 13 batches; the weights of {uninterrupted} are not loaded again" in (
        shown.stderr + shown.stdout
    )
    resumed, expected = (torch.load(path / "checkpoints" / "last.ckpt", weights_only=True) for path in (run, whole))
    assert resumed["global_step"] == expected["global_step"] == 20
    assert_same_weights(resumed, expected)
    assert_same_history(run, whole)
    # Continued by name, it stays a fine-tuning of the same base; another base is another training.
    shown = command(*RUN, "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_epochs", "5", paths=(killer,))
    table = (shown.stderr + shown.stdout).splitlines()
    assert any(line.split() == ["fine_tune_from", str(uninterrupted), "None", "checkpoint"] for line in table)
    other = tmp_path / "whole" / "checkpoints" / "best.ckpt"
    longer = ("--trainer.max_epochs", "5", "--run_dir", str(run), "--fine_tune_from")
    refused = command(*RUN, *longer, str(other), status=2, paths=(killer,)).stderr
    assert "holds a training with other settings" in refused and str(other) in refused
    command(*RUN, *longer, str(uninterrupted), paths=(killer,))


def test_settings_of_the_trainer_are_told(command: Command, killer: Path, tmp_path: Path) -> None:
    run = (*RUN, "--run_dir", str(tmp_path), "--trainer.max_epochs")
    command(*run, "1", paths=(killer,))
    shown = command(*run, "2", paths=(killer,))
    report = shown.stderr + shown.stdout
    assert any(line.split() == ["trainer.max_epochs", "1", "2", "configuration"] for line in report.splitlines())
    assert "a learning-rate schedule that spans the training follows the new max_epochs" in report
    more = ("--trainer.gradient_clip_val", "1", "--trainer.accumulate_grad_batches", "2", "--seed_everything", "7")
    refused = command(*run, "3", *more, status=2, paths=(killer,)).stderr
    for words in (
        "trainer.accumulate_grad_batches 1 2 configuration",
        "seed_everything 1 7 configuration for the order of batches, checkpoint for the states of the generators",
    ):
        assert any(line.split() == words.split() for line in refused.splitlines()), refused
    last = ("--ckpt_path", str(tmp_path / "checkpoints" / "last.ckpt"))
    shown = command(*run, "3", *more, *last, paths=(killer,))
    assert "trainer.gradient_clip_val" in shown.stderr + shown.stdout
    sgd = command(*run, "3", "--model.optimizer", "torch.optim.SGD", *last, status=2, paths=(killer,)).stderr
    assert "holds the state of torch.optim.AdamW, but the optimiser is torch.optim.SGD" in sgd.splitlines()[-1]
    assert "--fine_tune_from" in sgd.splitlines()[-1] and "Traceback" not in sgd


def test_early_checkpoints_state_nothing_of_the_trainer() -> None:
    early = {"model": {"width": 8}, "seed_everything": 1}
    now = {**early, "trainer": {"max_epochs": 4}, "fine_tune_from": None}
    assert differences(early, now) == []
    assert [found.key for found in differences({**early, "trainer": {"max_epochs": 3}}, now)] == ["trainer.max_epochs"]


def test_stopped_in_the_first_epoch_is_usable_for_prediction(command: Command, killer: Path, tmp_path: Path) -> None:
    kill = ("--trainer.callbacks+", "killer.Kill", "--trainer.callbacks.number", "2",
            "--trainer.callbacks.epoch", "0", "--trainer.callbacks.batch", "2")  # fmt: skip
    command(*RUN, *kill, "--run_dir", str(tmp_path), status=130, paths=(killer,))
    command(
        "predict", "--ckpt_path", str(tmp_path / "checkpoints" / "last.ckpt"), "--predictions.figures", "false",
        "--crystals", "docs/crystals/fcc_silver.cif",
    )  # fmt: skip
    assert (tmp_path / "predictions" / "fcc_silver.csv").is_file()
