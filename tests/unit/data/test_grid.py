"""The grid of a data set: labels of any source are resampled onto it, in memory and in stores alike."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.label_options import LabelOptions, on_grid, read_records
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import Calculations, EntryJson, ExampleMetals, RecordSource
from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.data.store.prepare import BuildOptions, build_store
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError, RecordError
from tests.entries import METALS, entry, lorentz, write_entry

GRID = EnergyGrid(0.05, 8.0, 401)


def source_on(folder: Path, grid: EnergyGrid | None) -> EntryJson:
    source = EntryJson(str(folder))
    source.use_grid(grid)
    return source


def nonuniform(start: float, stop: float, num: int = 1500) -> NDArray[np.float64]:
    return np.geomspace(start, stop, num)


def test_nonuniform_energies_are_resampled(tmp_path: Path) -> None:
    write_entry(tmp_path / "a.json", "a", energies=nonuniform(0.05, 30.0))
    (record,) = source_on(tmp_path, GRID).records()
    assert record.labels is not None and record.labels.grid == GRID
    expected = lorentz(GRID.energies())
    assert np.abs(record.labels.eps_inter[0] - expected).max() < 2e-3 * np.abs(expected).max()
    assert 0 < record.metadata["resampling_error"] < 2e-2


@pytest.mark.parametrize(
    ("energies", "grid", "words"),
    [
        (nonuniform(0.05, 30.0), EnergyGrid(0.0, 8.0, 401), "0.05 to 30 eV"),
        (np.linspace(0, 7, 701), EnergyGrid(0.0, 8.0, 401), "0 to 7 eV"),
        (np.linspace(8, 0, 701), EnergyGrid(0.0, 8.0, 401), "rise strictly"),
        (np.linspace(0, 8, 701), None, "data.grid"),
    ],
)
def test_energies_that_do_not_fit_are_one_line(
    tmp_path: Path, energies: NDArray[np.float64], grid: EnergyGrid | None, words: str
) -> None:
    write_entry(tmp_path / "a.json", "a", energies=energies)
    source = source_on(tmp_path, grid)
    with pytest.raises(RecordError, match=words) as caught:
        list(source.records())
    assert "\n" not in str(caught.value) and "a.json" in str(caught.value)
    assert list(source.records("skip")) == [] and len(source.rejects) == 1


def test_parts_at_different_energies_are_refused(tmp_path: Path) -> None:
    content = entry("a", energies=np.linspace(0, 10, 501))
    content["data"]["eps_inter_im"][3][0] += 1e-3
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(RecordError, match="different energies"):
        list(source_on(tmp_path, GRID).records())


def test_nan_at_one_energy_is_refused_before_resampling(tmp_path: Path) -> None:
    content = entry("a", energies=np.linspace(0, 10, 501))
    content["data"]["eps_inter_re"][3][1] = float("nan")
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(RecordError, match="NaN"):
        list(source_on(tmp_path, GRID).records())


def test_metals_on_another_grid_are_their_own_values_at_common_energies(metals: list[CrystalRecord]) -> None:
    coarse = on_grid(metals[0], EnergyGrid(0.0, 8.0, 401))  # every second point
    assert coarse.labels is not None and metals[0].labels is not None
    np.testing.assert_allclose(coarse.labels.eps_inter, metals[0].labels.eps_inter[:, :801:2], rtol=1e-12)
    assert coarse.labels.drude is metals[0].labels.drude
    assert on_grid(metals[0], metals[0].labels.grid) is metals[0]


class HalfCovering(RecordSource):
    """Embedded metals, of which every second one ends at 10 eV."""

    def records(self, on_error: Any = "raise") -> Iterator[CrystalRecord]:
        for place, record in enumerate(ExampleMetals(parts=1).records()):
            yield on_grid(record, EnergyGrid(0.0, 10.0, 1001)) if place % 2 else record


def test_materials_that_do_not_cover_the_grid_are_rejects(caplog: pytest.LogCaptureFixture) -> None:
    source = HalfCovering()
    with caplog.at_level(logging.INFO):
        kept = list(read_records(source, "skip", LabelOptions(EnergyGrid(0.0, 15.0, 751))))
    assert len(kept) == 51 and len(source.rejects) == 51 and "0 to 10 eV" in str(source.rejects[0])
    lines = [record.getMessage() for record in caplog.records if "resampling" in record.getMessage()]
    assert len(lines) == 1 and any(record.material_id in lines[0] for record in kept)
    with pytest.raises(RecordError, match="0 to 10 eV"):
        list(read_records(HalfCovering(), "raise", LabelOptions(EnergyGrid(0.0, 15.0, 751))))


def test_data_module_and_store_hold_the_same_resampled_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    grid = EnergyGrid(0.0, 8.0, 401)
    data = CrystalDataModule(ExampleMetals(parts=1), grid=grid)
    data.setup("test")
    with caplog.at_level(logging.INFO):
        build_store(ExampleMetals(parts=1), tmp_path / "store", BuildOptions(grid=grid), "test")
    assert sum("resampling changed" in record.getMessage() for record in caplog.records) == 1
    store, _ = open_store(tmp_path / "store")
    assert store.grid == data.store.grid == grid
    assert store.eps_inter is not None and data.store.eps_inter is not None
    np.testing.assert_array_equal(store.eps_inter, data.store.eps_inter)
    other = CrystalDataModule(store=str(tmp_path / "store"), grid=EnergyGrid(0.0, 8.0, 201))
    with pytest.raises(InputError, match=r"401 points .*data\.grid is 201 points"):
        other.setup("test")


def test_builds_with_tasks_are_resampled_by_the_workers(tmp_path: Path) -> None:
    for symbol in METALS:
        write_entry(tmp_path / "in" / f"{symbol}.json", symbol, symbols=(symbol,), energies=nonuniform(0.05, 30.0))
    for workers in (1, 2):
        options = BuildOptions(grid=GRID, workers=workers, split="seeded")
        assert build_store(EntryJson(str(tmp_path / "in")), tmp_path / f"store{workers}", options, "test") == []
    stores = [open_store(tmp_path / f"store{workers}")[0] for workers in (1, 2)]
    assert all(store.grid == GRID for store in stores)
    np.testing.assert_array_equal(stores[0].eps_inter, stores[1].eps_inter)


def test_two_grids_are_refused_with_both(tmp_path: Path) -> None:
    source = Calculations(str(tmp_path), grid=EnergyGrid(0.0, 8.0, 81))
    with pytest.raises(InputError, match=r"is 401 points .* Calculations is 81 points"):
        source.use_grid(EnergyGrid(0.0, 8.0, 401))
    source.use_grid(None)
    assert source.grid == EnergyGrid(0.0, 8.0, 81)
    assert EntryJson("a").grid is None and ExampleMetals(parts=1).grid is None
