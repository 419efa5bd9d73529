"""Stores on disk give the batches of stores in memory, and damage to them is reported."""

from __future__ import annotations

import inspect
import json
import shutil
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.frames import with_full_tensors
from dielectric_gnn.data.record import CrystalRecord, element_symbol
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.splits import SPLIT_NAMES, composition_split
from dielectric_gnn.data.store.appendable import AppendableArray, array_checksum, count_valid_states
from dielectric_gnn.data.store.check import verify_store
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.descriptions import THREE_BODY_CUTOFF
from dielectric_gnn.data.store.files import map_array, open_store
from dielectric_gnn.data.store.metadata import read_metadata
from dielectric_gnn.data.store.writer import MATERIALS_PER_CHUNK, write_store
from dielectric_gnn.models.backbones import OptiMetal3B
from dielectric_gnn.models.layers.triplets import Triplets
from dielectric_gnn.testing import crystal
from dielectric_gnn.training.evaluation import labels_of
from dielectric_gnn.utils.errors import InputError, RecordError

CUTOFF = 4.0


@pytest.fixture(scope="module")
def some(metals: list[CrystalRecord]) -> list[CrystalRecord]:
    """A dozen embedded metals."""
    return metals[::9]


@pytest.fixture(scope="module")
def folder(some: list[CrystalRecord], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "store"
    write_store(path, iter(some), CUTOFF, composition_split, source="some metals")
    return path


def test_batches_are_those_of_the_store_in_memory(some: list[CrystalRecord], folder: Path) -> None:
    memory = CrystalStore.from_records(some, CUTOFF)
    disk, _ = open_store(folder)
    assert isinstance(disk.edge_vectors.base, np.memmap)
    assert (list(disk.material_ids), list(disk.formulas)) == (memory.material_ids, memory.formulas)
    assert (disk.cutoff, disk.grid, disk.broadening) == (memory.cutoff, memory.grid, memory.broadening)
    for indices in ([0], [3, 1, 7], [], list(range(len(memory)))[::-1]):
        one, other = memory.gather(indices), disk.gather(indices)
        for item in fields(one):
            expected, found = getattr(one, item.name), getattr(other, item.name)
            if item.name in ("anisotropy", "orbits", "fidelities"):
                assert expected is None and found is None
                continue
            assert torch.equal(expected, found) and expected.dtype == found.dtype and found.is_contiguous(), item.name
    assert disk.elements([2, 5]) == memory.elements([2, 5])
    np.testing.assert_array_equal(disk.sizes, memory.sizes)
    assert disk.material_ids[3] == memory.material_ids[3] and disk.material_ids[1:4] == memory.material_ids[1:4]


def test_sizes_are_what_a_three_body_model_makes(some: list[CrystalRecord]) -> None:
    """The pairs of the published model; at 4 Å exactly, an edge counts."""
    ties = [crystal(str(a), np.diag([a, a, a]).tolist(), [13], [[0, 0, 0]]) for a in (4.0, np.nextafter(4, 5), 4.0001)]
    store = CrystalStore.from_records([*(replace(record, labels=None) for record in some), *ties], 5.5)
    default = inspect.signature(OptiMetal3B).parameters["three_body_cutoff"].default
    assert default == THREE_BODY_CUTOFF
    for row in range(len(store)):
        graph = store.gather([row])
        pairs = Triplets.from_graph(graph, THREE_BODY_CUTOFF).pairs.shape[1]
        assert store.sizes[row].tolist() == [graph.num_atoms, graph.edge_index.shape[1], pairs]
    assert store.sizes[-3:, 2].tolist() == [30, 30, 0]


def test_whole_tensors_survive(some: list[CrystalRecord], tmp_path: Path) -> None:
    records = [with_full_tensors(record) for record in some]
    write_store(tmp_path / "store", iter(some), CUTOFF, composition_split, tensors=True)
    memory = CrystalStore.from_records(records, CUTOFF, tensors=True).gather([3, 1]).anisotropy
    disk = open_store(tmp_path / "store")[0].gather([3, 1]).anisotropy
    assert memory is not None and disk is not None
    assert torch.equal(disk.eps_inter, memory.eps_inter) and disk.eps_inter.dtype == torch.float32
    assert torch.equal(disk.drude, memory.drude) and torch.equal(disk.component_mask, memory.component_mask)


def test_layout_is_readable_with_numpy_alone(some: list[CrystalRecord], folder: Path) -> None:
    metadata = json.loads((folder / "metadata.json").read_text())
    edges = np.load(folder / "edge_index.npy")
    assert metadata["schema"] == 4 and metadata["cutoff"] == CUTOFF and metadata["broadening"] == 0.3
    assert metadata["source"] == "some metals" and metadata["grid"] == [0.0, 20.0, 2001]
    assert edges.shape == (metadata["num_edges"], 2) and edges.dtype == np.uint16
    assert metadata["checksums"]["edge_index"] == f"{zlib.crc32(edges.tobytes()):08x}"
    sizes = np.load(folder / "sizes.npy").sum(axis=0).tolist()
    assert sizes == [metadata[f"num_{name}"] for name in ("atoms", "edges", "pairs")]
    symbols = [element_symbol(z) for record in some for z in sorted(set(record.atomic_numbers.tolist()))]
    assert metadata["elements"] == dict(Counter(symbols)) and metadata["three_body_cutoff"] == 4.0
    assert np.load(folder / "eps_inter.npy").shape == (len(some), 2001, 2)
    assert np.load(folder / "material_ids.npy").tolist() == [record.material_id for record in some]
    assert np.load(folder / "atom_offsets.npy")[-1] == sum(record.atomic_numbers.size for record in some)


def test_split_is_stored_as_positions(some: list[CrystalRecord], folder: Path) -> None:
    store, split = open_store(folder)
    expected = composition_split([r.material_id for r in some], [r.formula for r in some])
    assert {name: [store.material_ids[row] for row in split[name]] for name in SPLIT_NAMES} == expected


def test_batches_of_mapped_positions_can_be_written_to(folder: Path) -> None:
    """PyTorch warns of tensors that share read-only memory; here warnings are errors."""
    store, split = open_store(folder)
    store.gather(split["train"][:2]).index.add_(1)


def test_float16_spectra_are_widened_and_checked(some: list[CrystalRecord], tmp_path: Path) -> None:
    def scaled(record: CrystalRecord, factor: float) -> CrystalRecord:
        assert record.labels is not None
        return replace(record, labels=replace(record.labels, eps_inter=record.labels.eps_inter * factor))

    write_store(tmp_path / "half", iter(some), CUTOFF, composition_split, "float16")
    disk, _ = open_store(tmp_path / "half")
    assert disk.eps_inter is not None and disk.eps_inter.dtype == np.float16
    expected, found = CrystalStore.from_records(some, CUTOFF).gather([1, 2]), disk.gather([1, 2])
    assert found.eps_inter is not None and found.eps_inter.dtype == torch.float16
    labels = labels_of(found).eps_inter
    assert labels.dtype == torch.float32
    torch.testing.assert_close(labels, expected.eps_inter, rtol=2**-11, atol=6e-8)
    large = [*some[:3], scaled(some[3], 5e3)]
    with pytest.raises(RecordError, match=rf"\({some[3].material_id}\): \|eps\| reaches .*float16.* 6.55e\+04"):
        write_store(tmp_path / "large", iter(large), CUTOFF, composition_split, "float16")
    assert [path.name for path in tmp_path.iterdir()] == ["half"]


def test_writing_holds_few_materials_at_a_time(some: list[CrystalRecord], tmp_path: Path) -> None:
    import weakref

    alive: weakref.WeakSet[CrystalRecord] = weakref.WeakSet()
    most = 0

    def fresh() -> Iterator[CrystalRecord]:
        nonlocal most
        for number in range(20 * len(some)):
            copy = replace(some[number % len(some)], material_id=str(number))
            alive.add(copy)
            most = max(most, len(alive))
            yield copy

    write_store(tmp_path / "store", fresh(), CUTOFF, composition_split)
    assert most <= MATERIALS_PER_CHUNK + 1 < len(some) * 20


def test_a_failure_leaves_nothing_and_an_old_store_as_it_was(some: list[CrystalRecord], tmp_path: Path) -> None:
    target = tmp_path / "store"
    write = partial(write_store, target, cutoff=CUTOFF, split=composition_split)

    def failing() -> Iterator[CrystalRecord]:
        yield from some[:4]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(failing())
    assert not list(tmp_path.iterdir())
    write(iter(some))
    with pytest.raises(InputError, match="exists already"):
        write(iter(some))
    with pytest.raises(KeyboardInterrupt):
        write(failing(), overwrite=True)
    assert len(open_store(target)[0]) == len(some)
    write(iter(some[:6]), overwrite=True)
    assert len(open_store(target)[0]) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    (target / "metadata.json").unlink()
    with pytest.raises(InputError, match="is not a store, so it is not overwritten"):
        write(iter(some), overwrite=True)


def test_mixed_sets_and_bad_splits_are_refused(some: list[CrystalRecord], tmp_path: Path) -> None:
    assert some[1].labels is not None
    other = replace(some[1], labels=replace(some[1].labels, broadening=0.1))
    bare = replace(some[1], labels=None)
    for records, message in (
        ([some[0], other], "one data set needs one of each"),
        ([some[0], bare], f"{bare.material_id} has no spectra"),
        ([bare, some[0]], f"{bare.material_id} has no spectra"),
        ([], "no usable materials"),
    ):
        with pytest.raises(InputError, match=message):
            write_store(tmp_path / "store", iter(records), CUTOFF, composition_split)
        if records:
            with pytest.raises(InputError, match=message):
                CrystalStore.from_records(records, CUTOFF)
    first = some[0].material_id
    for split, message in (
        ({"train": ["nobody"], "val": [], "test": []}, "'nobody' into train, but no such material"),
        ({"train": [first], "val": [], "test": [first]}, f"{first}' into train and into test"),
    ):
        with pytest.raises(InputError, match=message):
            write_store(tmp_path / "store", iter(some), CUTOFF, lambda *_, chosen=split: chosen)
    assert not list(tmp_path.iterdir())


def test_unlabelled_crystals(some: list[CrystalRecord], tmp_path: Path) -> None:
    bare = [replace(record, labels=None) for record in some]
    write_store(tmp_path / "bare", iter(bare), CUTOFF, composition_split)
    store, _ = open_store(tmp_path / "bare")
    assert store.eps_inter is None and store.gather([0]).drude is None


def edit(signed: bool = True, **changes: Any) -> Any:
    def change(folder: Path) -> None:
        path = folder / "metadata.json"
        plain = {**json.loads(path.read_text()), **changes}
        if signed:
            del plain["checksum"]
            plain["checksum"] = f"{zlib.crc32(json.dumps(plain, sort_keys=True).encode()):08x}"
        path.write_text(json.dumps(plain))

    return change


def cut(name: str) -> Any:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) - 4])

    return change


def lengthen(name: str) -> Any:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes() + b"1")


def save(name: str, values: Any) -> Any:
    return lambda folder: np.save(folder / name, values)


DAMAGE = {
    "absent": (shutil.rmtree, "no such store; `dielectric-gnn prepare` writes one"),
    "no metadata": (lambda folder: (folder / "metadata.json").unlink(), "not a store, it has no metadata.json"),
    "cut metadata": (cut("metadata.json"), "metadata.json: damaged"),
    "list": (lambda folder: (folder / "metadata.json").write_text("[]"), "metadata.json: damaged"),
    "extra field": (edit(colour="red"), "metadata.json: damaged"),
    "schema": (edit(schema=1), "schema 1, this version reads 4; build the store anew"),
    "cutoff": (edit(signed=False, cutoff=5.0), "metadata.json: damaged.*checksum"),
    "edges": (edit(num_edges=3), "edge_offsets.npy: damaged"),
    "cut spectra": (cut("eps_inter.npy"), "eps_inter.npy: missing, truncated or damaged"),
    "cut vectors": (cut("edge_vectors.npy"), "edge_vectors.npy: missing, truncated or damaged"),
    "long": (lengthen("drude.npy"), "drude.npy: .*1 bytes too long"),
    "missing": (lambda folder: (folder / "drude.npy").unlink(), "drude.npy: missing"),
    "short": (save("drude.npy", np.zeros(3, dtype=np.float32)), r"drude.npy: <f4 of shape \(3,\), expected"),
    "dtype": (save("atomic_numbers.npy", np.zeros(3)), "atomic_numbers.npy: <f8"),
    "split": (save("split_val.npy", np.array([99])), "split_val.npy: damaged, expected positions below"),
    "pickle": (lambda folder: np.save(folder / "drude.npy", np.array([{}])), "drude.npy: missing, truncated"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_stores_are_reported_in_one_line(folder: Path, tmp_path: Path, case: str) -> None:
    copy = tmp_path / "store"
    shutil.copytree(folder, copy)
    damage, message = DAMAGE[case]
    damage(copy)
    with pytest.raises(InputError, match=message) as caught:
        open_store(copy)
    assert "\n" not in str(caught.value) and str(copy) in str(caught.value)


def test_every_flipped_byte_is_found(folder: Path, tmp_path: Path) -> None:
    """Wherever a byte turns, opening or verifying tells the file."""
    copy = tmp_path / "store"
    shutil.copytree(folder, copy)
    assert verify_store(copy) == [f"{copy}: sound (12 materials, 15 arrays)"]
    rng = np.random.default_rng(0)
    for path in sorted(copy.iterdir()):
        content = path.read_bytes()
        header = range(min(128, len(content)))
        for place in {*rng.choice(header, 12).tolist(), *rng.integers(len(content), size=3).tolist(), len(content) - 1}:
            damaged = bytearray(content)
            damaged[place] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            with pytest.raises(InputError, match="build the store anew") as caught:
                verify_store(copy)
            assert path.name in str(caught.value) and "\n" not in str(caught.value)
        path.write_bytes(content)


def spoil(name: str, change: Any) -> Any:
    """Values that make no sense, with a checksum that fits: what a faulty writer would make."""

    def damage(folder: Path) -> None:
        values = np.load(folder / f"{name}.npy")
        change(values)
        np.save(folder / f"{name}.npy", values)
        sums = json.loads((folder / "metadata.json").read_text())["checksums"]
        sums |= {name: f"{array_checksum(values):08x}"}
        del sums["row_checksums"]  # as of an earlier version
        edit(checksums=sums)(folder)

    return damage


def put(where: Any, value: Any) -> Any:
    return lambda values: values.__setitem__(where, value)


SPOILT = {
    "element": ("atomic_numbers", put(3, 84), "atomic_numbers.npy of materials 0 to 11 goes beyond 1 to 83"),
    "target": ("edge_index", put((0, 1), 50), "edge_index.npy of materials 0 to 11 points beyond"),
    "order": ("edge_index", lambda values: values.__setitem__(slice(None), values[::-1].copy()), "edge_index.npy"),
    "vector": ("edge_vectors", put((5, 1), np.nan), "edge_vectors.npy of materials 0 to 11 has lengths beyond"),
    "reverse": ("edge_vectors", put((5, 1), 0.75), "edge_vectors.npy of materials 0 to 11 contains an edge without"),
    "size": ("sizes", put((2, 2), 7), r"sizes.npy has \[.*7\] for material 2"),
    "nan": ("eps_inter", put((3, 100, 0), np.nan), "eps_inter.npy of materials 0 to 11 has values that are not finite"),
    "gain": ("eps_inter", put((3, 100, 1), -1), "or a negative imaginary part"),
    "drude": ("drude", put(0, -1), "drude.npy of materials"),
    "twice": ("material_ids", lambda values: values.__setitem__(0, values[1]), "names a material twice"),
    "split": ("split_val", lambda values: put(0, 0)(values), "share a material"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_values_without_sense_are_found(folder: Path, tmp_path: Path, case: str) -> None:
    copy = tmp_path / "store"
    shutil.copytree(folder, copy)
    name, change, message = SPOILT[case]
    if case == "split":
        change = put(0, np.load(copy / "split_train.npy")[0])
    spoil(name, change)(copy)
    with pytest.raises(InputError, match=message) as caught:
        verify_store(copy)
    assert "build the store anew" in str(caught.value) and "\n" not in str(caught.value)


def test_sound_lengths_end_at_the_first_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    array = AppendableArray(path, np.int16, (3,))
    ends = []
    for _ in range(4):
        array.append(np.arange(6).reshape(2, 3))
        array.flush()
        ends.append((array.num_rows, array.checksum))
    array.abandon()
    assert count_valid_states(path, 6, ends) == 4
    content = bytearray(path.read_bytes())
    content[128 + 2 * 12 + 5] ^= 1
    path.write_bytes(content)
    assert count_valid_states(path, 6, ends) == 2
    path.write_bytes(content[: 128 + 13])
    assert count_valid_states(path, 6, ends) == 1 and count_valid_states(tmp_path / "b.npy", 6, ends) == 0
    again = AppendableArray(path, np.int16, (3,), *ends[0])
    again.append(np.arange(6).reshape(2, 3))
    again.close()
    assert map_array(path).tolist() == [[0, 1, 2], [3, 4, 5]] * 2
    assert (again.num_rows, again.checksum) == ends[1] and again.checksum == array_checksum(np.load(path))


def test_growing_array_of_any_length(tmp_path: Path) -> None:
    for parts in ([], [3], [1, 0, 1200]):
        array = AppendableArray(tmp_path / "a.npy", np.float32, (2,))
        rows = [np.arange(2 * n).reshape(n, 2) for n in parts]
        for part in rows:
            array.append(part)
        array.close()
        np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.concatenate([np.zeros((0, 2)), *rows]))


def test_data_module_serves_the_same_from_store_and_source(tmp_path: Path) -> None:
    """The same batches, nested subset and training statistics, wherever the materials come from."""
    source = ExampleMetals(parts=1)
    write_store(tmp_path / "store", source.records(), CUTOFF, lambda *_: source.split(), source="metals")
    assert read_metadata(tmp_path / "store").num_materials == 102
    options: dict[str, Any] = {"cutoff": CUTOFF, "train_size": 20, "subset_seed": 3}
    one, two = (
        CrystalDataModule(ExampleMetals(parts=1), **options),
        CrystalDataModule(store=str(tmp_path / "store"), **options),
    )
    for data in (one, two):
        data.setup("fit")
    for name in (*SPLIT_NAMES, "predict"):
        np.testing.assert_array_equal(one.indices[name], two.indices[name])
    statistics, same = one.training_statistics(), two.training_statistics()
    assert torch.equal(statistics.mean_eps_inter, same.mean_eps_inter) and statistics.elements == same.elements
    assert (one.source_name, two.source_name) == ("ExampleMetals", f"{tmp_path / 'store'} (metals)")
    with pytest.raises(InputError, match=r"source \(ExampleMetals\) and store \(x\) are both given"):
        CrystalDataModule(source=source, store="x")
    with pytest.raises(InputError, match=r"4.0 Å, but data.cutoff is 5.5 Å; set data.cutoff"):
        CrystalDataModule(store=str(tmp_path / "store")).setup("fit")
