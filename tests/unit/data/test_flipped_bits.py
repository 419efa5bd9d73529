"""One bit turned in a file that is read: it is noticed before anything is learnt from it, or nothing has changed."""

from __future__ import annotations

import json
import logging
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

import dielectric_gnn
from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.npz_files import read_npz
from dielectric_gnn.data.splits import composition_split
from dielectric_gnn.data.store.check import verify_store
from dielectric_gnn.data.store.files import map_array, open_store
from dielectric_gnn.data.store.means import training_statistics
from dielectric_gnn.data.store.metadata import read_metadata
from dielectric_gnn.data.store.resident import ResidentStore
from dielectric_gnn.data.store.row_checksums import LARGE_ARRAYS, MaterialBytes
from dielectric_gnn.data.store.upgrade import upgrade_store
from dielectric_gnn.data.store.writer import write_store
from dielectric_gnn.utils.errors import InputError, RecordError

NUM_FLIPS = 300


@pytest.fixture(scope="module")
def folder(metals: list[CrystalRecord], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with everything that a store may have."""
    path = tmp_path_factory.mktemp("stores") / "store"
    write_store(path, iter(metals[::9]), 4.0, composition_split, tensors=True, symmetry="orbit")
    return path


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "store")
    return tmp_path / "store"


def flip(path: Path, place: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def read_all(folder: Path) -> None:
    """What a training does with a store."""
    store, split = open_store(folder)
    training_statistics(store, split["train"])
    for row in range(len(store)):
        store.gather([row])


def make_old(folder: Path) -> None:
    """What an earlier version would have written."""
    (folder / "row_checksums.npy").unlink()
    plain = json.loads((folder / "metadata.json").read_text())
    del plain["checksum"], plain["checksums"]["row_checksums"]
    plain["checksum"] = f"{zlib.crc32(json.dumps(plain, sort_keys=True).encode()):08x}"
    (folder / "metadata.json").write_text(json.dumps(plain, indent=1) + "\n")


def test_every_flipped_bit_of_a_store_stops_what_would_learn_from_it(copy: Path) -> None:
    """At random places of all its bytes, and in every file; by the checks of a training alone, and by `verify`."""
    read_all(copy)
    rng = np.random.default_rng(5)
    files = sorted(copy.iterdir())
    sizes = np.array([path.stat().st_size for path in files])
    some = [(path, int(rng.integers(size))) for path, size in zip(files, sizes, strict=True)]
    ends = np.cumsum(sizes)
    for place in rng.integers(ends[-1], size=NUM_FLIPS - len(some)).tolist():
        which = int(np.searchsorted(ends, place, side="right"))
        some.append((files[which], place - int(ends[which] - sizes[which])))
    assert len(some) == NUM_FLIPS
    for number, (path, place) in enumerate(some):
        bit = int(rng.integers(8))
        flip(path, place, bit)
        with pytest.raises(InputError, match=r"damaged|expected|schema") as caught:
            read_all(copy)
        assert "\n" not in str(caught.value) and str(copy) in str(caught.value), (path, place, bit)
        if number % 10 == 0:
            with pytest.raises(InputError):
                verify_store(copy)
        flip(path, place, bit)
    read_all(copy)


def test_the_damaged_material_is_named_and_others_are_read(copy: Path) -> None:
    store, _ = open_store(copy)
    flip(copy / "eps_inter.npy", 128 + 3 * 2001 * 2 * 4 + 17, 3)
    store, _ = open_store(copy)
    store.gather([0, 1, 2, 4])
    for use in (
        lambda: store.gather([2, 3]),
        lambda: store.elements([3]),
        lambda: store.remarks(3),
        lambda: store.fingerprint(3),
        lambda: training_statistics(store, np.array([3])),
        lambda: ResidentStore(store, torch.device("cpu")),
    ):
        with pytest.raises(InputError, match=rf"damaged: material {store.material_ids[3]!r} \(number 3\)"):
            use()
    with pytest.raises(InputError, match=r"damaged: eps_inter\.npy"):
        verify_store(copy)


def test_training_on_a_damaged_store_ends_before_it_begins(copy: Path) -> None:
    data = CrystalDataModule(store=str(copy), cutoff=4.0, tensors=True)
    data.setup("fit")
    flip(copy / "edge_vectors.npy", 128 + 12 * int(data.store.edge_offsets[data.indices["train"][-1]]), 30 % 8)
    with pytest.raises(InputError, match="damaged: material"):
        data.training_statistics()


def test_checksums_are_those_of_the_bytes_on_disk(folder: Path) -> None:
    """Computed here from the documented layout: CRC-32 over the rows of a material, array after array."""
    sums = np.load(folder / "row_checksums.npy")
    arrays = {name: np.load(folder / f"{name}.npy") for name in LARGE_ARRAYS}
    atoms, edges = np.load(folder / "atom_offsets.npy"), np.load(folder / "edge_offsets.npy")
    orbits = np.load(folder / "orbit_offsets.npy")
    for row in range(len(sums)):
        content = b""
        for name in ("atomic_numbers", "edge_index", "edge_vectors", "eps_inter", "eps_deviator"):
            bounds = {"atomic_numbers": atoms, "edge_index": edges, "edge_vectors": edges}.get(name)
            start, stop = (row, row + 1) if bounds is None else bounds[row : row + 2]
            content += arrays[name][start:stop].tobytes()
        for part, names in enumerate(
            (
                ("atomic_numbers", "atom_counts"),
                ("edge_index", "edge_counts", "lengths", "reverse"),
                ("pairs", "pair_counts", "cosines"),
            )
        ):
            start, stop = orbits[part, row : row + 2]
            content += b"".join(arrays[f"orbit_{name}"][start:stop].tobytes() for name in names)
        assert zlib.crc32(content) == sums[row]


def test_a_store_of_an_earlier_version_is_read_with_a_remark_and_upgraded(
    folder: Path, copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_old(copy)
    with caplog.at_level(logging.WARNING):
        store, _ = open_store(copy)
    assert "no checksums of its materials" in caplog.text and "upgrade" in caplog.text and str(copy) in caplog.text
    assert torch.equal(store.gather([3]).eps_inter, open_store(folder)[0].gather([3]).eps_inter)  # type: ignore[arg-type]
    assert any("added the checksums of 12 materials" in line for line in upgrade_store(copy))
    assert {path.name: path.read_bytes() for path in copy.iterdir()}.keys() == {path.name for path in folder.iterdir()}
    assert (copy / "row_checksums.npy").read_bytes() == (folder / "row_checksums.npy").read_bytes()
    assert read_metadata(copy).checksums == read_metadata(folder).checksums
    caplog.clear()
    open_store(copy)
    assert not caplog.records
    assert any("nothing to add" in line for line in upgrade_store(copy))
    flip(copy / "eps_inter.npy", 9000, 1)
    with pytest.raises(InputError, match="damaged"):
        read_all(copy)


def test_a_damaged_store_of_an_earlier_version_is_not_upgraded(copy: Path) -> None:
    make_old(copy)
    flip(copy / "eps_inter.npy", 9000, 1)
    with pytest.raises(InputError, match=r"damaged: eps_inter\.npy"):
        upgrade_store(copy)
    assert not (copy / "row_checksums.npy").exists()


def test_materials_are_compared_once(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    real = MaterialBytes.checksums

    def record_rows(content: MaterialBytes, rows: np.ndarray) -> np.ndarray:
        compared.extend(rows.tolist())
        return real(content, rows)

    monkeypatch.setattr(MaterialBytes, "checksums", record_rows)
    store, _ = open_store(copy)
    for chosen in ([1, 2], [2, 3], [3, 1]):
        store.gather(chosen)
    assert compared == [1, 2, 3]


PART = Path(dielectric_gnn.__file__).parent / "data/example/metals_0.npz"


def test_flipped_bits_of_npz_files(tmp_path: Path) -> None:
    path = tmp_path / PART.name
    sound = read_npz(PART)
    rng = np.random.default_rng(0)
    size = PART.stat().st_size
    noticed = 0
    for place in rng.integers(size, size=NUM_FLIPS).tolist():
        shutil.copyfile(PART, path)
        flip(path, place, int(rng.integers(8)))
        try:
            found = read_npz(path)
        except RecordError as error:
            noticed += 1
            assert "\n" not in str(error)
            continue
        # Dates and attributes in the headers of the archive are not part of any array.
        assert found.keys() == sound.keys()
        for name, array in sound.items():
            np.testing.assert_array_equal(found[name], array)
    assert noticed > 0.8 * NUM_FLIPS


def test_header_of_an_array_is_what_numpy_writes(tmp_path: Path, rng: np.random.Generator) -> None:
    for array in (np.zeros((0, 3)), np.array(["a", "bcd"]), np.arange(5, dtype=np.uint16), np.array([True])):
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(map_array(tmp_path / "a.npy"), array)
        content = (tmp_path / "a.npy").read_bytes()
        for place in range(128):
            flip(tmp_path / "a.npy", place, int(rng.integers(8)))
            try:
                found = map_array(tmp_path / "a.npy")
            except InputError as error:
                assert "damaged" in str(error)
            else:  # which opening a store compares with the metadata
                assert found.dtype != array.dtype or found.shape != array.shape
            (tmp_path / "a.npy").write_bytes(content)
