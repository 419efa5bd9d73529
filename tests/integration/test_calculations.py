"""A folder of calculations through the real command: fit, test and predict; one line for mistakes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.calculation_files import write_simple_ip, write_vasp
from tests.commands import SMALL_MODEL, Command

SYMBOLS = ("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt", "Rh", "Ir", "Pb", "Ca", "Sr")
GRID = {"start": "0.0", "stop": "8.0", "num": "81"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve VASP folders up to 10 eV with plasma tensors, and one that is truncated."""
    folder = tmp_path_factory.mktemp("runs")
    for place, symbol in enumerate(SYMBOLS):
        write_vasp(folder / symbol, symbol, squares=(8.0 + place) ** 2 * np.eye(3))
    bad = write_vasp(folder / "truncated")
    bad.write_text(bad.read_text()[:5000])
    return folder


def source_options(runs: Path) -> list[str]:
    grid = [f"--data.source.grid.{key}={value}" for key, value in GRID.items()]
    return ["--data.source", "Calculations", "--data.source.path", str(runs), *grid]


def test_fit_test_and_predict_on_vasp_folders(command: Command, runs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["fit", "--config", "configs/base.yaml", *SMALL_MODEL, "--trainer.max_epochs", "1"]
    command(*words, *source_options(runs), "--data.on_error", "skip", "--data.batch_size", "4", "--run_dir", str(run))
    rejects = pd.read_csv(run / "rejects_fit.csv")
    assert len(rejects) == 1 and "truncated" in rejects["source"][0]
    assert set((run / "train_ids.txt").read_text().split()) < set(SYMBOLS)
    best = str(run / "checkpoints" / "best.ckpt")
    command("test", "--ckpt_path", best, *source_options(runs), "--data.on_error", "skip")
    assert len(pd.read_csv(run / "test" / "per_material.csv")) >= 1
    command("predict", "--ckpt_path", best, "--crystals", "docs/crystals/fcc_silver.cif")
    table = pd.read_csv(run / "predictions" / "fcc_silver.csv", comment="#")
    np.testing.assert_allclose(table["energy_ev"], np.linspace(0, 8, 81), atol=1e-6)


def test_from_vasp_folders_to_a_store_and_a_prediction(command: Command, runs: Path, tmp_path: Path) -> None:
    run, store = tmp_path / "run", tmp_path / "store"
    source = [word.replace("--data.", "--") for word in source_options(runs)]
    built = command("prepare", "build", str(store), *source, "--on-error", "skip")
    assert "materials: 12 " in built.stdout and "81 points on 0 to 8 eV" in built.stdout
    assert "rejected: 1" in built.stdout and "truncated" in (tmp_path / "store_rejects.csv").read_text()
    words = ["fit", "--config", "configs/base.yaml", *SMALL_MODEL, "--trainer.max_epochs", "1"]
    command(*words, "--data.store", str(store), "--data.batch_size", "4", "--run_dir", str(run))
    best = str(run / "checkpoints" / "best.ckpt")
    command("test", "--ckpt_path", best, "--data.store", str(store))
    assert len(pd.read_csv(run / "test" / "per_material.csv")) >= 1
    command("predict", "--ckpt_path", best, "--crystals", "docs/crystals/fcc_silver.cif")
    assert len(pd.read_csv(run / "predictions" / "summary.csv")) == 1


def test_mistakes_are_one_line(command: Command, runs: Path, tmp_path: Path) -> None:
    fit = ["fit", "--config", "configs/base.yaml", *SMALL_MODEL, "--run_dir", str(tmp_path / "run")]
    cases = {
        ("--data.source.path", str(runs)): ("truncated", "vasprun.xml"),
        ("--data.source.path", str(tmp_path / "nowhere")): ("no such file",),
    }
    for options, parts in cases.items():
        result = command(*fit, "--data.source", "Calculations", *options, status=2)
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and all(part in errors[0] for part in parts), result.stderr
        assert "Traceback" not in result.stderr


def test_two_broadenings_are_one_line(command: Command, tmp_path: Path) -> None:
    write_vasp(tmp_path / "runs" / "a", squares=81 * np.eye(3))
    write_simple_ip(tmp_path / "runs" / "b")
    text = (tmp_path / "runs" / "b" / "al_simple_ip.out").read_text()
    (tmp_path / "runs" / "b" / "al_simple_ip.out").write_text(text.replace("0.10000", "0.30000"))
    fit = ["fit", "--config", "configs/base.yaml", *SMALL_MODEL, "--run_dir", str(tmp_path / "run")]
    result = command(*fit, "--data.source", "Calculations", "--data.source.path", str(tmp_path / "runs"), status=2)
    assert "broadening" in result.stderr and "Traceback" not in result.stderr
