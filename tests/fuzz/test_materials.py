"""Files of materials: entries as JSON, structures in all formats, archives; damaged at random."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dielectric_gnn.data.sources import EntryJson, PreparedHDF5, StructureFiles
from dielectric_gnn.data.sources.npz_files import read_npz
from dielectric_gnn.data.sources.shards import read_shard
from dielectric_gnn.data.sources.structure_files import read_structures
from dielectric_gnn.utils.errors import RecordError
from tests.fuzz.properties import (
    check_message,
    check_record,
    damaged_bytes,
    damaged_text,
    damaged_values,
    encoded,
    examples,
    plain,
    reads_or_refuses,
)
from tests.unit.data.test_flipped_bits import PART
from tests.unit.data.test_prepared_hdf5 import write as write_hdf5
from tests.unit.data.test_sources import entry

REPOSITORY = Path(__file__).parents[2]
ENTRY = entry(monty=False)
SMALL = {
    **ENTRY,
    "data": {**ENTRY["data"], "eps_inter_re": [[0.0, 1, 1, 1]] * 3, "eps_inter_im": [[0.0, 1, 1, 1]] * 3},
}
"""Too few energies, so that most of what is damaged elsewhere is found before; the whole one is slow to write."""

CIFS = sorted([*(REPOSITORY / "docs/crystals").glob("*.cif"), *(REPOSITORY / "tests/data/odd_inputs").rglob("*.cif")])
POSCAR = (
    "Ag Cu\n1.0\n4.0 0 0\n0 4.0 0\n0 0 4.2\nAg Cu\n1 1\nSelective dynamics\nDirect\n0 0 0 T T T\n0.5 0.5 0.5 T T F\n"
)
XSF = "CRYSTAL\nPRIMVEC\n4 0 0\n0 4 0\n0 0 4\nPRIMCOORD\n2 1\n47 0 0 0\n29 2 2 2\n"
CSSR = "4.0 4.0 4.2\n90.0 90.0 90.0 SPGR = 1 P 1 OPT = 1\n2 0\n0 Ag1 Cu1\n1 Ag 0.0 0.0 0.0\n2 Cu 0.5 0.5 0.5\n"
RES = (
    "TITL a 0 64 -1 0 0 2 (P1) n - 1\nCELL 1.0 4 4 4.2 90 90 90\nLATT -1\nSFAC Ag Cu\n"
    "Ag 1 0 0 0 1.0\nCu 2 0.5 0.5 0.5 1.0\nEND\n"
)
VASPRUN = (
    '<?xml version="1.0"?>\n<modeling>\n<generator><i name="version" type="string">6</i></generator>\n'
    '<structure name="finalpos"><crystal><varray name="basis"><v>4 0 0</v><v>0 4 0</v><v>0 0 4</v></varray></crystal>'
    '<varray name="positions"><v>0 0 0</v></varray></structure>\n</modeling>\n'
)


def read_all(path: Path) -> None:
    """What `predict` does with a file."""
    found = reads_or_refuses(lambda: list(read_structures(path, "name")))
    assert found is not None
    for outcome in found:
        if isinstance(outcome, RecordError):
            check_message(outcome)
        else:
            check_record(outcome)
    source = StructureFiles([str(path)])
    kept = reads_or_refuses(lambda: list(source.records("skip")))
    assert kept is not None and len(kept) + len(source.rejects) == len(found)


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@examples(150)
@given(value=damaged_values(ENTRY["structure"]) | plain)
def test_structures_as_json(tmp_path: Path, value: Any) -> None:
    read_all(write(tmp_path, "a.json", encoded(json.dumps(value))))


@examples(150)
@given(value=damaged_values(SMALL))
def test_entries(tmp_path: Path, value: Any) -> None:
    path = write(tmp_path, "a.json", encoded(json.dumps(value, ensure_ascii=False)))
    read_entries(path)


@examples(30)
@given(value=damaged_values(ENTRY))
def test_whole_entries(tmp_path: Path, value: Any) -> None:
    read_entries(write(tmp_path, "a.json", encoded(json.dumps(value))))


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)]
)
@examples(25)
@given(data=st.data())
def test_bytes_of_entries(tmp_path: Path, suffix: str, pack: Any, data: st.DataObject) -> None:
    content = data.draw(damaged_bytes(pack(json.dumps(SMALL).encode())))
    read_entries(write(tmp_path, f"a.json{suffix}", content))


def read_entries(path: Path) -> None:
    source = EntryJson(str(path))
    found = reads_or_refuses(lambda: list(source.records("skip")))
    for reject in source.rejects:
        check_message(reject)
    for record in found or ():
        check_record(record)
    strict = reads_or_refuses(lambda: list(EntryJson(str(path)).records()))
    assert (strict is None) == (found is None or bool(source.rejects))


@pytest.mark.parametrize("path", CIFS, ids=[path.name for path in CIFS])
@examples(15)
@given(data=st.data())
def test_cif(tmp_path: Path, path: Path, data: st.DataObject) -> None:
    text = path.read_bytes().decode("utf-16" if "utf16" in path.name else "utf-8", "replace")
    read_all(write(tmp_path, "a.cif", encoded(data.draw(damaged_text(text)))))


@examples(150)
@given(text=damaged_text(POSCAR))
def test_poscar(tmp_path: Path, text: str) -> None:
    read_all(write(tmp_path, "POSCAR", encoded(text)))


@pytest.mark.parametrize("name", ["a.xsf", "a.cssr", "a.res", "vasprun.xml"])
@examples(25)
@given(data=st.data())
def test_other_formats(tmp_path: Path, name: str, data: st.DataObject) -> None:
    text = {"a.xsf": XSF, "a.cssr": CSSR, "a.res": RES, "vasprun.xml": VASPRUN}[name]
    read_all(write(tmp_path, name, encoded(data.draw(damaged_text(text)))))


@pytest.mark.parametrize("name", ["a.cif", "POSCAR", "a.xsf", "a.cssr", "a.res", "vasprun.xml", "a.json", "a.cif.gz"])
@examples(15)
@given(content=st.binary(max_size=200))
def test_no_format_at_all(tmp_path: Path, name: str, content: bytes) -> None:
    read_all(write(tmp_path, name, content))


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.json", "b/c.json"):
            archive.writestr(name, json.dumps(SMALL))
    return file.getvalue()


def tarred(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name in ("a.json", "b" * 120 + ".json"):
            info = tarfile.TarInfo(name)
            content = json.dumps(SMALL).encode()
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


ARCHIVES = {".zip": zipped(), **{suffix: tarred(f"w:{suffix[5:]}") for suffix in (".tar", ".tar.gz", ".tar.bz2")}}


@pytest.mark.parametrize("suffix", ARCHIVES)
@examples(50)
@given(data=st.data())
def test_archives(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    path = write(tmp_path, f"a{suffix}", data.draw(damaged_bytes(ARCHIVES[suffix])))
    read_entries(path)
    reads_or_refuses(EntryJson(str(path)).size)


@examples(60)
@given(data=st.data())
def test_prepared_hdf5(tmp_path: Path, data: st.DataObject) -> None:
    if not (tmp_path / "good").exists():
        write_hdf5(tmp_path)
        (tmp_path / "val.h5").rename(tmp_path / "good")
    write(tmp_path, "val.h5", data.draw(damaged_bytes((tmp_path / "good").read_bytes())))
    source = PreparedHDF5(str(tmp_path))
    for record in reads_or_refuses(lambda: list(source.records("skip"))) or ():
        check_record(record)
    for reject in source.rejects:
        check_message(reject)


@examples(100)
@given(content=damaged_bytes(PART.read_bytes()))
def test_shards(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path, "a.npz", content)
    reads_or_refuses(lambda: read_npz(path))
    for record in reads_or_refuses(lambda: list(read_shard(path))) or ():
        check_record(record)
