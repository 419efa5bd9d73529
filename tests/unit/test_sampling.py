import numpy as np
import pytest

from dielectric_gnn.data.sampling import EvaluationBatches, TrainingBatches, TrainingLoader, batch_bounds
from dielectric_gnn.data.store import CrystalStore
from dielectric_gnn.testing import sample_crystals


@pytest.mark.parametrize("num", range(2, 40))
@pytest.mark.parametrize("batch_size", [2, 3, 8])
def test_training_covers_everything_once_without_single_batches(num: int, batch_size: int) -> None:
    sampler = TrainingBatches(np.arange(num), batch_size, seed=0)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted(np.concatenate(batches).tolist()) == list(range(num))
    assert min(map(len, batches)) >= 2


def test_evaluation_keeps_order_and_single_batches() -> None:
    batches = list(EvaluationBatches(np.array([5, 3, 9, 1, 7]), 2))
    assert [batch.tolist() for batch in batches] == [[5, 3], [9, 1], [7]]
    assert batch_bounds(1, 4, fold_single=True) == [0, 1]


def test_order_depends_on_seed_and_epoch_alone() -> None:
    first, second = (TrainingBatches(np.arange(50), 8, seed=4) for _ in range(2))
    list(first)  # drawing from one must not move the other
    for epoch in (0, 1, 0):
        first.set_epoch(epoch)
        second.set_epoch(epoch)
        np.testing.assert_array_equal(np.concatenate(list(first)), np.concatenate(list(second)))
    second.set_epoch(1)
    assert not np.array_equal(np.concatenate(list(first)), np.concatenate(list(second)))
    other = TrainingBatches(np.arange(50), 8, seed=5)
    assert not np.array_equal(np.concatenate(list(first)), np.concatenate(list(other)))


def test_restored_loader_starts_at_the_stored_batch_once() -> None:
    store = CrystalStore.from_records(sample_crystals() * 5, 4.0)
    loaders = [
        TrainingLoader(store, TrainingBatches(np.arange(20), 4, seed=1), position=lambda: (2, 3)) for _ in range(2)
    ]
    assert loaders[0].state_dict() == {"epoch": 2, "batch": 3}
    loaders[1].load_state_dict(loaders[0].state_dict())
    loaders[0].batches.set_epoch(2)
    whole = [graph.index.tolist() for graph in loaders[0]]
    assert [graph.index.tolist() for graph in loaders[1]] == whole[3:]
    assert [graph.index.tolist() for graph in loaders[1]] == whole
