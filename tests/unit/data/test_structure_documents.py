"""Structures of databases and of ASE: their documents, frames and rows, and one line for each that cannot be used."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import StructureFiles
from dielectric_gnn.utils.errors import RecordError
from tests.commands import Command

FIXTURES = Path(__file__).parents[2] / "data" / "other_structures"
SILICON = Structure(Lattice.cubic(5.43).scale(5.43**3 / 4), ["Si", "Si"], [[0, 0, 0], [0.25, 0.25, 0.25]])
OPTIMADE: dict[str, Any] = {
    "id": "mp-30",
    "type": "structures",
    "attributes": {
        "lattice_vectors": [[0.0, 1.8075, 1.8075], [1.8075, 0.0, 1.8075], [1.8075, 1.8075, 0.0]],
        "cartesian_site_positions": [[0.0, 0.0, 0.0]],
        "species_at_sites": ["Cu1"],
        "species": [{"name": "Cu1", "chemical_symbols": ["Cu"], "concentration": [1.0]}],
        "dimension_types": [1, 1, 1],
        "nsites": 1,
    },
}
NOMAD_STRUCTURE = {
    "lattice_vectors": [[4.05e-10, 0, 0], [0, 4.05e-10, 0], [0, 0, 4.05e-10]],
    "cartesian_site_positions": [[0, 0, 0]],
    "species_at_sites": ["Al"],
    "species": [{"name": "Al", "chemical_symbols": ["Al"], "concentration": [1.0]}],
}


def read(folder: Path, content: Any, name: str = "a.json") -> list[CrystalRecord | RecordError]:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    source = StructureFiles([str(path)])
    found: list[CrystalRecord | RecordError] = list(source.records("skip"))
    return [*found, *source.rejects]


def changed(**attributes: Any) -> dict[str, Any]:
    return {**OPTIMADE, "attributes": {**OPTIMADE["attributes"], **attributes}}


def test_documents_of_the_materials_project(tmp_path: Path) -> None:
    documents = [
        {"material_id": name, "formula_pretty": "Si", "structure": SILICON.as_dict()} for name in ("mp-149", "mp-165")
    ]
    for content in (documents, {"data": documents, "meta": {}}):
        first, second = read(tmp_path, content)
        assert isinstance(first, CrystalRecord) and isinstance(second, CrystalRecord)
        assert (first.material_id, second.material_id) == ("a-mp-149", "a-mp-165")
        np.testing.assert_allclose(first.lattice, SILICON.lattice.matrix)
        np.testing.assert_allclose(first.positions, SILICON.cart_coords)
    (alone,) = read(tmp_path, documents[:1])
    assert isinstance(alone, CrystalRecord) and alone.material_id == "a"


def test_responses_of_optimade_servers(tmp_path: Path) -> None:
    (copper,) = read(tmp_path, {"data": [OPTIMADE], "meta": {"api_version": "1.2.0"}, "links": {"next": None}})
    assert isinstance(copper, CrystalRecord) and copper.formula == "Cu"
    assert abs(np.linalg.det(copper.lattice)) == pytest.approx(3.615**3 / 4)
    (single,) = read(tmp_path, {"data": changed(species=None, species_at_sites=["Cu"])})
    assert isinstance(single, CrystalRecord) and single.formula == "Cu"


@pytest.mark.parametrize(
    "archive",
    [
        {"archive": {"results": {"properties": {"structures": {"structure_original": NOMAD_STRUCTURE}}}}},
        {"run": [{"system": [{}, {"atoms": {**NOMAD_STRUCTURE, "positions": [[0, 0, 0]], "labels": ["Al"]}}]}]},
    ],
    ids=["results", "run"],
)
def test_archives_of_nomad_are_in_metres(archive: dict[str, Any], tmp_path: Path) -> None:
    (aluminium,) = read(tmp_path, archive)
    assert isinstance(aluminium, CrystalRecord) and aluminium.formula == "Al"
    np.testing.assert_allclose(aluminium.lattice, 4.05 * np.eye(3))


BAD = {
    "disordered": (
        changed(species=[{"name": "Cu1", "chemical_symbols": ["Cu", "Au"], "concentration": [0.5, 0.5]}]),
        "site 0 is disordered",
    ),
    "vacancy": (
        changed(species=[{"name": "Cu1", "chemical_symbols": ["vacancy"], "concentration": [1.0]}]),
        "'vacancy', which is not an element",
    ),
    "attached": (
        changed(species=[{"name": "Cu1", "chemical_symbols": ["Cu"], "concentration": [1.0], "attached": ["H"]}]),
        "attached atoms",
    ),
    "slab": (changed(dimension_types=[1, 1, 0]), "dimension_types"),
    "lattice": (changed(lattice_vectors=None), "lattice of shape"),
    "positions": (changed(cartesian_site_positions=[[0, 0, 0], [1, 1, 1]]), "1 elements, but 2 positions"),
    "number": (7, "expected a JSON object"),
    "deuterium": (changed(species=None, species_at_sites=["Xx"]), "not an element"),
}


@pytest.mark.parametrize("name", BAD)
def test_one_bad_document_is_one_reject(name: str, tmp_path: Path) -> None:
    document, part = BAD[name]
    found = read(tmp_path, {"data": [OPTIMADE, document]})
    assert len(found) == 2
    good, bad = found
    assert isinstance(good, CrystalRecord) and isinstance(bad, RecordError)
    assert part in str(bad) and "a.json" in str(bad) and "\n" not in str(bad)


def test_lists_without_structures_are_one_line(tmp_path: Path) -> None:
    (empty,) = read(tmp_path, {"data": []})
    assert isinstance(empty, RecordError) and "holds no structures" in str(empty)


def test_frames_of_extended_xyz_as_ase_writes_them(tmp_path: Path) -> None:
    found = list(StructureFiles([str(FIXTURES / "frames.extxyz")]).records())
    assert [(one.material_id, one.formula) for one in found] == [
        ("frames-1", "Cu"), ("frames-2", "Mg"), ("frames-3", "Fe"),
    ]  # fmt: skip
    np.testing.assert_allclose(found[1].lattice[1], [-1.605, 2.7799415, 0], atol=1e-6)
    np.testing.assert_allclose(found[1].positions[1], [0, 1.853294, 2.60652], atol=1e-5)
    text = (FIXTURES / "frames.extxyz").read_text()
    for damaged, part in (
        (text[:-75], "truncated"),
        (text.replace('pbc="T T T"', 'pbc="T T F"', 1), "pbc is T T F"),
        (text.replace("Lattice=", "Latice=", 1), "so it is a molecule"),
        (text.replace("Mg  ", "Qq  ", 1), "not an element"),
        ("three\n" + text, "the number of atoms"),
        (text.replace("1.805 1.805", "1.805", 1), "malformed"),
    ):
        rejects = [one for one in read(tmp_path, damaged, "b.extxyz") if isinstance(one, RecordError)]
        assert len(rejects) == 1 and part in str(rejects[0]), rejects


def test_rows_of_an_ase_database(tmp_path: Path) -> None:
    path = tmp_path / "three.db"
    path.write_bytes(gzip.decompress((FIXTURES / "three.db.gz").read_bytes()))
    source = StructureFiles([str(path)])
    found = list(source.records("skip"))
    assert [(one.material_id, one.formula) for one in found] == [("three-1", "Ag"), ("three-2", "NaCl")]
    np.testing.assert_allclose(found[0].lattice, [[0, 2.045, 2.045], [2.045, 0, 2.045], [2.045, 2.045, 0]])
    assert len(source.rejects) == 1 and "row 3" in str(source.rejects[0]) and "pbc" in str(source.rejects[0])


def test_other_databases_and_damage_are_one_line(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE VIEW systems AS SELECT 1 AS id")
    (tmp_path / "text.db").write_text("no database")
    raw = bytearray(gzip.decompress((FIXTURES / "three.db.gz").read_bytes()))
    raw[5000:60000] = bytes(55000)
    (tmp_path / "damaged.db").write_bytes(raw)
    for name, part in (("other", "no ASE database"), ("text", "not a readable"), ("damaged", "")):
        source = StructureFiles([str(tmp_path / f"{name}.db")])
        assert not list(source.records("skip")) and source.rejects
        assert all(part in str(error) and f"{name}.db" in str(error) for error in source.rejects)


def test_predict_reads_a_response_and_lists_what_it_rejects(command: Command, trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "response.json"
    path.write_text(json.dumps({"data": [OPTIMADE, changed(dimension_types=[1, 1, 0]) | {"id": "slab"}]}))
    best = str(trained / "checkpoints" / "best.ckpt")
    words = ["predict", "--ckpt_path", best, "--crystals", str(path), str(FIXTURES / "frames.extxyz")]
    command(*words, "--data.on_error", "skip", "--run_dir", str(tmp_path / "run"))
    folder = tmp_path / "run" / "predictions"
    names = [line.split(",")[0] for line in (folder / "summary.csv").read_text().splitlines()[1:]]
    assert names == ["frames-1", "frames-2", "frames-3", "response-mp-30"]
    assert "slab" in (tmp_path / "run" / "rejects_predict.csv").read_text()
