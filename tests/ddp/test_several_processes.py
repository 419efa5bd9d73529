"""Several gloo processes through the real command: the numbers of one, each material once."""

import csv
from pathlib import Path

import pytest
import torch

from dielectric_gnn.training.run_record import RECORD, read_record
from tests.commands import SMALL, Command
from tests.integration.test_pipeline import rows_of
from tests.integration.test_resume import KILLER

SYNTHETIC = ("--data.source", "dielectric_gnn.data.sources.SyntheticMetals", "--data.source.num", "155",
             "--data.source.broadening_ev", "0.3", "--data.split", "seeded")  # fmt: skip
TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")


def test_training_on_two_processes(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # 15 validation materials: an odd number, which padding would count as 16.
    fit = ("fit", "--config", "configs/base.yaml", "--config", "configs/trainer/ddp.yaml", *SMALL)
    printed = command(*fit, "--trainer.max_epochs", "2", "--trainer.devices", "2", "--run_dir", str(run))
    assert "on CPUs every process takes statistics of its own batch" in printed.stdout + printed.stderr
    assert "sync_dist" not in printed.stdout + printed.stderr, "advice that does not apply"
    best = run / "checkpoints" / "best.ckpt"
    stored = torch.load(best, weights_only=True)
    with next((run / "csv" / "version_0").glob("metrics.csv")).open() as file:
        losses = [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]
    shown = command("validate", "--ckpt_path", str(best), "--run_dir", str(tmp_path / "alone")).stdout
    line = next(line for line in shown.splitlines() if "val/loss" in line)
    assert abs(float(line.split("│")[2]) - losses[stored["epoch"]]) < 1e-5


def test_fewer_materials_than_processes_are_refused(command: Command, trained: Path, tmp_path: Path) -> None:
    silver = ("--crystals", "docs/crystals/fcc_silver.cif", "--run_dir", str(tmp_path))
    result = command("predict", "--ckpt_path", str(trained / "checkpoints" / "best.ckpt"), *silver, *TWO, status=2)
    assert "1 materials for predict cannot be distributed over 2 processes" in result.stderr
    assert "Traceback" not in result.stderr


def test_continuing_on_another_number_of_processes(command: Command, tmp_path: Path) -> None:
    """Whose epochs have other numbers of batches: five for one process, three for two."""
    run = ("fit", "--config", "configs/base.yaml", *SMALL, "--figures.every_n_epochs", "0", "--run_dir", str(tmp_path))
    steps = []
    for max_epochs, processes in ((1, ()), (2, TWO), (3, ())):
        command(*run, "--trainer.max_epochs", str(max_epochs), *processes)
        last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
        steps.append(last["global_step"])
    assert steps == [5, 5 + 3, 5 + 3 + 5]


def test_stopped_and_continued_equals_one_go(command: Command, tmp_path: Path) -> None:
    (tmp_path / "killer.py").write_text(KILLER)
    fit = ("fit", "--config", "configs/base.yaml", *SMALL, *TWO, "--trainer.max_epochs", "3", "--data.batch_size", "2")
    kill = ("--trainer.callbacks", "killer.Kill", "--trainer.callbacks.number", "15",
            "--trainer.callbacks.epoch", "1", "--trainer.callbacks.batch", "1")  # fmt: skip
    command(*fit, "--run_dir", str(tmp_path / "whole"))
    command(*fit, *kill, "--run_dir", str(tmp_path / "stopped"), status=143, paths=(tmp_path,))
    last = torch.load(tmp_path / "stopped" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 17 + 10, "every ten steps the processes ask each other"
    command(*fit, "--run_dir", str(tmp_path / "stopped"))
    stopped, whole = (read_record(tmp_path / name / RECORD) for name in ("stopped", "whole"))
    assert (stopped.epochs, stopped.steps, stopped.samples_seen) == (3, 3 * 17, whole.samples_seen)
    for one, other in zip(stopped.learning_curve, whole.learning_curve, strict=True):
        assert one == pytest.approx(other, rel=1e-6), "the mean loss is that of all batches of all processes"


def test_every_process_needs_two_crystals(command: Command, tmp_path: Path) -> None:
    fit = ("fit", "--config", "configs/base.yaml", *SMALL, "--data.train_size", "3", "--run_dir", str(tmp_path))
    refused = command(*fit, *TWO, status=2).stderr
    assert "training needs at least 2 materials for each of the 2 processes" in refused and "there are 3" in refused


@pytest.fixture(scope="module")
def tested_alone(command: Command, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("alone")
    command("test", "--ckpt_path", str(trained / "checkpoints" / "best.ckpt"), *SYNTHETIC, "--run_dir", str(run))
    return run


@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_report_the_numbers_of_one(
    command: Command, trained: Path, tested_alone: Path, tmp_path: Path, processes: int
) -> None:
    several = ("--trainer.devices", str(processes), "--trainer.strategy", "ddp")
    model = ("--ckpt_path", str(trained / "checkpoints" / "best.ckpt"))
    command("test", *model, *SYNTHETIC, *several, "--run_dir", str(tmp_path))
    alone, together = (rows_of(run / "test" / "per_material.csv") for run in (tested_alone, tmp_path))
    assert len(alone) % 2 and len(alone) % 3, "a number that no number of processes divides"
    ids = [row["material_id"] for row in together]
    assert ids == [row["material_id"] for row in alone] and len(set(ids)) == len(ids)
    for one, other in zip(alone, together, strict=True):
        for key in ("loss", "mae", "mae_re", "mae_im", "drude_error"):
            assert abs(float(one[key]) - float(other[key])) <= 1e-6 * abs(float(one[key])), key
    summaries = [(run / "test" / "summary.md").read_text() for run in (tested_alone, tmp_path)]
    assert summaries[0] == summaries[1]

    command("predict", *model, *SYNTHETIC, *several, "--predictions.figures", "false", "--run_dir", str(tmp_path))
    predicted = [row["material_id"] for row in rows_of(tmp_path / "predictions" / "summary.csv")]
    assert predicted == sorted(ids)


@pytest.mark.parametrize("name", ["Goten", "ESCN", "ClebschGordan"])
@pytest.mark.parametrize("tensors", [False, True], ids=["averages", "tensors"])
def test_equivariant_backbones_have_no_idle_parameters(
    command: Command, tmp_path: Path, name: str, tensors: bool
) -> None:
    """DDP waits for the gradient of every parameter and fails where one has none."""
    run = tmp_path / "run"
    args = ["--config", "configs/base.yaml", "--model.backbone", f"dielectric_gnn.models.backbones.{name}"]
    if tensors:
        args += ["--config", "configs/head/tensor.yaml", "--model.backbone.tensors", "true"]
    args += [*SMALL, "--model.backbone.width", "8", "--trainer.max_epochs", "1", "--figures.every_n_epochs", "0"]
    command("fit", *args, *TWO, "--run_dir", str(run))
    assert (run / "checkpoints" / "best.ckpt").is_file()
