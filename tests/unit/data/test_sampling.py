import numpy as np
import pytest
import torch

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.frames import with_full_tensors
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sampling import (
    BudgetBatches,
    EvaluationBatches,
    TrainingBatches,
    TrainingLoader,
    batch_bounds,
    evaluation_loader,
)
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.resident import ResidentStore
from dielectric_gnn.testing import sample_crystals
from dielectric_gnn.utils.errors import InputError


@pytest.mark.parametrize("num", range(2, 40))
@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_training_covers_everything_once_without_single_batches(num: int, batch_size: int) -> None:
    sampler = TrainingBatches(np.arange(num), batch_size, seed=0, position=lambda: (0, 0))
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted(np.concatenate(batches).tolist()) == list(range(num))
    assert min(map(len, batches)) >= 2


def test_evaluation_keeps_order_and_single_batches() -> None:
    batches = list(EvaluationBatches(np.array([5, 3, 9, 1, 7]), 2))
    assert [batch.tolist() for batch in batches] == [[5, 3], [9, 1], [7]]
    assert batch_bounds(1, 4, fold_single=True) == [0, 1]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = TrainingBatches(np.arange(50), 8, seed, position=lambda: (epoch, 0))
        np.random.seed(epoch)  # the global generator must not matter
        return np.concatenate(list(sampler)).tolist()

    assert order(4, 1) == order(4, 1)
    assert order(4, 1) != order(4, 2)
    assert order(4, 1) != order(5, 1)


def test_epoch_continues_at_the_batch_that_training_needs() -> None:
    store = CrystalStore.from_records(sample_crystals() * 5, 4.0)

    def indices(epoch: int, batch: int) -> list[list[int]]:
        batches = TrainingBatches(np.arange(20), 4, 1, position=lambda: (epoch, batch))
        return [graph.index.tolist() for graph in TrainingLoader(store, batches)]

    assert len(indices(2, 0)) == 5
    assert indices(2, 3) == indices(2, 0)[3:]


def test_iterating_leaves_the_global_generator_alone() -> None:
    store = CrystalStore.from_records(sample_crystals(), 4.0)
    before = torch.get_rng_state()
    list(TrainingLoader(store, TrainingBatches(np.arange(4), 2, 1, position=lambda: (0, 0))))
    list(evaluation_loader(store, EvaluationBatches(np.arange(4), 2)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("num", [12, 17, 35])
def test_processes_share_an_epoch_without_overlap(num: int, world_size: int) -> None:
    shares = [
        list(TrainingBatches(np.arange(num), 4, 1, lambda: (3, 0), rank, world_size)) for rank in range(world_size)
    ]
    assert len({tuple(map(len, batches)) for batches in shares}) == 1, "every process needs the same batches"
    seen = np.concatenate([np.concatenate(batches) for batches in shares]).tolist()
    assert len(seen) == len(set(seen)) == num - num % world_size
    evaluated = [list(EvaluationBatches(np.arange(num), 4, rank, world_size)) for rank in range(world_size)]
    assert sorted(np.concatenate([np.concatenate(batches) for batches in evaluated]).tolist()) == list(range(num))


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("epoch", [0, 1, 7])
@pytest.mark.parametrize("budget", [1500, 2000, 10_000])
def test_budget_bounds_every_batch_and_misses_no_crystal(budget: int, epoch: int, world_size: int) -> None:
    rng = np.random.default_rng(3)
    rows = rng.permutation(1000)[:400]
    costs = rng.integers(1, 300, size=400)
    of_row = dict(zip(rows.tolist(), costs.tolist(), strict=True))
    shares = []
    for rank in range(world_size):
        sampler = BudgetBatches(rows, costs, budget, 5, lambda: (epoch, 0), rank, world_size)
        shares.append(list(sampler))
        assert len(shares[-1]) == len(sampler)
    assert len({len(share) for share in shares}) == 1
    batches = [batch.tolist() for share in shares for batch in share]
    assert sorted(row for batch in batches for row in batch) == sorted(rows.tolist())
    sums = [sum(of_row[row] for row in batch) for batch in batches]
    assert max(sums) <= budget and min(map(len, batches)) >= 2
    assert max(sums) - min(sums) <= 2 * costs.max()


def test_budget_batches_continue_and_depend_on_seed_and_epoch_alone() -> None:
    def batches(seed: int, epoch: int, first: int) -> list[list[int]]:
        costs = np.arange(1, 101)
        sampler = BudgetBatches(np.arange(100), costs, 400, seed, lambda: (epoch, first))
        return [batch.tolist() for batch in sampler]

    assert batches(1, 2, 4) == batches(1, 2, 0)[4:]
    assert batches(1, 2, 0) != batches(1, 3, 0) and batches(1, 2, 0) != batches(2, 2, 0)
    with pytest.raises(InputError, match=r"is 199, but one of the training crystals alone takes 100 .* 500"):
        BudgetBatches(np.arange(100), np.arange(1, 101), 199, 0, lambda: (0, 0))


def test_budget_names_what_is_too_small() -> None:
    def refused(costs: list[int], budget: int, world_size: int) -> str:
        with pytest.raises(InputError) as caught:
            BudgetBatches(np.arange(len(costs)), np.array(costs), budget, 0, lambda: (0, 0), 0, world_size)
        return str(caught.value)

    assert "too few for a budget on 8 processes, 20 each; start 5, or count" in refused([10] * 10, 50, 8)
    assert len(BudgetBatches(np.arange(10), np.full(10, 10), 50, 0, lambda: (0, 0), 0, 5)) == 1
    assert "2 training crystals, of which one takes 90 of 100" in (alone := refused([90, 10], 1000, 1))
    assert "start" not in alone and "1 process," in alone
    assert "cost 0; set batch_size" in refused([0, 0], 50, 1)
    # Five times the largest cost is enough wherever there are crystals enough.
    rng = np.random.default_rng(0)
    for _ in range(2000):
        costs = rng.integers(1, 40, size=rng.integers(2, 60))
        most = int(costs.sum()) // (2 * int(costs.max()))
        for world_size in range(1, most + 1):
            BudgetBatches(np.arange(costs.size), costs, 5 * int(costs.max()), 0, lambda: (0, 0), 0, world_size)


def test_batches_gathered_on_a_device_are_those_of_the_store(metals: list[CrystalRecord]) -> None:
    store = CrystalStore.from_records(map(with_full_tensors, metals[::7]), 5.5, tensors=True)
    resident = ResidentStore(store, torch.device("cpu"))
    for indices in ([0], [3, 1, 7], [], range(len(store))):
        one, other = store.gather(indices), resident.gather(indices)
        assert one.anisotropy is not None
        assert other.anisotropy is not None
        for expected, found in ((one, other), (one.anisotropy, other.anisotropy)):
            pairs = [(getattr(expected, name), getattr(found, name)) for name in vars(expected)]
            assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs if isinstance(a, torch.Tensor))


def test_resident_data_serve_the_same_batches() -> None:
    loaders = [
        CrystalDataModule(ExampleMetals(parts=1), resident=resident, batch_size=16) for resident in (False, True)
    ]
    for data in loaders:
        data.setup("fit")
    batches = [[graph.edge_vectors for graph in data.val_dataloader()] for data in loaders]
    torch.testing.assert_close(*batches)
    with pytest.raises(InputError, match=r"data\.resident .*full graphs"):
        CrystalDataModule(ExampleMetals(parts=1), resident=True, symmetry="orbit")
