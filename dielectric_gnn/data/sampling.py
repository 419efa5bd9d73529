"""Which crystals form which batch, and where in an epoch a resumed training goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
    """Where batches of `batch_size` begin and end among `num` crystals.

    Args:
        num: Number of crystals.
        batch_size: Crystals per batch.
        fold_single: Join a last batch of one crystal, on which batch norm cannot train, to the one before.

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
    """Every crystal once, in order; among several processes each crystal goes to exactly one, without padding.

    Args:
        indices: Positions in the store.
        batch_size: Crystals per batch.
        rank: Number of this process.
        world_size: How many processes there are.
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
    """Every crystal once per epoch, in an order that depends on the seed and the epoch alone.

    So a training can be continued from any batch of any epoch without storing a generator's state. Among several
    processes every one gets the same number of batches, or they would wait for each other for ever; the few crystals
    that do not divide evenly sit out an epoch, others in the next.

    Args:
        indices: Positions in the store.
        batch_size: Crystals per batch and process.
        seed: Of the shuffles.
        position: Tells the epoch and the batch of it that training needs next; asked when the first batch is drawn.
        rank: Number of this process.
        world_size: How many processes there are.
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
        self.seed = seed
        self.position = position
        self.rank = rank
        self.world_size = world_size
        self.bounds = batch_bounds(indices.size // world_size, batch_size, fold_single=True)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        epoch, first = self.position()
        order = np.random.default_rng((self.seed, epoch)).permutation(self.indices.size)
        for chosen in self._cut(order)[first:]:
            yield self.indices[chosen]

    def in_order(self) -> list[NDArray[np.int64]]:
        """The batches of an epoch that is not shuffled."""
        return [self.indices[chosen] for chosen in self._cut(np.arange(self.indices.size))]

    def _cut(self, order: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """The batches of this process, from all crystals in the order of an epoch."""
        share = order[self.rank :: self.world_size]
        return [share[start:stop] for start, stop in pairwise(self.bounds)]


class BudgetBatches(TrainingBatches):
    """As `TrainingBatches`, but every batch has about the same number of edges (or three-body pairs).

    So large crystals share a batch with few others: time and memory of a step hardly vary. An epoch is cut where the
    running sum passes multiples of one length T; as a crystal belongs to the piece with its middle, no piece exceeds T
    by more than the largest crystal. The number of pieces, and so of batches, is the same in every epoch and process,
    and no crystal sits out.

    Args:
        indices: Positions in the store.
        costs: What each of these crystals adds to a batch, (M,).
        budget: Largest sum of costs in a batch.
        seed: Of the shuffles.
        position: As for `TrainingBatches`.
        rank: Number of this process.
        world_size: How many processes there are.

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
            raise InputError(f"a batch has a budget of {budget:,}, but no crystal takes anything of it; set batch_size")
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


class _InOrder(SequentialSampler):
    """Training batches that are the same in every epoch; Lightning demands this class for `trainer.overfit_batches`."""

    def __init__(self, batches: TrainingBatches) -> None:
        self.batches = batches.in_order()

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:  # type: ignore[override]  # batches instead of places
        return iter(self.batches)


class _Batches(Dataset[CrystalGraph]):
    """Turns a batch of indices into a batch of crystals in one vectorised gather."""

    def __init__(self, store: AnyStore) -> None:
        self.store = store

    def __getitem__(self, indices: NDArray[np.int64]) -> CrystalGraph:
        return self.store.gather(indices)


def evaluation_loader(store: AnyStore, batches: EvaluationBatches) -> DataLoader[CrystalGraph]:
    """Batches for validation, test and prediction."""
    return DataLoader(_Batches(store), sampler=batches, **_loader_options(store))


class TrainingLoader(DataLoader[CrystalGraph]):
    """Training batches, gathered in the main process, which needs about 0.005 ms per crystal.

    Args:
        store: Where the crystals are.
        batches: Their places.
        shuffled: Draw batches anew in every epoch.
    """

    def __init__(self, store: AnyStore, batches: TrainingBatches, shuffled: bool = True) -> None:
        sampler = batches if shuffled else _InOrder(batches)
        super().__init__(_Batches(store), sampler=sampler, **_loader_options(store))

    def state_dict(self) -> dict[str, Any]:
        """Tells Lightning that this loader goes on in mid-epoch; the place follows from the trainer's progress."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to restore."""


def _loader_options(store: AnyStore) -> dict[str, Any]:
    pin_memory = torch.cuda.is_available() and isinstance(store, CrystalStore)  # others are on their device already
    # A loader draws a seed whenever its iteration starts; from the global generator, that would make a continued
    # training differ from one that ran through.
    return {"batch_size": None, "pin_memory": pin_memory, "generator": torch.Generator()}
