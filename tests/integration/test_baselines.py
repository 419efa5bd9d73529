"""Baselines by the real command: fit, test, predict, ensembles; and the kernel beside a network in its test."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import dielectric_gnn as dg
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.models.baselines import CompositionKernel, MeanSpectrum, StructureKernel
from dielectric_gnn.training.baseline_module import BaselineModule
from dielectric_gnn.training.checkpoint import SECTION, read_checkpoint
from dielectric_gnn.training.run_record import RECORD, read_record
from dielectric_gnn.utils.errors import InputError
from tests.commands import FIRST_PART, Command

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SILVER = Path(__file__).resolve().parents[2] / "docs" / "crystals" / "fcc_silver.cif"
BASE = ("--config", str(CONFIGS / "base.yaml"), "--config", str(CONFIGS / "trainer" / "cpu.yaml"))


def config(name: str) -> tuple[str, str]:
    return "--config", str(CONFIGS / "baseline" / f"{name}.yaml")


@pytest.fixture(scope="module")
def kernel(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("kernel") / "run"
    command("fit", *BASE, *FIRST_PART, *config("composition_kernel"), "--run_dir", str(run))
    return run


def summary(run: Path) -> dict[str, float]:
    """Mean loss by predictor, of the report of a test."""
    with (run / "test" / "summary.csv").open(encoding="utf-8") as file:
        return {row["predictor"]: float(row["loss"]) for row in csv.DictReader(file) if row["statistic"] == "mean"}


def test_kernel_is_fitted_tested_and_recorded(kernel: Path, command: Command) -> None:
    command("test", "--ckpt_path", str(kernel / "checkpoints" / "best.ckpt"))
    losses = summary(kernel)
    assert set(losses) == {"model", "training mean"} and losses["model"] < 0.6 * losses["training mean"]
    record = read_record(kernel / RECORD)
    assert (record.status, record.backbone, record.head, record.epochs) == ("finished", "CompositionKernel", "", 1)
    state = read_checkpoint(kernel / "checkpoints" / "best.ckpt")["state_dict"]
    assert record.num_parameters == sum(value.numel() for key, value in state.items() if key.startswith("backbone."))
    assert record.metrics["test/loss"] == pytest.approx(losses["model"], abs=1e-3)
    assert record.training_flops is None and record.settings["optimizer"] == ""


def test_the_same_command_again_changes_nothing(kernel: Path, command: Command) -> None:
    before = read_checkpoint(kernel / "checkpoints" / "best.ckpt")["state_dict"]
    command("fit", *BASE, *FIRST_PART, *config("composition_kernel"), "--run_dir", str(kernel))
    after = read_checkpoint(kernel / "checkpoints" / "best.ckpt")["state_dict"]
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_loaded_kernel_predicts_structures(kernel: Path, command: Command, tmp_path: Path) -> None:
    model = dg.load(kernel / "checkpoints" / "best.ckpt")
    silver = model.predict(str(SILVER))
    assert silver.eps_inter.shape == (2001,) and np.isfinite(silver.eps_inter).all() and silver.drude > 5
    copied = tmp_path / "run"
    shutil.copytree(kernel, copied)
    command("predict", "--ckpt_path", str(copied / "checkpoints" / "best.ckpt"), "--crystals", str(SILVER))
    with (copied / "predictions" / "summary.csv").open(encoding="utf-8") as file:
        assert float(next(csv.DictReader(file))["drude_ev"]) == pytest.approx(silver.drude, abs=1e-3)


def test_kernel_stands_beside_the_network_in_its_test(
    trained: Path, kernel: Path, command: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    output = command("test", "--ckpt_path", str(run / "checkpoints" / "best.ckpt")).stdout
    losses = summary(run)
    command("test", "--ckpt_path", str(kernel / "checkpoints" / "best.ckpt"))
    assert losses["composition kernel"] == pytest.approx(summary(kernel)["model"], abs=1e-3)
    assert losses["model"] >= losses["composition kernel"] and "does not beat" in output
    fewer = ("--data.train_size", "40")  # no longer the materials that the model was trained on
    command("test", "--ckpt_path", str(run / "checkpoints" / "best.ckpt"), *fewer)
    assert "composition kernel" not in summary(run)


def test_kernel_and_network_are_an_ensemble(trained: Path, kernel: Path) -> None:
    paths = [one / "checkpoints" / "best.ckpt" for one in (trained, kernel)]
    both, one, other = dg.load(paths), dg.load(paths[0]), dg.load(paths[1])
    found = both.predict(str(SILVER))
    assert found.drude == pytest.approx((one.predict(str(SILVER)).drude + other.predict(str(SILVER)).drude) / 2)


def test_mean_and_nearest_are_the_numbers_of_the_table(kernel: Path, command: Command, tmp_path: Path) -> None:
    losses = {}
    for name in ("mean_spectrum", "nearest_material"):
        run = tmp_path / name
        command("fit", *BASE, *config(name), "--run_dir", str(run))
        command("test", "--ckpt_path", str(run / "checkpoints" / "best.ckpt"))
        losses[name] = summary(run)
    assert losses["mean_spectrum"]["model"] == losses["mean_spectrum"]["training mean"]
    assert losses["nearest_material"]["model"] < losses["mean_spectrum"]["model"]


def test_a_state_that_does_not_fit_is_refused(kernel: Path, tmp_path: Path) -> None:
    path = kernel / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["backbone.coefficients"] = torch.zeros(3, 31)
    torch.save(checkpoint, tmp_path / "bad.ckpt")
    with pytest.raises(InputError, match="CompositionKernel"):
        dg.load(tmp_path / "bad.ckpt")


@pytest.mark.parametrize("kernel", [CompositionKernel, StructureKernel])
def test_baselines_in_python(kernel: type[CompositionKernel]) -> None:
    model = dg.DielectricModule(backbone=kernel(alpha=0.1))
    assert isinstance(model, BaselineModule) and model.config is not None
    assert model.config["model"]["backbone"]["init_args"] == {"alpha": 0.1}
    data = dg.CrystalDataModule(source=ExampleMetals(parts=1))
    data.setup("fit")
    model.fit_baseline(data.store, data.indices["train"])
    assert model.predict(str(SILVER)).drude > 5


def test_objectives_of_tensors_and_unknown_labels_are_refused(command: Command, tmp_path: Path) -> None:
    from dielectric_gnn.training.objective import TensorObjective

    with pytest.raises(InputError, match="averages"):
        dg.DielectricModule(backbone=MeanSpectrum(), objective=TensorObjective())
    two = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
    refused = command("fit", *BASE, *config("mean_spectrum"), *two, "--run_dir", str(tmp_path / "two"), status=2)
    assert "trainer.devices" in refused.stderr and "Traceback" not in refused.stderr


def test_configuration_is_stored_by_class_path(kernel: Path) -> None:
    stored = read_checkpoint(kernel / "checkpoints" / "best.ckpt")[SECTION]["config"]["model"]["backbone"]
    assert stored["class_path"].endswith("CompositionKernel") and json.dumps(stored)
