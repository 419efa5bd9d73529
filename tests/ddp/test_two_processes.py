"""Two gloo processes through the real command: the numbers of one, each material once."""

import csv
from pathlib import Path

import pytest
import torch

from tests.commands import SMALL, Command
from tests.integration.test_pipeline import rows_of

TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")


def test_training_and_test_on_two_processes(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    # 15 validation materials: an odd number, which padding would count as 16.
    command("fit", "--config", "configs/base.yaml", *SMALL, "--trainer.max_epochs", "2", *TWO, "--run_dir", str(run))
    best = run / "checkpoints" / "best.ckpt"
    stored = torch.load(best, weights_only=True)
    with next((run / "csv" / "version_0").glob("metrics.csv")).open() as file:
        losses = [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]
    alone, together = tmp_path / "alone", tmp_path / "together"
    shown = command("validate", "--ckpt_path", str(best), "--run_dir", str(alone)).stdout
    line = next(line for line in shown.splitlines() if "val/loss" in line)
    assert abs(float(line.split("│")[2]) - losses[stored["epoch"]]) < 1e-5

    command("test", "--ckpt_path", str(best), "--run_dir", str(alone))
    command("test", "--ckpt_path", str(best), "--run_dir", str(together), *TWO)
    one, two = (
        {row["material_id"]: row for row in rows_of(folder / "test" / "per_material.csv")}
        for folder in (alone, together)
    )
    rows = rows_of(together / "test" / "per_material.csv")
    assert len(rows) == len(two) == 18 and set(one) == set(two)
    for material_id, row in one.items():
        for key in ("loss", "mae", "sc_im", "drude_error", "delta_e"):
            assert abs(float(row[key]) - float(two[material_id][key])) < 1e-4 * max(1.0, abs(float(row[key])))
    assert (alone / "test" / "summary.md").read_text() == (together / "test" / "summary.md").read_text()


@pytest.mark.parametrize("name", ["Goten", "ESCN", "ClebschGordan"])
@pytest.mark.parametrize("tensors", [False, True], ids=["averages", "tensors"])
def test_equivariant_backbones_have_no_idle_parameters(
    command: Command, tmp_path: Path, name: str, tensors: bool
) -> None:
    """DDP waits for the gradient of every parameter and fails where one has none."""
    run = tmp_path / "run"
    args = ["--config", "configs/base.yaml", "--model.backbone", f"dielectric_gnn.backbones.{name}"]
    if tensors:
        args += ["--config", "configs/head/tensor.yaml", "--model.backbone.tensors", "true"]
    args += [*SMALL, "--model.backbone.width", "8", "--trainer.max_epochs", "1", "--figures.every_n_epochs", "0"]
    command("fit", *args, *TWO, "--run_dir", str(run))
    assert (run / "checkpoints" / "best.ckpt").is_file()
