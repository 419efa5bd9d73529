"""Joint training on several fidelities: no leak through the cheap set, draws by weight, and refusals."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.fidelities import FidelityBatches
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import CoarseMetals, ExampleMetals, Fidelities, RecordSource, SyntheticMetals
from dielectric_gnn.data.sources.base import OnError
from dielectric_gnn.data.store.prepare import BuildOptions, build_store
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError

MAIN, CHEAP = np.arange(20), np.arange(100, 130)


class Twice(RecordSource):
    """The first embedded metals with the same ids, as a cheap calculation of the same materials."""

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        yield from ExampleMetals(parts=1).records(on_error)


class Listed(RecordSource):
    """Some records, without a split of their own."""

    def __init__(self, records: list[CrystalRecord]) -> None:
        super().__init__()
        self.listed = records

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        yield from self.listed


def batches(epoch: int, first: int = 0, rank: int = 0, world_size: int = 1, weight: float = 0.6) -> list[list[int]]:
    position = (epoch, first)
    sampler = FidelityBatches(MAIN, [CHEAP], [1.0, weight], 5, 3, lambda: position, rank, world_size)
    found = [batch.tolist() for batch in sampler]
    assert len(found) == len(sampler) - first
    return found


def flat(found: list[list[int]]) -> list[int]:
    return [row for batch in found for row in batch]


@pytest.mark.parametrize(("weight", "samples"), [(0.6, 12), (0.05, 1), (4.0, 80)])
def test_an_epoch_has_all_of_the_highest_fidelity_and_a_share_of_the_other(weight: float, samples: int) -> None:
    rows = flat(batches(0, weight=weight))
    assert sorted(row for row in rows if row < 100) == MAIN.tolist()
    assert sum(row >= 100 for row in rows) == samples


def test_every_cheap_material_is_drawn_equally_often() -> None:
    rows = [row for epoch in range(5) for row in flat(batches(epoch)) if row >= 100]  # 60 draws of 30 materials
    assert np.unique(rows, return_counts=True)[1].tolist() == [2] * CHEAP.size


def test_draws_depend_on_seed_and_epoch_alone_and_continue_within_an_epoch() -> None:
    np.random.seed(0)
    once = batches(2)
    np.random.seed(1)
    assert batches(2) == once and batches(2, first=3) == once[3:]
    assert {row for row in flat(batches(1)) if row >= 100} != {row for row in flat(once) if row >= 100}


def test_processes_share_the_samples_of_one_epoch() -> None:
    shares = [batches(1, rank=rank, world_size=2) for rank in range(2)]
    assert len(shares[0]) == len(shares[1])
    assert sorted(flat(shares[0]) + flat(shares[1])) == sorted(flat(batches(1)))


def drawn_rows(data: CrystalDataModule, epochs: int = 3) -> set[int]:
    rows: set[int] = set()
    for epoch in range(epochs):
        data._position = lambda at=epoch: (at, 0)  # type: ignore[method-assign, misc]
        rows |= {int(row) for batch in data._training_batches(data.indices["train"], 0) for row in batch}
    return rows


@pytest.mark.parametrize("own_split", ["source", "drawn", "file"])
def test_no_formula_of_validation_or_test_is_trained_on_through_the_cheap_set(
    own_split: str, metals: list[CrystalRecord], tmp_path: Path
) -> None:
    options: dict[str, str] = {}
    main: RecordSource = ExampleMetals(parts=1)
    if own_split == "drawn":
        main = Listed(metals)
    if own_split == "file":
        ids = [metal.material_id for metal in metals]
        (tmp_path / "split.json").write_text(json.dumps({"train": ids[:40], "val": [], "test": ids[60:]}))
        options = {"split_ids": str(tmp_path / "split.json")}
    data = CrystalDataModule(Fidelities([main, Twice()]), **options)  # type: ignore[arg-type]
    data.setup("fit")
    fidelities, formulas = data.store.fidelities, np.array(data.store.formulas)
    assert fidelities is not None
    for rows in data.indices.values():
        assert (fidelities[rows] == 0).all(), "split, validated, tested and predicted are materials of the first source"
    trained = np.array(sorted(drawn_rows(data)))
    assert (fidelities[trained] == 1).sum() > 20, "or nothing is tested"
    held_out = np.concatenate([data.indices["val"], data.indices["test"]])
    assert held_out.size and not set(formulas[trained]) & set(formulas[held_out])
    left_out = np.flatnonzero((fidelities == 1) & np.isin(formulas, formulas[held_out]))
    assert left_out.size >= held_out.size, "the cheap set does hold these formulas"


def test_statistics_and_training_subsets_are_of_the_highest_fidelity() -> None:
    alone = CrystalDataModule(ExampleMetals(parts=1), train_size=30)
    joint = CrystalDataModule(
        Fidelities([ExampleMetals(parts=1), SyntheticMetals(40, broadening_ev=0.3)]), train_size=30
    )
    for data in (alone, joint):
        data.setup("fit")
    one, other = alone.training_statistics(), joint.training_statistics()
    assert one.num_materials == other.num_materials == 30 and one.elements == other.elements
    assert one.mean_drude == other.mean_drude


def test_evaluation_reads_the_first_source_only() -> None:
    data = CrystalDataModule(Fidelities([ExampleMetals(parts=1), Twice()]), all_as="test")
    data.setup("test")
    assert len(data.store) == data.indices["test"].size == 102


def test_grids_are_resampled_for_all_sources() -> None:
    grid = EnergyGrid(0, 10, 101)
    joined = Fidelities([ExampleMetals(parts=1), SyntheticMetals(20, broadening_ev=0.3)])
    data = CrystalDataModule(joined, grid=grid)
    data.setup("fit")
    assert data.store.grid == grid and joined.sources[1].grid == grid


def test_rejects_of_every_source_are_listed(metals: list[CrystalRecord]) -> None:
    twice = Listed([metals[0], metals[0], replace(metals[1], material_id="x" * 510)])
    joined = Fidelities([Listed(metals[:3]), twice])
    found = list(joined.records("skip"))
    assert [record.fidelity for record in found] == [0, 0, 0, 1]
    assert len(joined.rejects) == 2


def test_what_is_not_supported_is_one_line(metals: list[CrystalRecord], tmp_path: Path) -> None:
    main, cheap = ExampleMetals(parts=1), SyntheticMetals(20, broadening_ev=0.3)
    for sources, weights in (([main], None), ([main, Fidelities([main, cheap])], None), ([main, cheap], [1.0])):
        with pytest.raises(InputError, match="Fidelities"):
            Fidelities(sources, weights)
    for wrong in ([1.0, 0.0], [1.0, -1.0], [1.0, float("nan")]):
        with pytest.raises(InputError, match="weights"):
            Fidelities([main, cheap], wrong)
    with pytest.raises(InputError, match="store"):
        build_store(Fidelities([main, cheap]), tmp_path / "store", BuildOptions(), "joined")
    with pytest.raises(InputError, match="broadening"):
        CrystalDataModule(Fidelities([main, SyntheticMetals(20)])).setup("fit")
    budget = CrystalDataModule(Fidelities([main, cheap]), batch_edges=10_000)
    budget.setup("fit")
    with pytest.raises(InputError, match="batch_edges"):
        budget.train_dataloader()
    test = set(CrystalDataModule(main).source.split()["test"])  # type: ignore[index]
    held_out = [metal for metal in metals if metal.material_id in test]
    with pytest.raises(InputError, match="no material of fidelity 1"):
        CrystalDataModule(Fidelities([main, Listed(held_out)])).setup("fit")


def test_a_split_file_cannot_hold_out_a_lower_fidelity(metals: list[CrystalRecord], tmp_path: Path) -> None:
    ids = [metal.material_id for metal in metals]
    split = {"train": ids[:60], "val": [], "test": [f"{ids[80]} (fidelity 1)"]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    data = CrystalDataModule(Fidelities([ExampleMetals(parts=1), Twice()]), split_ids=str(tmp_path / "split.json"))
    with pytest.raises(InputError, match="fidelity 1"):
        data.setup("fit")


def test_the_embedded_coarse_metals_are_what_their_description_says() -> None:
    """Their k meshes follow from their cells and 20 Å, and most formulas are not in the embedded set."""
    coarse = list(CoarseMetals().records())
    formulas = {record.formula for record in ExampleMetals().records()}
    assert len({record.material_id for record in coarse}) == len(coarse) == 409
    assert len([record for record in coarse if record.formula not in formulas]) == 369
    for record in coarse:
        shortest = [max(4.0, 20 / float(np.linalg.norm(vector))) for vector in record.lattice]
        expected = [2 * math.ceil(number / 2 - 1e-9) for number in shortest]  # even numbers
        assert record.metadata["parameters"]["kpt_nscf"] == expected, record.material_id
        assert record.labels is not None and record.labels.broadening == 0.3
        assert np.isfinite(record.labels.eps_inter).all() and (record.labels.drude > 0).all()


@pytest.mark.parametrize(("stage", "num"), [("fit", 122), ("validate", 102), ("test", 102)])
def test_lower_fidelities_are_read_for_training_only(stage: str, num: int) -> None:
    data = CrystalDataModule(Fidelities([ExampleMetals(parts=1), SyntheticMetals(20, broadening_ev=0.3)]))
    data.setup(stage)
    assert len(data.store) == num
