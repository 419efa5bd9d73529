"""The shipped model: by command and from Python, within its limits of size, safe to load."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import dielectric_gnn as dg
from dielectric_gnn import pretrained
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.sealed_zip import check_archive
from tests.commands import Command

NAME = "metals-gpaw"


def test_it_is_small_plain_and_described() -> None:
    paths = pretrained.checkpoints(NAME)
    folder = paths[0].parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 6e6 and len(paths) == 4
    for path in paths:
        check_archive(path)
        content = torch.load(path, weights_only=True)
        assert content.keys() == {"state_dict", "dielectric_gnn"}
    card = pretrained.card(NAME)
    assert "Not for" in card and "mean prediction" in card


def test_python_answers_with_intervals_and_warnings() -> None:
    model = dg.load_pretrained(NAME)
    silver = model.predict("docs/crystals/fcc_silver.cif")
    assert silver.intervals is not None and 0.5 < silver.intervals.drude < 3
    assert silver.std is not None and 7 < silver.drude < 11  # calculated: 9.2 eV
    assert 0.5 < silver.reflectivity_at(633, "nm") <= 1
    with pytest.raises(InputError, match="expected metals-gpaw"):
        dg.load_pretrained("metals-vasp")


def test_the_command_predicts_into_a_folder_of_its_own(command: Command, tmp_path: Path) -> None:
    silver = str(Path("docs/crystals/fcc_silver.cif").resolve())
    shown = command("predict", "--pretrained", NAME, "--crystals", silver, cwd=tmp_path)
    folder = tmp_path / "runs" / NAME / "predictions"
    assert str(folder.relative_to(tmp_path)) in shown.stdout
    summary = pd.read_csv(folder / "summary.csv")
    assert summary["drude_interval_ev"][0] > 0.5 and summary["drude_std_ev"][0] > 0
    spectrum = pd.read_csv(folder / "fcc_silver.csv", comment="#")
    model = dg.load_pretrained(NAME)
    np.testing.assert_allclose(spectrum["eps_inter_re"], model.predict(silver).eps_inter.real, rtol=1e-3, atol=1e-3)
    refused = command("predict", "--pretrained", "unknown", "--crystals", silver, cwd=tmp_path, status=2)
    assert "expected metals-gpaw" in refused.stderr and "Traceback" not in refused.stderr
