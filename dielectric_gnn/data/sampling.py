"""Batch samplers and data loaders; a resumed training continues at the same batch of the same epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler, SequentialSampler

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.resident import ResidentStore
from dielectric_gnn.utils.errors import InputError

AnyStore: TypeAlias = CrystalStore | ResidentStore


def batch_bounds(num: int, batch_size: int, fold_single: bool) -> list[int]:
    """Bounds of the batches of `batch_size` among `num` crystals.

    Args:
        num: Number of crystals.
        batch_size: Crystals per batch.
        fold_single: Merge a last batch of one crystal, on which batch norm cannot train, with the one before.

    Example:
        >>> batch_bounds(9, 4, fold_single=True)
        [0, 4, 9]
        >>> batch_bounds(9, 4, fold_single=False)
        [0, 4, 8, 9]
    """
    bounds = [*range(0, num, batch_size), num]
    if fold_single and num % batch_size == 1 and len(bounds) > 2:
        del bounds[-2]
    return bounds


class EvaluationBatches(SequentialSampler):
    """Every crystal once, in order; with several processes, each crystal is in exactly one, without padding.

    Args:
        indices: Positions in the store.
        batch_size: Crystals per batch.
        rank: Rank of this process.
        world_size: Number of processes.
    """

    def __init__(self, indices: NDArray[np.int64], batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.indices = indices[rank::world_size]
        self.bounds = batch_bounds(self.indices.size, batch_size, fold_single=False)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[NDArray[np.int64]]:  # type: ignore[override]  # batches instead of places
        for start, stop in pairwise(self.bounds):
            yield self.indices[start:stop]


class TrainingBatches(Sampler[NDArray[np.int64]]):
    """Every crystal once per epoch, in an order that depends only on the seed and the epoch.

    A training can therefore be resumed at any batch of any epoch without storing the state of a generator. With several
    processes, all have the same number of batches, because unequal numbers deadlock; the few crystals that do not
    divide evenly are left out of an epoch, different ones in each.

    Args:
        indices: Positions in the store.
        batch_size: Crystals per batch and process.
        seed: Seed of the shuffles.
        position: Returns the epoch and the number of its next batch; called when the first batch is drawn.
        rank: Rank of this process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        indices: NDArray[np.int64],
        batch_size: int,
        seed: int,
        position: Callable[[], tuple[int, int]],
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.indices = indices
        self.batch_size = batch_size
        self.seed = seed
        self.position = position
        self.rank = rank
        self.world_size = world_size

    @cached_property
    def bounds(self) -> list[int]:
        """Bounds of the batches among the crystals of this process, the same in every epoch."""
        return batch_bounds(self.rows_of_epoch(0).size // self.world_size, self.batch_size, fold_single=True)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        epoch, first = self.position()
        rows = self.rows_of_epoch(epoch)
        order = np.random.default_rng((self.seed, epoch)).permutation(rows.size)
        for chosen in self._cut(order)[first:]:
            yield rows[chosen]

    def rows_of_epoch(self, epoch: int) -> NDArray[np.int64]:
        """Positions of the crystals of an epoch, not shuffled; their number is the same in every epoch."""
        return self.indices

    def in_order(self) -> list[NDArray[np.int64]]:
        """The batches of an epoch that is not shuffled."""
        rows = self.rows_of_epoch(0)
        return [rows[chosen] for chosen in self._cut(np.arange(rows.size))]

    def _cut(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The batches of this process, from all crystals in the order of an epoch."""
        share = order[self.rank :: self.world_size]
        return [share[start:stop] for start, stop in pairwise(self.bounds)]


class BudgetBatches(TrainingBatches):
    """As `TrainingBatches`, with about the same number of edges (or three-body pairs) in every batch.

    Large crystals share a batch with few others, so time and memory of a step vary little. An epoch is divided where
    the cumulative cost passes multiples of one length T. A crystal belongs to the batch that contains its middle, so no
    batch exceeds T by more than the largest crystal. The number of batches is the same in every epoch and process, and
    no crystal is left out.

    Args:
        indices: Positions in the store.
        costs: Cost of each of these crystals, (M,).
        budget: Largest total cost of a batch.
        seed: Seed of the shuffles.
        position: As for `TrainingBatches`.
        rank: Rank of this process.
        world_size: Number of processes.

    Raises:
        InputError: Batches of one crystal could occur: the budget is too small beside the largest cost, or there are
            too few crystals for so many processes.
    """

    def __init__(
        self,
        indices: NDArray[np.int64],
        costs: NDArray[np.integer],
        budget: int,
        seed: int,
        position: Callable[[], tuple[int, int]],
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(indices, 2, seed, position, rank, world_size)
        self.costs = costs.astype(np.int64)
        largest, total = int(costs.max()), int(self.costs.sum())
        self.per_process = -(-total // (max(budget - largest, 1) * world_size))
        if total == 0:
            raise InputError(f"a batch has a budget of {budget:,}, but every crystal has cost 0; set batch_size")
        # A piece as long as two of the largest crystals has at least two, which batch norm needs.
        if total < 2 * largest * world_size:
            raise InputError(
                f"{indices.size} training crystals, of which one takes {largest:,} of {total:,} in all, are too few "
                f"for a budget on {world_size} process{'es' if world_size > 1 else ''}, {2 * largest:,} each; "
                + (f"start {total // (2 * largest)}, or " if world_size > 1 and total >= 2 * largest else "")
                + "count crystals with batch_size"
            )
        if total < 2 * largest * self.per_process * world_size:
            raise InputError(
                f"the budget of a batch is {budget:,}, but one of the training crystals alone takes {largest:,} of "
                f"{total:,}; give at least five times that, {5 * largest:,}, or count crystals with batch_size"
            )

    def __len__(self) -> int:
        return self.per_process

    def _cut(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        costs = self.costs[order]
        ends = np.cumsum(costs)
        middles = ends - costs / 2
        num_pieces = self.per_process * self.world_size
        cuts = np.searchsorted(middles, np.arange(num_pieces + 1) * (ends[-1] / num_pieces))
        return [order[cuts[piece] : cuts[piece + 1]] for piece in range(self.rank, num_pieces, self.world_size)]


class _FixedOrderBatches(SequentialSampler):
    """Training batches that are the same in every epoch; `trainer.overfit_batches` requires a SequentialSampler."""

    def __init__(self, batches: TrainingBatches) -> None:
        self.batches = batches.in_order()

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:  # type: ignore[override]  # batches instead of places
        return iter(self.batches)


class _BatchDataset(Dataset[CrystalGraph]):
    """Maps a batch of indices to a batch of crystals in one vectorised gather."""

    def __init__(self, store: AnyStore) -> None:
        self.store = store

    def __getitem__(self, indices: NDArray[np.int64]) -> CrystalGraph:
        return self.store.gather(indices)


def evaluation_loader(store: AnyStore, batches: EvaluationBatches) -> DataLoader[CrystalGraph]:
    """Batches for validation, test and prediction."""
    return DataLoader(_BatchDataset(store), sampler=batches, **_loader_options(store))


class TrainingLoader(DataLoader[CrystalGraph]):
    """Training batches, gathered in the main process, which needs about 0.005 ms per crystal.

    Args:
        store: Store of the crystals.
        batches: Sampler of their positions.
        shuffled: Draw new batches in every epoch.
    """

    def __init__(self, store: AnyStore, batches: TrainingBatches, shuffled: bool = True) -> None:
        sampler = batches if shuffled else _FixedOrderBatches(batches)
        super().__init__(_BatchDataset(store), sampler=sampler, **_loader_options(store))

    def state_dict(self) -> dict[str, Any]:
        """Empty state: its presence marks the loader as resumable within an epoch, at the trainer's position."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to restore."""


def _loader_options(store: AnyStore) -> dict[str, Any]:
    pin_memory = torch.cuda.is_available() and isinstance(store, CrystalStore)  # others are on their device already
    # A loader draws a seed whenever its iteration starts; from the global generator, that would make a continued
    # training differ from one that ran through.
    return {"batch_size": None, "pin_memory": pin_memory, "generator": torch.Generator()}
