"""Zip and tar archives of JSON entries, written with the standard library, and reading with several processes."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import EntryJson
from dielectric_gnn.data.sources.parallel import read_parallel
from dielectric_gnn.utils.errors import InputError, RecordError
from tests.unit.data.test_sources import entry

MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}
GOOD = {
    "b.json": json.dumps(entry("agm-b")).encode(),
    "deep/a.json.gz": gzip.compress(json.dumps(entry("agm-a")).encode()),
    "c.json.bz2": bz2.compress(json.dumps(entry("agm-c")).encode()),
}
NOISE = {"README.txt": b"not an entry", "__MACOSX/._b.json": b"\0\5\26\7"}


def pack(path: Path, members: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    suffix = next(suffix for suffix in MODES if path.name.endswith(suffix))
    with tarfile.open(path, MODES[suffix]) as archive:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("folder.json")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def same(one: CrystalRecord, other: CrystalRecord) -> bool:
    assert one.labels is not None and other.labels is not None
    return (
        one.material_id == other.material_id
        and one.source == other.source
        and one.metadata == other.metadata
        and np.array_equal(one.positions, other.positions)
        and np.array_equal(one.labels.eps_inter, other.labels.eps_inter)
    )


@pytest.mark.parametrize("suffix", [".zip", *MODES])
def test_archives_hold_what_a_folder_holds(tmp_path: Path, suffix: str) -> None:
    path = pack(tmp_path / f"entries{suffix}", GOOD | NOISE)
    before = sorted(tmp_path.rglob("*"))
    source = EntryJson(str(path))
    records = {record.source: record for record in source.records()}
    order = sorted(GOOD) if suffix == ".zip" else list(GOOD)
    assert list(records) == [f"{path}:{name}" for name in order]
    assert [record.material_id for record in records.values()] == [
        {"b.json": "agm-b", "deep/a.json.gz": "agm-a", "c.json.bz2": "agm-c"}[name] for name in order
    ]
    assert source.size() == (3 if suffix == ".zip" else None)
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_bad_members_are_named_and_skipped(tmp_path: Path, suffix: str) -> None:
    bad = {"d.json": b"{", "e.json.gz": GOOD["deep/a.json.gz"][:100], "new\nline.json": b"[]", "f.json": GOOD["b.json"]}
    path = pack(tmp_path / f"entries{suffix}", GOOD | bad)
    with pytest.raises(RecordError, match=rf"entries{suffix}:d\.json: not readable JSON"):
        list(EntryJson(str(path)).records())
    source = EntryJson(str(path))
    assert len(list(source.records("skip"))) == 3
    problems = {error.source.removeprefix(f"{path}:"): error.problem for error in source.rejects}
    assert set(problems) == {"d.json", "e.json.gz", "new line.json", "f.json"}
    assert f"was read from {path}:b.json already" in problems["f.json"]


def test_zip_member_with_a_wrong_checksum(tmp_path: Path) -> None:
    path = tmp_path / "stored.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in GOOD.items():
            archive.writestr(name, content)
    content = bytearray(path.read_bytes())
    content[content.index(b'"energy": -1.0') + 11] = ord("2")
    path.write_bytes(content)
    source = EntryJson(str(path))
    assert [record.material_id for record in source.records("skip")] == ["agm-c", "agm-a"]
    assert "cannot be read (Bad CRC-32" in source.rejects[0].problem


@pytest.mark.parametrize(("suffix", "workers"), [*((suffix, 1) for suffix in (".zip", *MODES)), (".tar", 2)])
def test_truncated_archive_stops_even_when_skipping(tmp_path: Path, suffix: str, workers: int) -> None:
    noise = {f"{n}.json": os.urandom(3000) for n in range(9)}
    path = pack(tmp_path / f"entries{suffix}", GOOD | noise)
    path.write_bytes(path.read_bytes()[:-12000])
    read = []
    with pytest.raises(InputError, match=r"not a readable (zip|tar) archive, truncated\?") as caught:
        read.extend(record for record in EntryJson(str(path), workers=workers).records("skip"))
    assert str(path) in str(caught.value)


def test_tar_that_ends_between_members_is_truncated_too(tmp_path: Path) -> None:
    path = pack(tmp_path / "entries.tar", GOOD)
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1].offset
    content = path.read_bytes()
    for damaged in (content[:last], content[:last] + b"x" * 512 + content[last + 512 :]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="the end mark is missing"):
            list(EntryJson(str(path)).records())


def test_links_are_refused_and_names_never_become_paths(tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_bytes(GOOD["b.json"])
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("link.json")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        archive.addfile(link)
        climbing = tarfile.TarInfo("../../climbing.json")
        climbing.size = len(GOOD["b.json"])
        archive.addfile(climbing, io.BytesIO(GOOD["b.json"]))
    source = EntryJson(str(path))
    assert [record.source for record in source.records("skip")] == [f"{path}:../../climbing.json"]
    assert [error.problem for error in source.rejects] == ["the member is a link or device, expected a file"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.tar", "secret.json"]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_archive_without_entries_and_no_archive(tmp_path: Path, suffix: str) -> None:
    path = pack(tmp_path / f"entries{suffix}", NOISE)
    with pytest.raises(InputError, match=r"the archive holds no \.json"):
        list(EntryJson(str(path)).records())
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="not a readable"):
        list(EntryJson(str(path)).records())


def test_several_processes_give_the_same_records_and_errors(tmp_path: Path) -> None:
    """More files than the chunks in flight, with bad ones and a repeated material among them."""
    for number in range(45):
        content = json.dumps(entry(f"agm{number if number != 31 else 3}", monty=False))
        (tmp_path / f"{number:02}.json").write_text("{" if number in (7, 20) else content)
    one, two = EntryJson(str(tmp_path)), EntryJson(str(tmp_path), workers=2)
    expected, found = list(one.records("skip")), list(two.records("skip"))
    assert len(expected) == 42 and all(map(same, expected, found))
    assert [str(error) for error in two.rejects] == [str(error) for error in one.rejects]
    assert [Path(error.source).name for error in two.rejects] == ["07.json", "20.json", "31.json"]
    threads = os.environ.get("OMP_NUM_THREADS")
    with pytest.raises(RecordError, match=r"07\.json"):
        list(two.records())
    assert os.environ.get("OMP_NUM_THREADS") == threads
    with pytest.raises(InputError, match="workers is 0"):
        EntryJson(str(tmp_path), workers=0)


def test_process_that_dies_is_reported() -> None:
    with pytest.raises(InputError, match=r"process died, .*out of memory"):
        list(read_parallel([3], os._exit, 1))
