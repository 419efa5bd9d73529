"""Joint training on two fidelities by the real command: training, test, prediction, resuming, cross-validation."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import torch

from tests.commands import SMALL_MODEL, Command

JOINT = """
model:
  fidelities: 2
data:
  source:
    class_path: dielectric_gnn.data.sources.Fidelities
    init_args:
      sources:
        - class_path: dielectric_gnn.data.sources.ExampleMetals
          init_args: {parts: 1}
        - class_path: dielectric_gnn.data.sources.SyntheticMetals
          init_args: {num: 40, broadening_ev: 0.3}
      weights: [1.0, 0.5]
"""


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    path = tmp_path_factory.mktemp("joint") / "joint.yaml"
    path.write_text(JOINT)
    return ("--config", "configs/base.yaml", *SMALL_MODEL, "--config", str(path))


@pytest.fixture(scope="module")
def run(command: Command, joint: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    shown = command("fit", *joint, "--trainer.max_epochs", "2", "--run_dir", str(folder))
    report = shown.stderr + shown.stdout
    assert "fidelity 0: 69 materials, 67% of the samples" in report and "fidelity 1: " in report
    assert "validation, test and predictions are of fidelity 0 only" in report
    return folder


def test_both_fidelities_are_trained(run: Path) -> None:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["state_dict"]["fidelity.vectors"].abs().sum() > 0
    assert checkpoint["global_step"] == 2 * -(-(69 + 34) // 16), "half as many samples of the second source"
    assert len((run / "train_ids.txt").read_text().split("\n")) == 69 + 1


def test_the_checkpoint_is_tested_and_predicts_the_highest_fidelity(command: Command, run: Path) -> None:
    checkpoint = ("--ckpt_path", str(run / "checkpoints" / "last.ckpt"))
    command("test", *checkpoint)
    with (run / "test" / "per_material.csv").open() as file:
        ids = {row["material_id"] for row in csv.DictReader(file)}
    assert len(ids) == 18 and all(name.startswith("gpaw-") for name in ids)
    command("predict", *checkpoint, "--predictions.figures", "false", "--crystals", "docs/crystals/fcc_silver.cif")
    assert (run / "predictions" / "fcc_silver.csv").is_file()


def test_a_resumed_training_draws_the_same_materials(
    command: Command, joint: tuple[str, ...], run: Path, tmp_path: Path
) -> None:
    longer = ("fit", *joint, "--model.schedule", "null", "--trainer.max_epochs")
    command(*longer, "2", "--run_dir", str(tmp_path / "whole"))
    command(*longer, "1", "--run_dir", str(tmp_path / "parts"))
    command(*longer, "2", "--run_dir", str(tmp_path / "parts"))
    whole, parts = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "parts")
    )
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key


def test_cross_validation_holds_out_the_highest_fidelity(
    command: Command, joint: tuple[str, ...], tmp_path: Path
) -> None:
    options = ("--folds", "2", "--trainer.max_epochs", "1", "--out", str(tmp_path))
    command("cross-validate", *joint, *options)
    with (tmp_path / "per_material.csv").open() as file:
        ids = [row["material_id"] for row in csv.DictReader(file)]
    assert len(ids) == 102 and all(name.startswith("gpaw-") for name in ids)


def test_the_example_of_the_guide_is_valid(command: Command, repository: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (repository / "docs" / "data.md").read_text(), re.DOTALL)
    (example,) = (block for block in blocks if "Fidelities" in block)
    (tmp_path / "joint.yaml").write_text(example)
    base = ("--config", "configs/base.yaml", "--config", str(tmp_path / "joint.yaml"))
    assert "fidelities: 2" in command("fit", *base, "--print_config").stdout


def test_a_kernel_and_a_network_with_a_prior_train_on_both(
    command: Command, joint: tuple[str, ...], tmp_path: Path
) -> None:
    """With a correlation, the state of the kernel has materials of both fidelities."""
    kernel = ("--model.backbone", "CompositionKernel", "--model.backbone.fidelity_correlation", "0.9")
    command("fit", *joint, "--model.fidelities", "null", *kernel, "--run_dir", str(tmp_path / "kernel"))
    prior = ("--model.prior", "CompositionKernel", "--model.prior.fidelity_correlation", "0.9")
    head = ("--model.head", "LowRankHead", "--trainer.max_epochs", "1")
    command("fit", *joint, *head, *prior, "--run_dir", str(tmp_path / "prior"))
    for name, key in (("kernel", "backbone.landmarks"), ("prior", "prior.baseline.landmarks")):
        state = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        assert 69 < len(state[key]) <= 69 + 40
        command("test", "--ckpt_path", str(tmp_path / name / "checkpoints" / "last.ckpt"))


def test_a_model_of_one_fidelity_is_refused(command: Command, joint: tuple[str, ...], tmp_path: Path) -> None:
    refused = command("fit", *joint, "--model.fidelities", "null", "--run_dir", str(tmp_path), status=2).stderr
    assert "model.fidelities to 2" in refused.splitlines()[-1] and "Traceback" not in refused
