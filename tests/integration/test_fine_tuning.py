"""Fine-tuning by the real command: from synthetic crystals to the embedded metals, with another head or grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.commands import FIRST_PART, SMALL_MODEL, Command

SHORT = ("fit", "--config", "configs/base.yaml", *SMALL_MODEL, "--trainer.max_epochs", "1")
SYNTHETIC = ("--data.source", "dielectric_gnn.data.sources.SyntheticMetals", "--data.source.num", "40",
             "--data.source.broadening_ev", "0.3")  # fmt: skip
GRID = ("--data.grid.start", "0", "--data.grid.stop")


@pytest.fixture(scope="module")
def pretrained(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("pretrained")
    command(*SHORT, *SYNTHETIC, *GRID, "20", "--data.grid.num", "101", "--run_dir", str(run))
    return run / "checkpoints" / "last.ckpt"


def weights(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, weights_only=True)["state_dict"]
    return state


def tune(command: Command, pretrained: Path, run: Path, *options: str) -> str:
    """The log line of a fine-tuning with a learning rate of 0, after which the weights are those it began with."""
    frozen = ("--model.optimizer.lr", "0", "--model.schedule", "null")
    shown = command(*SHORT, *FIRST_PART, *frozen, *options, "--fine_tune_from", str(pretrained), "--run_dir", str(run))
    lines = [line for line in (shown.stderr + shown.stdout).splitlines() if "fine-tuning" in line]
    assert len(lines) == 1
    return lines[0]


def loaded(pretrained: Path, run: Path) -> set[str]:
    """Parts of the model whose trained weights all begin with those of the checkpoint."""
    before, after = weights(pretrained), weights(run / "checkpoints" / "last.ckpt")
    same: dict[str, bool] = {}
    for key, value in after.items():
        if "running_" in key or "num_batches" in key:
            continue  # statistics of batch norm, which training updates at any rate
        part = key.partition(".")[0]
        same[part] = same.get(part, True) and key in before and torch.equal(before[key], value)
    return {part for part, equal in same.items() if equal}


def test_the_same_head_on_the_same_grid_is_loaded(command: Command, pretrained: Path, tmp_path: Path) -> None:
    line = tune(command, pretrained, tmp_path, *GRID, "20", "--data.grid.num", "101")
    assert "anew" not in line and loaded(pretrained, tmp_path) == {"backbone", "pooling", "head"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((*GRID, "20", "--data.grid.num", "101", "--model.head", "LowRankHead"), "absent"),
        ((*GRID, "20", "--data.grid.num", "201"), "(402,"),
        ((*GRID, "10", "--data.grid.num", "101"), "0 to 10 eV"),  # all shapes agree
        ((*GRID, "20", "--data.grid.num", "101", "--model.causal", "true"), "model.causal is true in one"),
    ],
    ids=["head", "points", "range", "causal"],
)
def test_another_head_or_grid_starts_anew(
    options: tuple[str, ...], reason: str, command: Command, pretrained: Path, tmp_path: Path
) -> None:
    line = tune(command, pretrained, tmp_path, *options)
    assert "loaded backbone" in line and "anew: head (" in line and reason in line
    assert loaded(pretrained, tmp_path) == {"backbone", "pooling"}


def test_another_backbone_is_one_line(command: Command, pretrained: Path, tmp_path: Path) -> None:
    other = ("--model.backbone", "dielectric_gnn.models.backbones.Goten", "--model.backbone.width", "16")
    begin = (*SHORT, *FIRST_PART, *other, "--fine_tune_from", str(pretrained))
    refused = command(*begin, "--run_dir", str(tmp_path), status=2).stderr
    last = refused.splitlines()[-1]
    assert str(pretrained) in last and "OptiMetal2B" in last and "Goten" in last and "Traceback" not in refused
