"""Whole tensors through the real command: fit, test, predict; a store; and models without tensor labels."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.commands import SMALL, Command
from tests.integration.test_pipeline import rows_of

TENSOR = [
    *(
        "--config",
        "configs/base.yaml",
        "--config",
        "configs/backbone/goten.yaml",
        "--config",
        "configs/head/tensor.yaml",
    ),
    *(*SMALL, "--model.backbone.tensors", "true"),
]


@pytest.fixture(scope="module")
def fitted(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("tensor") / "run"
    command("fit", *TENSOR, "--trainer.max_epochs", "2", "--run_dir", str(run))
    return run


def spectrum_of(path: Path) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Numbers among the comments, and columns."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = dict(line[1:].strip().split(": ", 1) for line in lines if line.startswith("#"))
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    numbers = {key: float(value) for key, value in comments.items() if key.startswith("drude_square")}
    return numbers, {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}


def test_report_has_the_metrics_of_tensors(command: Command, fitted: Path) -> None:
    command("test", "--ckpt_path", str(fitted / "checkpoints" / "best.ckpt"))
    rows = {row["material_id"]: row for row in rows_of(fitted / "test" / "per_material.csv")}
    assert len(rows) == 18
    for name, row in rows.items():
        anisotropic = "hcp" in name or "l10" in name
        assert np.isfinite(float(row["deviator_error"])) == anisotropic
        assert np.isfinite(float(row["axis_error"])) == anisotropic
        loss = float(row["tensor_error"]) + float(row["drude_tensor_error"])
        assert float(row["loss"]) == pytest.approx(loss, rel=1e-3)
    assert "error of dev ε" in (fitted / "test" / "summary.md").read_text()
    assert (fitted / "test" / "quantiles.png").stat().st_size > 10_000


def test_predict_writes_six_components_and_three_reflectivities(command: Command, fitted: Path) -> None:
    out = fitted.parent / "predicted"
    command("predict", "--ckpt_path", str(fitted / "checkpoints" / "best.ckpt"), "--run_dir", str(out))
    folder = out / "predictions"
    squares, tensor = spectrum_of(folder / "gpaw-hcp-Na_tensor.csv")
    assert "approximate" not in (folder / "gpaw-hcp-Na_tensor.csv").read_text(), "off-diagonals are rounding errors"
    _, average = spectrum_of(folder / "gpaw-hcp-Na.csv")
    components = ("xx", "yy", "zz", "yz", "xz", "xy")
    assert [key for key in tensor if key.endswith("_im")] == [f"eps_inter_{name}_im" for name in components]
    assert list(squares) == [f"drude_square_{name}_ev2" for name in components]
    for part in ("re", "im"):
        diagonal = [tensor[f"eps_inter_{name}_{part}"] for name in components[:3]]
        np.testing.assert_allclose(np.mean(diagonal, axis=0), average[f"eps_inter_{part}"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(diagonal[0], diagonal[1], rtol=1e-3, atol=1e-4)
        assert np.abs(diagonal[0] - diagonal[2]).max() > 0
    assert min(tensor[f"eps_inter_{name}_im"].min() for name in components[:3]) >= 0
    eps = tensor["eps_inter_zz_re"] + 1j * tensor["eps_inter_zz_im"]
    energy = tensor["energy_ev"][1:]
    damping = float(rows_of(folder / "summary.csv")[0]["damping_ev"])
    total = eps[1:] - squares["drude_square_zz_ev2"] / (energy**2 + 1j * damping * energy)
    index = np.sqrt(total)
    np.testing.assert_allclose(tensor["reflectivity_z"][1:], abs((index - 1) / (index + 1)) ** 2, atol=1e-3)
    assert (folder / "gpaw-hcp-Na_tensor.png").stat().st_size > 10_000


def test_checkpoint_is_safe_and_says_how_many_tensors_it_saw(fitted: Path) -> None:
    checkpoint = torch.load(fitted / "checkpoints" / "best.ckpt", weights_only=True)
    assert checkpoint["dielectric_gnn"]["training_statistics"]["num_tensors"] == 69


def test_model_trained_on_averages_exports_no_tensors(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shown = command("fit", *TENSOR, "--trainer.max_epochs", "1", "--data.tensors", "false", "--run_dir", str(run))
    assert "tensors of this model will mean nothing" in shown.stdout + shown.stderr
    silver = ("--crystals", "docs/crystals/fcc_silver.cif")
    shown = command("predict", "--ckpt_path", str(run / "checkpoints" / "best.ckpt"), *silver)
    assert "Tensors are not written: the model was trained on averages" in shown.stdout
    written = {path.name for path in (run / "predictions").iterdir()}
    assert {"fcc_silver.csv", "summary.csv"} < written
    assert not [name for name in written if "_tensor" in name]


def test_tensor_head_on_an_invariant_backbone_is_one_clear_line(command: Command, tmp_path: Path) -> None:
    head = ("--config", "configs/head/tensor.yaml")
    result = command("fit", "--config", "configs/base.yaml", *head, *SMALL, "--run_dir", str(tmp_path / "r"), status=2)
    assert "choose an equivariant one (Goten, ESCN or ClebschGordan) with tensors: true" in result.stderr
    assert "Traceback" not in result.stderr
