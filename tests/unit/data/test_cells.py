"""Cells: skew ones have the edges of the crystal, and impossible ones are refused at once, by every source."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.frames import allowed_tensors
from dielectric_gnn.data.graphs.cells import MAX_ATOMS, reduced_lattice, safe_cutoff
from dielectric_gnn.data.graphs.graph import many_neighbour_edges, neighbour_edges
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import EntryJson, PreparedHDF5, RecordSource, StructureFiles, SyntheticMetals
from dielectric_gnn.data.sources.structure_files import read_structure
from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.data.store.prepare import BuildOptions, build_store
from dielectric_gnn.testing import sample_crystals
from dielectric_gnn.utils.errors import InputError, RecordError
from tests.unit.data.test_sources import entry

HOSTILE = Path(__file__).parents[2] / "data" / "odd_inputs" / "hostile_cells"
CUTOFF = 5.5


def skewed(record: CrystalRecord, rng: np.random.Generator, largest: int) -> CrystalRecord:
    """The same crystal in a skew cell, its atoms moved by lattice vectors."""
    shears = [np.eye(3, dtype=np.int64) for _ in range(4)]
    for shear in shears:
        i, j = rng.permutation(3)[:2]
        shear[i, j] = rng.integers(3, largest) * rng.choice([-1, 1])
    lattice = np.linalg.multi_dot(shears) @ record.lattice
    moves = rng.integers(-3, 4, size=record.positions.shape)
    return CrystalRecord(record.material_id, lattice, record.atomic_numbers, record.positions + moves @ record.lattice)


def edges_in_order(record: CrystalRecord, index: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Rows of source, target and vector, in an order that rounding does not change."""
    rows = np.column_stack([index.T, vectors])
    return rows[np.lexsort(np.round(rows, 3).T + 0.0)]


@pytest.mark.parametrize("largest", [4, 12, 60])
def test_skew_cells_have_the_edges_of_the_crystal(
    largest: int, metals: list[CrystalRecord], rng: np.random.Generator
) -> None:
    for record in metals[::4]:
        skew = skewed(record, rng, largest)
        assert skew.volume == pytest.approx(record.volume, rel=1e-6)
        (expected,) = many_neighbour_edges([record], CUTOFF)
        for found in (neighbour_edges(skew, CUTOFF), *many_neighbour_edges([skew], CUTOFF)):
            assert found[0].shape == expected[0].shape
            np.testing.assert_allclose(
                edges_in_order(skew, *found), edges_in_order(record, *expected), atol=1e-12 * np.abs(skew.lattice).max()
            )


def test_a_skew_cell_has_the_tensors_of_the_crystal(metals: list[CrystalRecord], rng: np.random.Generator) -> None:
    record = next(record for record in metals if record.material_id == "gpaw-hcp-Be")
    found, expected = (allowed_tensors(one) for one in (skewed(record, rng, 30), record))
    np.testing.assert_allclose(found @ np.linalg.pinv(found), expected @ np.linalg.pinv(expected), atol=1e-6)


def test_reduced_cells_are_those_of_niggli(metals: list[CrystalRecord], rng: np.random.Generator) -> None:
    from pymatgen.core import Lattice

    for record in metals[::5]:
        reduced = reduced_lattice(skewed(record, rng, 40).lattice)
        niggli = Lattice(record.lattice).get_niggli_reduced_lattice()
        np.testing.assert_allclose(np.linalg.norm(reduced, axis=1), sorted(niggli.abc), atol=1e-6)
        multiples = reduced @ np.linalg.inv(record.lattice)
        np.testing.assert_allclose(multiples, np.rint(multiples), atol=1e-6)


def test_usual_cells_are_searched_as_they_are(metals: list[CrystalRecord]) -> None:
    for record in (*metals, *sample_crystals()):
        assert record.search_cell.lattice is record.lattice and record.search_cell.positions is record.positions


ONE = [[0.0, 0, 0]]


@pytest.mark.parametrize(
    ("lattice", "positions", "message"),
    [
        (np.diag([1e8, 4, 4]), ONE, "vector"),
        (np.diag([1e7, 1e7, 1e7]), ONE, "vector"),
        (np.diag([4, 1200, 4]), ONE, "vector"),
        (np.diag([1e300, 4, 4]), ONE, r"1e\+300"),
        (np.diag([np.inf, 4, 4]), ONE, "infinite"),
        (np.diag([999.0, 999, 999]), ONE, "per atom"),
        (np.diag([1e-300, 1e-300, 1e-300]), ONE, "coplanar"),
        (np.diag([1e-6, 1e3, 1e3]), ONE, "apart"),
        (np.zeros((3, 3)), ONE, "coplanar"),
        (np.outer([1, 2, 3], [1e7, 2e7, 3e7]), ONE, "coplanar"),
        (np.random.default_rng(0).uniform(-1e8, 1e8, (3, 3)), ONE, "vector"),
        (np.diag([4.0, 4, 4]), [[1e300, 0, 0]], "positions"),
        (np.diag([4.0, 4, 4]), np.zeros((100, 3)), "per atom"),
        (np.diag([900.0, 900, 900]), np.zeros((4000, 3)), "pairs"),
        (np.diag([4.0, 4, 4]), np.zeros((MAX_ATOMS + 1, 3)), "atoms"),
    ],
)
def test_impossible_cells_are_refused_at_once(lattice: np.ndarray, positions: np.ndarray, message: str) -> None:
    atoms = np.asarray(positions, dtype=np.float64)
    started = time.perf_counter()
    with pytest.raises(RecordError, match=message) as caught:
        CrystalRecord("sample", np.asarray(lattice, dtype=np.float64), np.full(len(atoms), 47), atoms)
    assert time.perf_counter() - started < 2
    assert str(caught.value).startswith("sample:") and "\n" not in str(caught.value)


def test_atomic_numbers_are_whole() -> None:
    with pytest.raises(RecordError, match="integers"):
        CrystalRecord("sample", 3 * np.eye(3), np.array([29.5]), np.zeros((1, 3)))


_SEARCHES = """
import numpy as np
from dielectric_gnn.data.graphs.graph import neighbour_edges
from dielectric_gnn.data.record import CrystalRecord
rng = np.random.default_rng(0)
for lengths in ((999, 999, 0.6), (0.6, 999, 999), (999, 0.7, 999), (999, 999, 5), (999, 30, 2)):
    record = CrystalRecord("x", np.diag(np.array(lengths, dtype=float)), np.array([47]), np.zeros((1, 3)))
    for cutoff in (1.0, 2.0, 5.5):
        expected = sum(2 * int((cutoff + 1e-5) // length) for length in lengths if cutoff >= length)
        found = neighbour_edges(record, cutoff)[0].shape[1]
        assert found >= expected and (found == expected or sorted(lengths)[1] < cutoff), (lengths, cutoff, found)
print("whole")
"""


def test_long_and_flat_cells_do_not_end_the_process() -> None:
    """In a process of its own, because what is tested against is a signal."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    result = subprocess.run(
        [sys.executable, "-c", _SEARCHES], capture_output=True, text=True, env=environment, check=False
    )
    assert (result.returncode, result.stdout.strip()) == (0, "whole"), result.stderr


def test_a_larger_cutoff_is_for_long_and_flat_cells_only(metals: list[CrystalRecord]) -> None:
    assert all(safe_cutoff(record.lattice, 0.5) == 0.5 for record in metals)
    assert safe_cutoff(np.eye(3) * 400, 0.5) == 0.5
    assert 0.5 < safe_cutoff(np.diag([999.0, 999, 0.6]), 0.5) < 6


def hostile_entry(material_id: str) -> dict[str, object]:
    content = entry(material_id, monty=False)
    content["structure"]["lattice"]["matrix"][0] = [1e8, 0, 0]
    return content


def sources(folder: Path) -> list[RecordSource]:
    """One good and one impossible crystal in every format that is read."""
    import h5py

    structures, entries, prepared = (folder / name for name in ("structures", "entries", "prepared"))
    for path in (structures, entries, prepared):
        path.mkdir()
    good = (HOSTILE / "slow_skew.vasp").read_text()
    (structures / "good.vasp").write_text(good)
    (structures / "bad.vasp").write_text((HOSTILE / "sigfpe_1e8.vasp").read_text())
    cell = "".join(f"_cell_length_{axis} {length}\n" for axis, length in (("a", "1e8"), ("b", 4), ("c", 4)))
    angles = "".join(f"_cell_angle_{angle} 90\n" for angle in ("alpha", "beta", "gamma"))
    site = "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nAg 0 0 0\n"
    (structures / "bad.cif").write_text(f"data_x\n{cell}{angles}_symmetry_space_group_name_H-M 'P 1'\n{site}")
    (structures / "bad.json").write_text(json.dumps(hostile_entry("x")["structure"]))
    (entries / "good.json").write_text(json.dumps(entry("good")))
    (entries / "bad.json").write_text(json.dumps(hostile_entry("bad")))
    for name in ("train", "val", "test"):
        with h5py.File(prepared / f"{name}.h5", "w") as file:
            for material_id, length in (("good", 3.0), ("bad", 1e8)):
                group = file.create_group(f"{material_id}-{name}")
                group["mat_id"] = f"{material_id}-{name}".encode()
                group["lattice"] = np.diag([length, 3, 3]).astype(np.float32)
                group["atomic_number"] = np.array([29], dtype=np.uint16)
                group["position"] = np.zeros((1, 3), dtype=np.float32)
                group["drude"] = np.float32(3)
                group["eps"] = np.ones(2001, dtype=np.complex64)
    return [StructureFiles([str(structures)]), EntryJson(str(entries)), PreparedHDF5(str(prepared))]


def test_every_source_rejects_a_cell_that_is_too_long(tmp_path: Path) -> None:
    for source in sources(tmp_path):
        ids = [record.material_id for record in source.records("skip")]
        assert ids and all(material_id.startswith("good") for material_id in ids)
        assert source.rejects and all("1e+08 Å" in str(reject) for reject in source.rejects)
        with pytest.raises(RecordError, match="vector"):
            list(source.records("raise"))


def test_a_store_is_built_without_what_cannot_be_searched(tmp_path: Path) -> None:
    hdf5 = sources(tmp_path)[-1]
    rejects = build_store(hdf5, tmp_path / "store", BuildOptions(on_error="skip"), "test")
    store, _ = open_store(tmp_path / "store")
    assert sorted(store.material_ids) == ["good-test", "good-train", "good-val"] and len(rejects) == 3


def test_a_skew_file_is_the_crystal_that_it_describes() -> None:
    record = read_structure(HOSTILE / "slow_skew.vasp")
    index, vectors = neighbour_edges(record, CUTOFF)
    assert index.shape[1] == 6
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 4, atol=1e-6)


@pytest.mark.parametrize("cutoff", [1e3, 1e300, float("inf"), float("nan"), 0.0])
def test_cutoffs_that_no_graph_can_have_are_refused(cutoff: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cutoff"):
        many_neighbour_edges(sample_crystals(), cutoff)
    with pytest.raises(InputError, match="cutoff"):
        CrystalDataModule(cutoff=cutoff)
    with pytest.raises(InputError, match="cutoff"):
        build_store(SyntheticMetals(4), tmp_path / "store", BuildOptions(cutoff=cutoff), "test")


def test_symmetries_of_huge_cells_are_not_searched() -> None:
    sides = np.stack(np.meshgrid(*[np.arange(13.0)] * 3), axis=-1).reshape(-1, 3)
    record = CrystalRecord("huge", 13 * 2.5 * np.eye(3), np.full(len(sides), 29), 2.5 * sides)
    with pytest.raises(RecordError, match="primitive cell"):
        allowed_tensors(record)
