"""From a file of the study to predictions, by the commands that the README gives."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from tests.commands import Command, run_command

DATA = Path(__file__).parents[1] / "data/reference_models"


@pytest.mark.parametrize("name", ["optimetal2b_cgc", "optimetal2b_tc", "optimetal3b_tc"])
def test_predictions_of_imported_weights_are_those_of_the_reference(
    command: Command, tmp_path: Path, name: str
) -> None:
    """Float32, within 1e-5 of the largest output, on the structures written as files."""
    file, run = DATA / f"{name}_width16.pt", tmp_path / "run"
    done = run_command("tools/import_published.py", str(file), "--out", str(run))
    assert done.returncode == 0, done.stderr
    with np.load(DATA / f"{name}_width16.npz") as stored:
        reference = dict(stored)
    crystals = tmp_path / "crystals"
    crystals.mkdir()
    for number in range(7):
        lattice, numbers, positions = (
            reference[f"structure/{number}/{key}"] for key in ("lattice", "atomic_numbers", "positions")
        )
        structure = Structure(Lattice(lattice), numbers.tolist(), positions, coords_are_cartesian=True)
        structure.to(str(crystals / f"s{number}.json"))
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    command("predict", "--ckpt_path", checkpoint, "--crystals", str(crystals), "--predictions.figures", "false")
    expected, drude = reference["eval/eps_inter"], reference["eval/drude"]
    for number in range(7):
        table = pd.read_csv(run / "predictions" / f"s{number}.csv", comment="#")
        found = table[["eps_inter_re", "eps_inter_im"]].to_numpy()[::20]
        np.testing.assert_allclose(found, expected[number], rtol=0, atol=1e-5 * np.abs(expected).max())
    summary = pd.read_csv(run / "predictions" / "summary.csv").sort_values("material_id")
    np.testing.assert_allclose(summary["drude_ev"], drude, rtol=0, atol=1e-5 * max(np.abs(drude).max(), 1e-9))


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    done = run_command("tools/import_published.py", "README.md", "--out", str(tmp_path / "run"))
    assert done.returncode == 2 and done.stderr.startswith("error: README.md: ") and done.stderr.count("\n") == 1


def test_imported_weights_are_tested_and_fine_tuned(command: Command, tmp_path: Path) -> None:
    file, run = DATA / "optimetal2b_cgc_width16.pt", tmp_path / "run"
    assert run_command("tools/import_published.py", str(file), "--out", str(run)).returncode == 0
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    refused = command("test", "--ckpt_path", checkpoint, status=2)  # the embedded spectra have another broadening
    assert "0.1 eV" in refused.stderr and "0.3 eV" in refused.stderr
    same = ["--config", "configs/base.yaml", "--config", "configs/published/optimetal2b_cgc.yaml"]
    small = ["--model.backbone.init_args.width", "16", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
    head = ["--model.head.init_args.hidden_dims", "[16, 16]"]
    tuned = command("fit", *same, *small, *head, "--fine_tune_from", checkpoint, "--run_dir", str(tmp_path / "tuned"))
    assert "spectrum_mlp" not in tuned.stdout + tuned.stderr  # every weight fits
