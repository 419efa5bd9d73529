"""Small files that stand for much memory: refused before it is used. Peaks are measured, with limits set low."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from dielectric_gnn.data.sources import EntryJson, PreparedHDF5, archives
from dielectric_gnn.data.sources.hdf5_datasets import read_datasets
from dielectric_gnn.data.sources.npz_files import read_npz
from dielectric_gnn.data.sources.parallel import chunks
from dielectric_gnn.data.sources.structure_files import read_structure, read_structures
from dielectric_gnn.data.sources.text_files import check_size, read_text
from dielectric_gnn.data.store.metadata import read_metadata
from dielectric_gnn.training.run_record import read_record
from dielectric_gnn.utils.errors import InputError, RecordError
from dielectric_gnn.utils.limits import TooLargeError, read_bounded
from dielectric_gnn.utils.sealed_lines import parse_sealed_line
from dielectric_gnn.utils.yaml_files import read_yaml
from tests.unit.data.test_prepared_hdf5 import material, write
from tests.unit.data.test_sources import entry

MB = 1_000_000
SPACES = b" " * (40 * MB)
BOMBS = {".json.gz": gzip.compress(SPACES), ".json.bz2": bz2.compress(SPACES), ".json.xz": lzma.compress(SPACES)}


def peak(function: Callable[[], Any]) -> float:
    """Most memory (MB) that was taken beside what was taken before."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1] / MB
    finally:
        tracemalloc.stop()


def good(name: str) -> bytes:
    return json.dumps(entry(name)).encode()


def test_no_more_is_read_than_the_limit() -> None:
    class Endless:
        taken = 0

        def read(self, size: int) -> bytes:
            self.taken += size
            return bytes(size)

    source = Endless()
    with pytest.raises(TooLargeError, match="more than 3 MB"):
        read_bounded(source, 3)
    assert source.taken < 5 * MB
    assert read_bounded(io.BytesIO(b"x" * 3 * MB), 3) == b"x" * 3 * MB


@pytest.mark.parametrize("suffix", BOMBS)
@pytest.mark.parametrize("form", ["folder", "zip", "tar"])
def test_compressed_documents(tmp_path: Path, suffix: str, form: str) -> None:
    """A bomb beside a good material, in a folder or nested in an archive, is one reject."""
    members = {f"a{suffix}": BOMBS[suffix], "b.json": good("agm-b")}
    path = tmp_path / "entries"
    if form == "zip":
        path = path.with_suffix(".zip")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    elif form == "tar":
        path = path.with_suffix(".tar.gz")
        with tarfile.open(path, "w:gz") as tar:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    else:
        path.mkdir()
        for name, content in members.items():
            (path / name).write_bytes(content)
    source = EntryJson(str(path), max_mb=2)
    found = []
    assert peak(lambda: found.extend(source.records("skip"))) < 20
    assert [record.material_id for record in found] == ["agm-b"]
    assert len(source.rejects) == 1 and "more than 2 MB" in source.rejects[0].problem
    assert "max_mb" in source.rejects[0].problem and "\n" not in str(source.rejects[0])
    with pytest.raises(RecordError, match="more than 2 MB"):
        list(EntryJson(str(path), max_mb=2).records())


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_large_members(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"entries{suffix}"
    members = {"a.json": SPACES, "b.json": good("agm-b"), "c.txt": SPACES}
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, f"w:{suffix[5:]}") as tar:  # type: ignore[call-overload]
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    source = EntryJson(str(path), max_mb=2)
    found = []
    assert peak(lambda: found.extend(source.records("skip"))) < 20
    assert [record.material_id for record in found] == ["agm-b"]
    assert [reject.source for reject in source.rejects] == [f"{path}:a.json"]


def test_headers_of_tar_archives(tmp_path: Path) -> None:
    """tarfile reads attributes and long names whole, whatever their length."""
    for kind, name in ((tarfile.PAX_FORMAT, "pax"), (tarfile.GNU_FORMAT, "gnu")):
        path = tmp_path / f"{name}.tar.gz"
        with tarfile.open(path, "w:gz", format=kind) as tar:
            info = tarfile.TarInfo("a" * 30 * MB + ".json" if kind == tarfile.GNU_FORMAT else "a.json")
            info.pax_headers = {"comment": "x" * 30 * MB}
            tar.addfile(info)
        with pytest.raises(InputError, match="headers of a member take more than 1 MB") as caught:
            assert peak(lambda: list(EntryJson(str(path)).records("skip"))) < 20  # noqa: B023
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("longer", [False, True])
def test_members_of_a_zip_archive_are_counted_before_they_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longer: bool
) -> None:
    path = tmp_path / "entries.zip"
    num = 70_000 if longer else 300  # beyond 65,535, sizes have 64 bits
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(num):
            archive.writestr(f"{number}.txt", b"")
        archive.comment = b"PK is no mark"
    monkeypatch.setattr(archives, "ARCHIVE_MEMBERS", num)

    def read() -> None:
        with pytest.raises(InputError, match="members, expected at most"):
            list(EntryJson(str(path)).records())

    assert peak(read) < 1
    monkeypatch.setattr(archives, "ARCHIVE_MEMBERS", 2 * num)
    with pytest.raises(InputError, match="holds no"):
        list(EntryJson(str(path)).records())


def test_few_large_members_wait_together() -> None:
    documents = [archives.JsonDocument(str(number), bytes(30 * MB)) for number in range(5)]
    assert [len(chunk) for chunk in chunks(documents, 64)] == [3, 2]
    assert [len(chunk) for chunk in chunks(range(10), 4)] == [4, 4, 2]


def test_time_grows_with_the_text_of_a_document(tmp_path: Path) -> None:
    """The search for encoded arrays took the square of the length of a text like this: hours for a megabyte."""
    path = tmp_path / "a.json"
    path.write_bytes(b'{"x": {' + b'"@module": "numpy", ' * 100_000)
    with pytest.raises(RecordError, match="not readable JSON"):
        list(EntryJson(str(path)).records())


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, f'{{"schema": {"9" * 5000}}}'])
def test_deep_nesting_and_long_numbers(tmp_path: Path, text: str) -> None:
    """What Python's parser of JSON gives up on, by other exceptions than that of broken JSON."""
    for name in ("run_record.json", "metadata.json", "plan.json"):
        (tmp_path / name).write_text(text)
    for read in (
        lambda: read_record(tmp_path / "run_record.json"),
        lambda: read_metadata(tmp_path),
        lambda: read_structure(tmp_path / "plan.json"),
        lambda: list(EntryJson(str(tmp_path / "plan.json")).records()),
    ):
        with pytest.raises(InputError) as caught:
            read()
        assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
    assert parse_sealed_line(text) is None


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_structure_files(tmp_path: Path, suffix: str) -> None:
    compressed = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix](SPACES)
    path = tmp_path / f"a.cif{suffix}"
    path.write_bytes(compressed)
    for read in (read_text, check_size):

        def bounded(read: Callable[..., Any] = read) -> None:
            with pytest.raises(RecordError, match="more than 2 MB of text"):
                read(path, 2)

        assert peak(bounded) < 20
    json_path = tmp_path / f"b.json{suffix}"
    json_path.write_bytes(BOMBS[f".json{suffix}"] * 2)
    found: list[Any] = []
    assert peak(lambda: found.extend(read_structures(json_path, "b"))) < 150
    assert isinstance(found[0], RecordError)


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)  # fmt: skip
YAML = {
    "aliases": (LAUGHS, "with its aliases it has"),
    "merges": (MERGES, "with its aliases it has"),
    "itself": ("a: &a [*a]", "contains itself"),
    "large": ("# \n" * 500_000, "more than 1 MB"),
    "deep": ("[" * 30_000, "nested more than 100 levels deep"),
    "date": ("a: 2020-13-45", "put it in quotes"),
    "number": (f"a: {'9' * 10_000}", "the number in line 1 has"),
    "base 60": ("a: 1" + ":1" * 400_000, "the number in line 1 has"),
    "float": ("a: !!float x", "put it in quotes"),
    "map as key": ("? {a: 1}\n: 2", "not YAML"),
    "tag": ("a: !!python/object/apply:os.system [ls]", "not YAML"),
}


@pytest.mark.parametrize("case", YAML)
def test_yaml(tmp_path: Path, case: str) -> None:
    text, message = YAML[case]
    path = tmp_path / "study.yaml"
    path.write_text(text)

    def read() -> None:
        with pytest.raises(InputError, match=message) as caught:
            read_yaml(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    assert peak(read) < 100


def test_aliases_that_people_write(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("base: &base {width: 64, seeds: [1, 2]}\nruns: [*base, *base]\nwide:\n  <<: *base\n  width: 128\n")
    base = {"width": 64, "seeds": [1, 2]}
    assert read_yaml(path) == {"base": base, "runs": [base, base], "wide": {**base, "width": 128}}
    path.write_text("")
    assert read_yaml(path) is None


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(HUGE), "the length of the data"),
        (npy(HUGE.replace("1000000000000,", "-2, -3"), bytes(48)), "damaged"),
        (npy(HUGE.replace("<f8", "|O").replace("1000000000000", "1"), bytes(8)), "contains objects"),
        (npy(HUGE.replace("'<f8'", "__import__('os')")), "damaged"),
        (npy("(" * 100), "damaged"),
        (bytes(200), "damaged"),
        (SPACES, "take more than 2 MB"),
    ],
)
def test_arrays_of_npz_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", content)

    def read() -> None:
        with pytest.raises(RecordError, match=message) as caught:
            read_npz(path, 2)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)

    assert peak(read) < 10


def test_arrays_are_those_that_numpy_wrote(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.array("text"), "c": np.zeros((0, 3)), "d": np.array([True])}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = read_npz(tmp_path / "a.npz")
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            assert found[name].dtype == array.dtype


def spoil_hdf5(case: str) -> Callable[[h5py.Group], None]:
    def change(group: h5py.Group) -> None:
        del group["eps"]
        if case == "declared":
            group.create_dataset("eps", shape=(10**11,), dtype=np.complex64, chunks=(1024,))
        elif case == "chunk":
            group.create_dataset("eps", shape=(2001,), maxshape=(None,), dtype=np.complex64, chunks=(2**28,))
        elif case == "bomb":
            data = group.create_dataset("eps", shape=(2001,), dtype=np.complex64, chunks=(2001,), compression="gzip")
            data.id.write_direct_chunk((0,), gzip_stream(bytes(200 * MB)))
        elif case == "link":
            group["eps"] = h5py.ExternalLink("elsewhere.h5", "/eps")
        elif case == "soft link":
            group["eps"] = h5py.SoftLink("/agm2/lattice")
        elif case == "elsewhere":
            group.create_dataset("eps", (2001,), np.complex64, external=[("elsewhere.bin", 0, 2001 * 8)])
        elif case == "virtual":
            layout = h5py.VirtualLayout((2001,), np.complex64)
            layout[:] = h5py.VirtualSource("elsewhere.h5", "eps", (2001,))
            group.create_virtual_dataset("eps", layout)
        elif case == "parts":
            parts = np.dtype([("r", np.float64), ("i", np.float32)])
            group.create_dataset("eps", data=np.zeros(2001, dtype=parts))
        elif case == "texts":
            group.create_dataset("eps", data=["long" * 1000] * 100, dtype=h5py.string_dtype())

    return change


def gzip_stream(content: bytes) -> bytes:
    import zlib

    return zlib.compress(content, 9)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("declared", "datasets take 8e\\+05 MB, expected at most 2 MB"),
        ("chunk", "eps may become 2147 MB"),
        ("bomb", "eps may become 2.*MB when decompressed"),
        ("link", "'eps' is a link to another place"),
        ("soft link", "'eps' is a link to another place"),
        ("elsewhere", "lie in other files"),
        ("virtual", "lie in other files"),
        ("parts", "expected numbers or text"),
        ("texts", "array of texts"),
    ],
)
def test_datasets_of_hdf5_files(tmp_path: Path, case: str, message: str) -> None:
    folder = write(tmp_path)
    with h5py.File(folder / "val.h5", "r+") as file:
        spoil_hdf5(case)(file["agm2"])
    source = PreparedHDF5(str(folder), max_mb=2)
    found: list[Any] = []
    assert peak(lambda: found.extend(source.records("skip"))) < 20
    assert [record.material_id for record in found] == ["agm1", "agm3", "agm4"]
    with pytest.raises(RecordError, match=message) as caught:
        raise source.rejects[0]
    assert "val.h5:agm2" in str(caught.value) and "\n" not in str(caught.value)


def test_compressed_and_checked_datasets_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    values = material("a")["eps"]
    with h5py.File(path, "w") as file:
        for name, options in (("gzip", {"compression": "gzip", "shuffle": True}), ("lzf", {"compression": "lzf"})):
            file.create_dataset(f"{name}/eps", data=values, fletcher32=True, **options)
    with h5py.File(path) as file:
        for name in ("gzip", "lzf"):
            np.testing.assert_array_equal(read_datasets(file, name, ["eps", "other"], 64)["eps"], values)
    content = path.read_bytes()
    with h5py.File(path) as file:
        place = file["gzip/eps"].id.get_chunk_info(0).byte_offset + 100
    for bit in range(8):
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        with h5py.File(path) as file, pytest.raises(OSError):
            read_datasets(file, "gzip", ["eps"], 64)
