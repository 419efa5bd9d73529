"""Insulators by their band gap, and entries without a Drude frequency or Re ε."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.label_options import LabelOptions, on_grid, with_drude_of_insulators
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import EntryJson
from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.data.store.prepare import BuildOptions, build_store
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError, RecordError
from tests.entries import entry, write_entry, write_metals_and_insulators


def read(folder: Path, **options: object) -> CrystalRecord:
    write_entry(folder / "a.json", "a", **options)
    (record,) = EntryJson(str(folder)).records()
    return record


@pytest.mark.parametrize(("gap", "expected"), [(8.9, 0.0), (0.0, np.nan), (None, np.nan), ("8.9", np.nan)])
def test_a_band_gap_sets_the_drude_frequency_to_zero(tmp_path: Path, gap: object, expected: float) -> None:
    record = with_drude_of_insulators(read(tmp_path, drude=None, band_gap=gap))
    assert record.labels is not None
    np.testing.assert_array_equal(record.labels.drude, [expected] * 3)
    assert LabelOptions().apply(record) is record


def test_a_metal_with_a_band_gap_is_a_reject(tmp_path: Path) -> None:
    record = read(tmp_path, drude=5.0, band_gap=1.1)
    with pytest.raises(RecordError, match=r"band_gap is 1\.1 eV and drude_freq reaches 5 eV"):
        LabelOptions(insulators="drude_zero").apply(record)
    assert LabelOptions().apply(record).labels is record.labels


def test_null_is_no_label(tmp_path: Path) -> None:
    labels = read(tmp_path, drude=None, with_real=False).labels
    assert labels is not None and not labels.has_drude and not labels.has_real
    eps, drude = labels.average()
    assert np.isnan(eps.real).all() and np.isfinite(eps.imag).all() and np.isnan(drude)


@pytest.mark.parametrize("key", ["drude_freq", "eps_inter_re", "eps_inter_im"])
def test_a_field_that_is_absent_is_a_damaged_file(tmp_path: Path, key: str) -> None:
    content = entry("a")
    del content["data"][key]
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(RecordError, match=f"'{key}' is missing"):
        list(EntryJson(str(tmp_path)).records())


def test_im_is_always_required(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(entry("a", eps_inter_im=None)))
    with pytest.raises(RecordError, match="eps_inter_im"):
        list(EntryJson(str(tmp_path)).records())


def test_re_that_is_not_known_stays_so_on_another_grid(tmp_path: Path) -> None:
    known, gap = read(tmp_path / "1"), read(tmp_path / "2", with_real=False)
    grid = EnergyGrid(0.0, 8.0, 333)
    one, other = (on_grid(record, grid).labels for record in (known, gap))
    assert one is not None and other is not None and not other.has_real
    np.testing.assert_array_equal(one.eps_inter.imag, other.eps_inter.imag)


def test_metals_and_insulators_in_one_store(tmp_path: Path) -> None:
    insulators = write_metals_and_insulators(tmp_path / "in")
    source = EntryJson(str(tmp_path / "in"))
    build_store(source, tmp_path / "store", BuildOptions(insulators="drude_zero"), "test")
    store, _ = open_store(tmp_path / "store")
    assert store.drude is not None
    found = dict(zip(store.material_ids, store.drude.tolist(), strict=True))
    assert all(found[name] == (0.0 if name in insulators else 8.0) for name in found) and len(found) == 12
    data = CrystalDataModule(source, insulators="drude_zero")
    data.setup("fit")
    statistics = data.training_statistics()
    assert statistics.num_zero_drude is not None and 0 < statistics.num_zero_drude < statistics.num_materials
    assert f"({statistics.num_zero_drude} of them 0)" in statistics.describe_labels()


def test_a_store_refuses_the_option_that_it_was_built_without(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--insulators"):
        CrystalDataModule(store=str(tmp_path), insulators="drude_zero")
