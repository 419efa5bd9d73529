"""The examples of docs/extending.md run as they stand."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.commands import SMALL, Command

GUIDE = Path(__file__).parents[2] / "docs" / "extending.md"
BASE = ("fit", "--config", "base.yaml", *SMALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with every file of the guide."""
    text = GUIDE.read_text(encoding="utf-8")
    blocks = re.findall(r"`([\w.]+)`:\n```(?:yaml|python)\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 8
    for name, content in blocks:
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


def fit(command: Command, folder: Path, *words: str) -> str:
    return command(*BASE, *words, "--run_dir", "run", cwd=folder, paths=(folder,)).stdout


def record(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run" / "run_record.json").read_text())
    return found


def checkpoint(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(folder / "run" / "checkpoints" / name, weights_only=True)
    return found


def test_metrics_objectives_and_schedulers_by_class_path(command: Command, folder: Path) -> None:
    configs = ("--config", "metrics.yaml", "--config", "objective.yaml")
    fit(command, folder, *configs, "--config", "plateau.yaml", "--trainer.max_epochs", "2")
    state = checkpoint(folder, "last.ckpt")["lr_schedulers"][0]
    assert state["factor"] == 0.5 and state["patience"] == 10 and state["last_epoch"] == 2
    best = str(folder / "run" / "checkpoints" / "best.ckpt")
    command("test", *configs, "--ckpt_path", best, cwd=folder, paths=(folder,))
    metrics = record(folder)["metrics"]
    for key in ("mae_visible", "loss_slope", "loss_value"):
        assert metrics[f"validation/{key}"] > 0 and metrics[f"test/{key}"] > 0
    assert metrics["test/loss"] == pytest.approx(
        metrics["test/loss_value"] + 0.1 * metrics["test/loss_slope"], rel=1e-4
    )
    with (folder / "run" / "test" / "per_material.csv").open() as file:
        assert {"mae_visible", "loss_slope", "loss_value"} <= set(next(csv.reader(file)))
    fit(command, folder, *configs, "--config", "plateau.yaml", "--trainer.max_epochs", "3")
    assert checkpoint(folder, "last.ckpt")["lr_schedulers"][0]["last_epoch"] == 3


def test_a_schedule_and_a_scheduler_exclude_each_other(command: Command, folder: Path) -> None:
    words = (*BASE, "--config", "plateau.yaml", "--model.schedule.warmup_epochs", "1")
    assert "model.lr_scheduler" in command(*words, cwd=folder, status=2).stderr


def test_averaged_weights_are_those_of_the_best_checkpoint_and_resume(command: Command, folder: Path) -> None:
    fit(command, folder, "--config", "callbacks.yaml", "--trainer.max_epochs", "2")
    best = checkpoint(folder, "best.ckpt")
    key = next(name for name in best["state_dict"] if name.endswith("weight"))
    assert not torch.equal(best["state_dict"][key], best["current_model_state"][key])
    validated = record(folder)["metrics"]["validation/loss"]
    path = str(folder / "run" / "checkpoints" / "best.ckpt")
    shown = command("validate", "--ckpt_path", path, cwd=folder).stdout
    assert float(re.findall(r"val/loss\D+([\d.]+)", shown)[0]) == pytest.approx(validated, rel=1e-4)
    words = ("--trainer.max_epochs", "3", "--run_dir", "run")
    refused = command(*BASE, *words, cwd=folder, status=2)
    assert "EMAWeightAveraging" in refused.stderr and "EarlyStopping" in refused.stderr
    fit(command, folder, "--config", "callbacks.yaml", "--trainer.max_epochs", "3")
    assert record(folder)["epochs"] == 3


def test_integer_buffers_are_not_averaged(command: Command, folder: Path) -> None:
    goten = ("--model.backbone", "dielectric_gnn.models.backbones.ESCN", "--model.backbone.width", "16")
    words = ("--config", "base.yaml", *goten, "--config", "callbacks.yaml", "--trainer.accelerator", "cpu")
    assert "use_buffers" in command("fit", *words, "--run_dir", "run", cwd=folder, status=2).stderr


def test_early_stopping_ends_a_training(command: Command, folder: Path) -> None:
    stop = folder / "callbacks.yaml"
    stop.write_text(stop.read_text().replace("patience: 20", "patience: 1\n        min_delta: 1000.0"))
    fit(command, folder, "--config", "callbacks.yaml", "--trainer.max_epochs", "9")
    found = record(folder)
    assert found["epochs"] == 2 and found["status"] == "finished"


def test_figures_go_to_loggers_that_take_them(command: Command, folder: Path) -> None:
    fit(command, folder, "--config", "loggers.yaml", "--trainer.max_epochs", "2")
    written = [path.read_bytes() for path in (folder / "logs").rglob("events.out.tfevents.*")]
    assert any(b"val/spectra" in content for content in written)
    assert list((folder / "logs").rglob("metrics.csv"))


@pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="optuna is not a dependency")
@pytest.mark.filterwarnings("ignore")
def test_optuna_searches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec((folder / "search.py").read_text(), names)
    assert {"lr", "width"} == set(names["study"].best_params)
