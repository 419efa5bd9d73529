"""`evaluate`: every material of a labelled folder is scored, without a split."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.utils.errors import InputError
from tests.commands import Command
from tests.entries import METALS, write_entry


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three metals, each with energies of its own that cover those of the model."""
    folder = tmp_path_factory.mktemp("labelled")
    for place, symbol in enumerate(METALS[:3]):
        energies = np.linspace(0, 21 + place, 1500 + place)
        path = write_entry(folder / f"{symbol}.json", symbol, symbols=(symbol,), energies=energies)
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "parameters": {"broadening_ev": 0.3}}))
    return folder


def test_every_material_of_a_folder_is_scored(command: Command, trained: Path, folder: Path, tmp_path: Path) -> None:
    best, run = str(trained / "checkpoints" / "best.ckpt"), tmp_path / "scores"
    record = (trained / "run_record.json").read_text()
    source = ["--data.source", "EntryJson", "--data.source.path", str(folder)]
    result = command("evaluate", "--ckpt_path", best, *source, "--run_dir", str(run))
    assert "3 materials" in result.stdout
    table = pd.read_csv(run / "evaluation" / "per_material.csv")
    assert sorted(table["material_id"]) == sorted(METALS[:3]) and table["loss"].notna().all()
    names = {"summary.csv", "summary.md", "per_material.csv", "quantiles.png"}
    assert {path.name for path in (run / "evaluation").iterdir()} == names
    again = tmp_path / "again"
    command("test", "--data.all_as", "test", "--ckpt_path", best, *source, "--run_dir", str(again))
    pd.testing.assert_frame_equal(pd.read_csv(again / "evaluation" / "per_material.csv"), table)
    one = ["--data.source", "EntryJson", "--data.source.path", str(folder / "Cu.json"), "--run_dir", str(again)]
    command("evaluate", "--ckpt_path", best, *one)
    alone = pd.read_csv(again / "evaluation" / "per_material.csv")
    assert alone["material_id"].tolist() == ["Cu"]
    expected = table[table["material_id"] == "Cu"]
    np.testing.assert_allclose(alone[["loss", "mae"]], expected[["loss", "mae"]], rtol=1e-5)
    assert (trained / "run_record.json").read_text() == record


def test_the_report_of_the_own_test_set_stays(command: Command, trained: Path, folder: Path) -> None:
    best = str(trained / "checkpoints" / "best.ckpt")
    command("test", "--ckpt_path", best)
    report = (trained / "test" / "per_material.csv").read_bytes()
    record = json.loads((trained / "run_record.json").read_text())
    assert any(key.startswith("test/") for key in record["metrics"])
    command("evaluate", "--ckpt_path", best, "--data.source", "EntryJson", "--data.source.path", str(folder))
    assert (trained / "test" / "per_material.csv").read_bytes() == report
    assert json.loads((trained / "run_record.json").read_text()) == record
    assert len(pd.read_csv(trained / "evaluation" / "per_material.csv")) == 3


def test_embedded_metals_are_all_scored_with_their_own_source(command: Command, trained: Path, tmp_path: Path) -> None:
    best = str(trained / "checkpoints" / "best.ckpt")
    command("evaluate", "--ckpt_path", best, "--run_dir", str(tmp_path))
    assert len(pd.read_csv(tmp_path / "evaluation" / "per_material.csv")) == 102


def test_mistakes_are_one_line(command: Command, tmp_path: Path, trained: Path) -> None:
    write_entry(tmp_path / "short.json", "short", energies=np.linspace(0, 10, 501))
    best = str(trained / "checkpoints" / "best.ckpt")
    source = ["--data.source", "EntryJson", "--data.source.path", str(tmp_path), "--run_dir", str(tmp_path / "run")]
    cases = {("evaluate", "--ckpt_path", best, *source): "0 to 10 eV", ("evaluate", *source): "ckpt_path"}
    for words, part in cases.items():
        result = command(*words, status=2)
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and part in errors[0] and "Traceback" not in result.stderr


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_nothing_is_trained_on_test_materials(stage: str) -> None:
    with pytest.raises(InputError, match="all_as"):
        CrystalDataModule(all_as="test").setup(stage)
