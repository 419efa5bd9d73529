"""Splits by composition, nested training subsets, and lists of ids in their place."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightning.pytorch import Trainer

from dielectric_gnn.data.datamodule import TRAIN_IDS, CrystalDataModule
from dielectric_gnn.data.sources import ExampleMetals, SyntheticMetals
from dielectric_gnn.data.splits import (
    SPLIT_NAMES,
    composition_split,
    listed_rows,
    nested_rows,
    nested_subset,
    read_ids,
)
from dielectric_gnn.data.store.writer import write_store
from dielectric_gnn.utils.errors import InputError

IDS = [f"agm{number:03}" for number in range(90)]
FORMULAS = [f"X{number // 3}" for number in range(90)]


def test_no_formula_is_on_two_sides() -> None:
    split = composition_split(IDS, FORMULAS, seed=3)
    sides = [{FORMULAS[IDS.index(m)] for m in split[name]} for name in SPLIT_NAMES]
    assert [len(side) for side in sides] == [24, 3, 3]
    assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sorted(m for name in SPLIT_NAMES for m in split[name]) == IDS
    assert composition_split(IDS[::-1], FORMULAS[::-1], seed=3)["val"] == split["val"][::-1]


def test_smaller_subsets_lie_inside_larger_ones() -> None:
    sizes = [1, 2, 10, 40, 89, 90]
    subsets = [set(nested_subset(IDS, size, seed=1)) for size in sizes]
    assert [len(subset) for subset in subsets] == sizes
    assert all(small < large for small, large in pairwise(subsets))
    assert set(nested_subset(IDS, 10, seed=2)) != subsets[2]
    assert nested_subset(IDS, None) == IDS


def test_subsets_depend_on_the_ids_alone() -> None:
    """Not on their order, and they are those of earlier versions."""
    shuffled = np.random.default_rng(5).permutation(IDS)
    assert nested_subset(shuffled.tolist(), 12, seed=1) == nested_subset(IDS, 12, seed=1)
    assert shuffled[nested_rows(shuffled, 12, seed=1)].tolist() == nested_subset(IDS, 12, seed=1)
    order = np.random.default_rng(1).permutation(90)[:12]
    assert nested_subset(IDS, 12, seed=1) == [IDS[place] for place in order]
    for size in (0, 91):
        with pytest.raises(InputError, match=f"train_size is {size}, expected 1 to 90"):
            nested_subset(IDS, size)


def test_listed_materials_in_the_order_of_the_list(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("agm050\n\nagm003\nagm089\n")
    shuffled = np.random.default_rng(5).permutation(IDS)
    assert shuffled[listed_rows(path, shuffled)].tolist() == ["agm050", "agm003", "agm089"] == read_ids(path)
    for content, message in (
        ("agm001\nzzz\nabc\n", r"ids.txt: 2 of 3 ids are not among the 90 training materials \('zzz', 'abc'\); remove"),
        ("a\nb\nc\nd\n", r"4 of 4 ids .*\('a', 'b', 'c', …\)"),
        ("agm001\nagm002\nagm001\n", "ids.txt: id 'agm001' is listed 2 times, expected once"),
        (" \n", "ids.txt: the list is empty, expected one material id per line"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=message) as caught:
            listed_rows(path, shuffled)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"nowhere.txt: not a readable list"):
        read_ids(tmp_path / "nowhere.txt")


def test_ids_may_hold_blanks(tmp_path: Path) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes("Ag 1\n\n  Al 2 (fcc) \r\nCu\u20283\n".encode())
    assert read_ids(path) == ["Ag 1", "Al 2 (fcc)", "Cu\u20283"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores") / "store"
    write_store(folder, SyntheticMetals(60).records(), 4.0, composition_split, "float16")
    return folder


def fitted(tmp_path: Path, **options: Any) -> CrystalDataModule:
    """The data of a training in the folder `tmp_path`."""
    data = CrystalDataModule(cutoff=4.0, **options)
    data.trainer = Trainer(default_root_dir=tmp_path, logger=False, enable_checkpointing=False, accelerator="cpu")
    data.setup("fit")
    return data


def trained_on(data: CrystalDataModule) -> list[str]:
    return [data.store.material_ids[row] for row in data.indices["train"]]


@pytest.mark.parametrize("kind", ["store", "source"])
def test_ids_of_a_run_are_written_and_bring_it_back(tmp_path: Path, store: Path, kind: str) -> None:
    where: dict[str, Any] = {"store": str(store)} if kind == "store" else {"source": ExampleMetals(parts=1)}
    first = fitted(tmp_path / "one", train_size=20, subset_seed=4, **where)
    written = tmp_path / "one" / TRAIN_IDS
    assert read_ids(written) == trained_on(first) and len(read_ids(written)) == 20
    again = fitted(tmp_path / "two", train_ids=str(written), subset_seed=9, **where)
    np.testing.assert_array_equal(again.indices["train"], first.indices["train"])
    np.testing.assert_array_equal(again.indices["val"], first.indices["val"])
    assert (tmp_path / "two" / TRAIN_IDS).read_bytes() == written.read_bytes()
    everything = fitted(tmp_path / "all", **where)
    assert read_ids(tmp_path / "all" / TRAIN_IDS) == trained_on(everything)
    assert [path.name for path in (tmp_path / "all").iterdir()] == [TRAIN_IDS]


def test_materials_held_out_cannot_be_trained_on(tmp_path: Path, store: Path) -> None:
    data = fitted(tmp_path, store=str(store))
    path = tmp_path / "mine.txt"
    tested = data.store.material_ids[int(data.indices["test"][0])]
    path.write_text(f"{trained_on(data)[0]}\n{tested}\n")
    with pytest.raises(InputError, match=rf"mine.txt: 1 of 2 ids are not among .* training materials \('{tested}'\)"):
        fitted(tmp_path, store=str(store), train_ids=str(path))
    with pytest.raises(InputError, match=r"train_size \(5\) and train_ids \(x\) are both given"):
        CrystalDataModule(train_size=5, train_ids="x")


def test_other_stages_write_nothing(tmp_path: Path, store: Path) -> None:
    data = CrystalDataModule(store=str(store), cutoff=4.0)
    data.trainer = Trainer(default_root_dir=tmp_path, logger=False, enable_checkpointing=False, accelerator="cpu")
    data.setup("test")
    assert not list(tmp_path.iterdir())
