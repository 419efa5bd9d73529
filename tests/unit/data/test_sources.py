"""The published JSON format, written here by independent code, and structure files."""

import bz2
import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dielectric_gnn.data.sources import EntryJson, ExampleMetals, StructureFiles
from dielectric_gnn.utils.errors import InputError, RecordError


def entry(material_id: str = "agm1", monty: bool = True) -> dict[str, Any]:
    """A ComputedStructureEntry as the published files have it, CsCl structure."""
    energies = np.linspace(0, 20, 2001) - 1e-6  # the published column is rounded down
    spectra = np.stack([energies, *(axis / (1 + energies**2) for axis in (1.0, 2.0, 3.0))], axis=1)

    def array(values: np.ndarray) -> Any:
        if not monty:
            return values.tolist()
        return {"@module": "numpy", "@class": "array", "dtype": "float64", "data": values.tolist()}

    return {
        "@module": "pymatgen.entries.computed_entries",
        "@class": "ComputedStructureEntry",
        "energy": -1.0,
        "composition": {"Cu": 1.0, "Zn": 1.0},
        "parameters": {"code": "test", "broadening_ev": 0.1},
        "data": {
            "mat_id": material_id,
            "formula": "CuZn",
            "e_above_hull": None,
            "drude_freq": array(np.array([3.0, 4.0, 5.0])),
            "eps_inter_re": array(spectra),
            "eps_inter_im": array(spectra),
        },
        "structure": {
            "lattice": {"matrix": [[3.0, 0, 0], [0, 3.0, 0], [0, 0, 3.1]]},
            "sites": [
                {"species": [{"element": "Cu", "occu": 1}], "abc": [0.0, 0.0, 0.0]},
                {"species": [{"element": "Zn", "occu": 1}], "abc": [0.5, 0.5, 0.5]},
            ],
        },
    }


def save(path: Path, content: dict[str, Any]) -> Path:
    text = json.dumps(content).encode()
    packers: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress}
    path.write_bytes(packers.get(path.suffix, bytes)(text))
    return path


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".json.bz2"])
@pytest.mark.parametrize("monty", [True, False], ids=["monty", "plain"])
def test_entry_reads_back(tmp_path: Path, suffix: str, monty: bool) -> None:
    path = save(tmp_path / f"m{suffix}", entry(monty=monty))
    (record,) = EntryJson(str(path)).records()
    assert record.material_id == "agm1"
    assert record.atomic_numbers.tolist() == [29, 30]
    np.testing.assert_allclose(record.positions[1], [1.5, 1.5, 1.55])
    assert record.labels is not None and record.labels.broadening == 0.1
    energies = np.linspace(0, 20, 2001) - 1e-6
    np.testing.assert_allclose(record.labels.eps_inter[2], (1 + 1j) * 3 / (1 + energies**2))
    np.testing.assert_array_equal(record.labels.drude, [3, 4, 5])
    assert record.metadata["e_above_hull"] is None and record.metadata["parameters"]["code"] == "test"


def test_broadening_can_be_stated_by_the_user(tmp_path: Path) -> None:
    path = save(tmp_path / "m.json", entry())
    (record,) = EntryJson(str(path), broadening_ev=0.25).records()
    assert record.labels is not None and record.labels.broadening == 0.25


def drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def put(value: Any, *keys: str | int) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def stretch(content: dict[str, Any]) -> None:
    for row in content["data"]["eps_inter_re"]["data"]:
        row[0] *= 1.5


BAD = {
    "no data": (drop("data"), "field 'data' is missing"),
    "no spectrum": (drop("data", "eps_inter_im"), "field 'eps_inter_im' is missing"),
    "no id": (drop("data", "mat_id"), "field 'mat_id' is missing"),
    "no structure": (drop("structure"), "field 'structure' is missing"),
    "no sites": (drop("structure", "sites"), "not a pymatgen Structure"),
    "empty": (put([], "structure", "sites"), "no atoms"),
    "polonium": (put("Po", "structure", "sites", 0, "species", 0, "element"), "84 is outside 1 to 83"),
    "unknown": (put("Xx", "structure", "sites", 0, "species", 0, "element"), "'Xx'"),
    "overlap": (put([0.5, 0.5, 0.45], "structure", "sites", 0, "abc"), "0.155 Å apart"),
    "disorder": (put(0.5, "structure", "sites", 0, "species", 0, "occu"), "site 0 is disordered"),
    "grid": (stretch, "2001 energies from -1.5e-06 to 30 eV, expected 2001 points on 0 to 20 eV"),
    "nan": (put(float("nan"), "data", "eps_inter_re", "data", 3, 1), "NaN"),
    "gain": (put(-0.5, "data", "eps_inter_im", "data", 3, 2), "Im eps falls to -0.5"),
    "text": (put("broken", "data", "drude_freq", "data"), "not a ComputedStructureEntry"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_entries_raise_one_line_that_names_the_file(tmp_path: Path, case: str) -> None:
    change, message = BAD[case]
    content = entry()
    change(content)
    path = save(tmp_path / "bad.json", content)
    with pytest.raises(RecordError) as caught:
        list(EntryJson(str(path)).records())
    assert message in str(caught.value)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".json", ".json.gz", ".json.bz2"])
def test_truncated_file_is_named(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"m{suffix}", entry())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RecordError, match="truncated"):
        list(EntryJson(str(path)).records())


def test_folder_skips_and_lists_what_it_cannot_use(tmp_path: Path) -> None:
    save(tmp_path / "a.json", entry("a"))
    (tmp_path / "sub").mkdir()
    save(tmp_path / "sub" / "b.json.bz2", entry("b"))
    save(tmp_path / "c.json.gz", entry("a"))  # the same id again
    (tmp_path / "d.json").write_text("{")
    source = EntryJson(str(tmp_path))
    with pytest.raises(RecordError):
        list(source.records())
    assert [record.material_id for record in source.records("skip")] == ["a", "b"]
    source.report_rejects(tmp_path / "rejects.csv")
    with (tmp_path / "rejects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["source"]).name for row in rows] == ["c.json.gz", "d.json"]
    assert "read from" in rows[0]["problem"] and "truncated" in rows[1]["problem"]


def test_absent_path_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        list(EntryJson(str(tmp_path / "nowhere")).records())
    with pytest.raises(InputError, match=r"holds no \.json"):
        list(EntryJson(str(tmp_path)).records())


def test_pymatgen_reads_the_same_structure(tmp_path: Path) -> None:
    """CIF and POSCAR written by pymatgen, and the JSON entry, give one crystal."""
    from pymatgen.core import Lattice, Structure

    structure = Structure(Lattice.tetragonal(3.0, 3.1), ["Cu", "Zn"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    structure.to(filename=str(tmp_path / "brass.cif"))
    structure.to(filename=str(tmp_path / "POSCAR"))
    structure.to(filename=str(tmp_path / "brass2.json"))
    save(tmp_path / "brass3.json.bz2", entry())
    records = list(StructureFiles([str(tmp_path)]).records())
    assert {r.material_id for r in records} == {"brass", "brass2", "brass3", f"{tmp_path.name}-POSCAR"}
    for record in records:
        assert sorted(record.atomic_numbers.tolist()) == [29, 30]
        np.testing.assert_allclose(record.lattice, [[3, 0, 0], [0, 3, 0], [0, 0, 3.1]], atol=1e-6)


def test_unreadable_structure_files(tmp_path: Path) -> None:
    (tmp_path / "x.cif").write_text("data_nothing\n")
    (tmp_path / "y.cif").write_text("")
    for name in ("x.cif", "y.cif"):
        with pytest.raises(RecordError, match=r"no data block has atom sites|is empty"):
            list(StructureFiles([str(tmp_path / name)]).records())
    with pytest.raises(InputError, match="no such file"):
        list(StructureFiles([str(tmp_path / "z.cif")]).records())


def test_reading_json_imports_nothing_that_the_file_names(tmp_path: Path) -> None:
    content = entry()
    content["@module"], content["@class"] = "antigravity", "Fly"
    content["structure"]["@module"] = "antigravity"
    path = save(tmp_path / "m.json", content)
    list(EntryJson(str(path)).records())
    list(StructureFiles([str(path)]).records())
    import sys

    assert "antigravity" not in sys.modules


def test_embedded_metals_are_the_shared_files(metals: list[Any]) -> None:
    """102 metals with Γ = 0.3 eV; every material is in one split and no formula in two."""
    assert len(metals) == 102
    assert {record.labels.broadening for record in metals} == {0.3}
    split = ExampleMetals(parts=1).split()
    ids = [material_id for part in split.values() for material_id in part]
    assert sorted(ids) == sorted(record.material_id for record in metals)
    formulas = {record.material_id: record.formula for record in metals}
    sides = [{formulas[m] for m in part} for part in split.values()]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    elements = {r.material_id: set(r.atomic_numbers.tolist()) for r in metals}
    seen = set().union(*(elements[m] for m in split["train"]))
    assert all(elements[m] <= seen for m in ids)


def test_embedded_values_equal_the_table_of_their_readme(metals: list[Any]) -> None:
    """Spot values, typed from the list that came with the files and from one file."""
    by_id = {record.material_id: record for record in metals}
    np.testing.assert_allclose(by_id["gpaw-l10-Ca-Ru"].labels.drude, [4.979539, 4.979539, 2.216966], rtol=1e-6)
    first = by_id["gpaw-l10-Ca-Ru"].labels.eps_inter[:, 1]
    np.testing.assert_allclose(first, [73.5144 + 2.5716j, 73.5144 + 2.5716j, 58.6558 + 1.1385j], rtol=5e-4)
    assert by_id["gpaw-l12-Pb-Ru"].formula == "Ru3Pb" and by_id["gpaw-b2-K-Au"].labels.drude[0] == pytest.approx(
        0.14, abs=5e-3
    )
