"""A model on another energy grid: every table, figure and export has its energies; colours where they are known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.store.writer import write_store
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.testing import labelled
from tests.commands import FIRST_PART, SMALL, SMALL_MODEL, Command

GRIDS = {
    "narrow": EnergyGrid(0.0, 10.0, 501),
    "ultraviolet": EnergyGrid(4.0, 20.0, 161),
    "infrared": EnergyGrid(0.0, 0.9, 91),
}
FORMATS = ["refractiveindex", "nk", "csv", "json", "meep"]


@pytest.mark.parametrize("name", GRIDS)
def test_every_file_has_the_energies_of_the_model(
    command: Command, metals: list[CrystalRecord], tmp_path: Path, name: str
) -> None:
    grid, store, run = GRIDS[name], tmp_path / "store", tmp_path / "run"
    split = {"train": slice(0, 24), "val": slice(24, 30), "test": slice(30, 36)}
    write_store(
        store,
        [labelled(record, grid) for record in metals[:36]],
        5.5,
        lambda ids, _: {key: list(ids[part]) for key, part in split.items()},
        source="another grid",
    )
    options = [f"--model.grid.{key}={getattr(grid, key)}" for key in ("start", "stop", "num")]
    fit = ["fit", "--config", "configs/base.yaml", *SMALL_MODEL, "--data.store", str(store), "--run_dir", str(run)]
    command(*fit, *options, "--trainer.max_epochs", "2")
    best = str(run / "checkpoints" / "best.ckpt")
    tested = command("test", "--ckpt_path", best, "--data.store", str(store))
    colours_known = name == "narrow"
    per_material = pd.read_csv(run / "test" / "per_material.csv")
    assert len(per_material) == 6 and (run / "test" / "quantiles.png").is_file()
    assert per_material["delta_e"].notna().all() == colours_known and per_material["mae_re"].notna().all()
    assert "ΔE" in tested.stdout
    predict = ["predict", "--ckpt_path", best, "--crystals", "docs/crystals/fcc_silver.cif"]
    command(*predict, "--predictions.figures", "true", "--predictions.formats", json.dumps(FORMATS))
    folder = run / "predictions"
    table = pd.read_csv(folder / "fcc_silver.csv", comment="#")
    np.testing.assert_allclose(table["energy_ev"], grid.energies(), rtol=1e-6)
    summary = pd.read_csv(folder / "summary.csv")
    assert summary["srgb_hex"].notna().all() == colours_known
    inside = grid.energies()[grid.energies() > 0]
    assert (folder / "fcc_silver.png").is_file() and (folder / "index.html").is_file()
    for path in folder.glob("fcc_silver*"):
        energies = energies_of(path)
        if energies is not None:
            assert energies.min() >= grid.start * (1 - 1e-5) and energies.max() <= grid.stop * (1 + 1e-5), path
            assert energies.max() > 0.9 * inside.max(), path


def energies_of(path: Path) -> np.ndarray | None:
    """Photon energies of an exported file, from its own columns."""
    if path.suffix in (".yml", ".yaml"):
        text = yaml.safe_load(path.read_text())["DATA"][0]["data"]
        return 1.239841984 / np.array([float(line.split()[0]) for line in text.strip().splitlines()])
    if path.suffix == ".nk":
        return 1.239841984 / np.loadtxt(path)[:, 0]
    if path.suffix == ".json":
        plain = json.loads(path.read_text())
        return np.array(next(values for key, values in plain["spectra"].items() if key.startswith("energy")))
    return None


WORDS = ["start", "0", "stop", "8", "num", "401"]


def grid_words(option: str) -> list[str]:
    return [f"{option}.{key}={value}" for key, value in zip(WORDS[::2], WORDS[1::2], strict=True)]


@pytest.mark.parametrize("through", ["store", "source"])
def test_embedded_metals_on_0_to_8_ev_from_prepare_to_predict(command: Command, tmp_path: Path, through: str) -> None:
    run, store = tmp_path / "run", tmp_path / "store"
    words = [*FIRST_PART, "--data.grid", json.dumps({"start": 0, "stop": 8, "num": 401})]
    if through == "store":
        source = ["--source", "dielectric_gnn.data.sources.ExampleMetals", "--source.parts", "1"]
        built = command("prepare", "build", str(store), *source, *grid_words("--grid"))
        assert "401 points on 0 to 8 eV" in built.stdout and "rejected: 0" in built.stdout
        words = ["--data.store", str(store)]
    fit = ["fit", "--config", "configs/base.yaml", *SMALL_MODEL, "--trainer.max_epochs", "1", "--run_dir", str(run)]
    command(*fit, *words, "--data.train_size", "24")
    best = str(run / "checkpoints" / "best.ckpt")
    command("test", "--ckpt_path", best, *(words if through == "store" else []))
    per_material = pd.read_csv(run / "test" / "per_material.csv")
    assert len(per_material) == 18 and per_material["delta_e"].notna().all()
    command("predict", "--ckpt_path", best, "--crystals", "docs/crystals/fcc_silver.cif")
    table = pd.read_csv(run / "predictions" / "fcc_silver.csv", comment="#")
    np.testing.assert_allclose(table["energy_ev"], np.linspace(0, 8, 401), atol=1e-6)


def test_a_grid_that_the_spectra_do_not_cover_is_one_line(command: Command, tmp_path: Path) -> None:
    grid = json.dumps({"start": 0, "stop": 30, "num": 301})
    fit = ["fit", "--config", "configs/base.yaml", *SMALL, "--run_dir", str(tmp_path / "run"), "--data.grid", grid]
    result = command(*fit, status=2)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "0 to 20 eV" in errors[0] and "0 to 30 eV" in errors[0]
    assert "Traceback" not in result.stderr
