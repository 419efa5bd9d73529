"""The embedded metals: their files, what half precision loses, and how the set grows."""

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.sources.shards import read_shard, write_shard
from dielectric_gnn.utils.errors import InputError, RecordError
from tests.commands import load_tool

FOLDER = Path(str(resources.files("dielectric_gnn.data"))) / "example"


@pytest.fixture(scope="module")
def everything() -> list[CrystalRecord]:
    return list(ExampleMetals().records())


def test_the_set_has_many_metals_of_low_symmetry_in_few_megabytes(everything: list[CrystalRecord]) -> None:
    ids = {record.material_id for record in everything}
    assert len(ids) == len(everything) >= 440
    cubic = [record for record in everything if record.metadata["spg"] >= 195]
    assert len(cubic) <= 0.6 * len(everything)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 8e6
    assert {record.labels.grid.num for record in everything if record.labels is not None} == {2001}


def test_no_formula_is_on_two_sides_of_the_split(everything: list[CrystalRecord]) -> None:
    split = ExampleMetals().split()
    assert sorted(material_id for ids in split.values() for material_id in ids) == sorted(
        record.material_id for record in everything
    )
    side = {material_id: name for name, ids in split.items() for material_id in ids}
    sides: dict[str, set[str]] = {}
    for record in everything:
        sides.setdefault(record.formula, set()).add(side[record.material_id])
    assert all(len(names) == 1 for names in sides.values())
    elements = {record.material_id: set(record.atomic_numbers.tolist()) for record in everything}
    assert set().union(*(elements[m] for m in split["train"])) == set().union(*elements.values())


def test_the_first_part_comes_first_and_files_are_read_one_after_the_other(
    everything: list[CrystalRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [record.material_id for record in ExampleMetals(parts=1).records()]
    assert len(first) == 102 and first == [record.material_id for record in everything[:102]]
    opened: list[str] = []

    def read(path: Path, source: str = "") -> Iterator[CrystalRecord]:
        opened.append(path.name)
        return read_shard(path, source)

    monkeypatch.setattr("dielectric_gnn.data.sources.example.read_shard", read)
    next(iter(ExampleMetals().records()))
    assert opened == ["metals_0.npz"]
    with pytest.raises(InputError, match=r"data\.source\.parts is 99, expected 1 to"):
        ExampleMetals(parts=99)


def test_half_precision_is_what_a_file_loses(metals: list[Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    records = []
    for record in metals[:3]:
        eps = record.labels.eps_inter * (1 + 1e-3 * rng.uniform(size=record.labels.eps_inter.shape))
        records.append(replace(record, labels=replace(record.labels, eps_inter=eps)))
    write_shard(tmp_path / "some.npz", records)
    for record, again in zip(records, read_shard(tmp_path / "some.npz"), strict=True):
        np.testing.assert_array_equal(again.positions, record.positions)
        np.testing.assert_array_equal(again.atomic_numbers, record.atomic_numbers)
        for part in (np.real, np.imag):
            before, after = part(record.labels.eps_inter), part(again.labels.eps_inter)
            np.testing.assert_allclose(after, before, rtol=5e-4, atol=1e-7)
        np.testing.assert_allclose(again.labels.drude, record.labels.drude, rtol=1e-7)
        assert again.metadata == record.metadata and again.material_id == record.material_id


def test_other_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(RecordError, match="not a file of labelled materials"):
        list(read_shard(tmp_path / "other.npz"))


def test_appended_materials_move_nothing(metals: list[Any], tmp_path: Path) -> None:
    tool = load_tool("pack_example_data")
    tool.append(tmp_path, metals[:30])
    before = json.loads((tmp_path / "split.json").read_text())
    assert tool.append(tmp_path, metals[:30]).total() == 0
    relative = replace(metals[0], material_id="another-phase")
    counts = tool.append(tmp_path, [relative, *metals[25:40]])
    after = json.loads((tmp_path / "split.json").read_text())
    assert counts.total() == 11
    assert all(after[name][: len(ids)] == ids for name, ids in before.items())
    home = next(name for name, ids in before.items() if metals[0].material_id in ids)
    assert "another-phase" in after[home]
    order = [record.material_id for record in read_shard(tmp_path / "metals_0.npz")]
    assert len(order) == 41 and set(order[:30]) == {record.material_id for record in metals[:30]}


def test_metals_with_coarse_meshes_are_appended_to_files_of_their_own(metals: list[Any], tmp_path: Path) -> None:
    tool = load_tool("pack_example_data")
    assert tool.append_coarse(tmp_path, metals[:30]) == 30
    assert tool.append_coarse(tmp_path, metals[20:40]) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["coarse_0.npz"]
    assert len(list(read_shard(tmp_path / "coarse_0.npz"))) == 40


def test_shares_of_the_hash_are_those_stated() -> None:
    tool = load_tool("pack_example_data")
    sides = [tool.side_of(f"A{number}") for number in range(4000)]
    for name, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        assert sides.count(name) / len(sides) == pytest.approx(share, abs=0.03)
