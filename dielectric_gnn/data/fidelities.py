"""Training on several fidelities: which materials may be used, and how batches are drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.sampling import TrainingBatches
from dielectric_gnn.data.splits import SPLIT_NAMES
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.descriptions import names_array
from dielectric_gnn.utils.errors import InputError


def highest_fidelity_rows(store: CrystalStore) -> NDArray[np.int64]:
    """Positions of the materials of the highest fidelity; all of a store without fidelities."""
    return np.arange(len(store)) if store.fidelities is None else np.flatnonzero(store.fidelities == 0)


def lower_fidelity_rows(
    store: CrystalStore, indices: Mapping[str, NDArray[np.int64]], num: int
) -> list[NDArray[np.int64]]:
    """Positions of the materials of fidelity 1, 2, … that may be used in training.

    Those whose formula occurs in validation or test are left out: the model would otherwise see the composition that it
    is tested on.

    Args:
        store: Materials of several fidelities.
        indices: Positions of the parts of the split.
        num: Number of fidelities; for 1, there are no such materials.

    Raises:
        InputError: The split contains a material of a lower fidelity, or none of a fidelity is left.
    """
    if num == 1:
        return []
    fidelities = np.zeros(len(store), dtype=np.int64) if store.fidelities is None else store.fidelities
    for name in SPLIT_NAMES:
        if (lower := indices[name][fidelities[indices[name]] > 0]).size:
            raise InputError(
                f"the split puts {store.material_ids[lower[0]]!r} into {name}, expected materials of the first source "
                "of Fidelities only; remove it from data.split_ids"
            )
    formulas = names_array(store.formulas)
    allowed = ~np.isin(formulas, formulas[np.concatenate([indices["val"], indices["test"]])])
    rows = [np.flatnonzero(allowed & (fidelities == fidelity)) for fidelity in range(1, num)]
    for fidelity, found in enumerate(rows, start=1):
        if not found.size:
            raise InputError(
                f"no material of fidelity {fidelity} can be used in training: there is none whose formula is not in "
                "validation or test; give a larger set, or drop this source of Fidelities"
            )
    return rows


def describe_fidelities(
    store: CrystalStore, train: NDArray[np.int64], lower: Sequence[NDArray[np.int64]], weights: Sequence[float]
) -> str:
    """One line for the log: materials and share of the samples of every fidelity."""
    total = sum(weights)
    parts = [f"fidelity 0: {train.size} materials, {weights[0] / total:.0%} of the samples"]
    for fidelity, (rows, weight) in enumerate(zip(lower, weights[1:], strict=True), start=1):
        left_out = np.count_nonzero(store.fidelities == fidelity) - rows.size
        parts.append(
            f"fidelity {fidelity}: {rows.size} materials, {weight / total:.0%} of the samples ({left_out} more have a "
            "formula of validation or test and are left out)"
        )
    return "; ".join(parts) + "; validation, test and predictions are of fidelity 0 only"


class FidelityBatches(TrainingBatches):
    """As `TrainingBatches`, with materials of lower fidelities in every epoch.

    An epoch has every material of the highest fidelity once, and a number of samples of each other fidelity that is
    determined by its weight. These are drawn without replacement until every material was drawn, over as many epochs as
    that takes, and then anew; so all of them are drawn equally often. The order depends on seed and epoch alone.

    Args:
        indices: Positions of the materials of the highest fidelity.
        lower: Positions of those of every other fidelity.
        weights: Weight of every fidelity, the highest first.
        batch_size: As for `TrainingBatches`, like the following.
        seed: Seed of shuffles and draws.
        position: Returns the epoch and the number of its next batch.
        rank: Rank of this process.
        world_size: Number of processes.
    """

    def __init__(
        self,
        indices: NDArray[np.int64],
        lower: Sequence[NDArray[np.int64]],
        weights: Sequence[float],
        batch_size: int,
        seed: int,
        position: Callable[[], tuple[int, int]],
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(indices, batch_size, seed, position, rank, world_size)
        self.lower = lower
        self.samples = [max(1, round(indices.size * weight / weights[0])) for weight in weights[1:]]

    def rows_of_epoch(self, epoch: int) -> NDArray[np.int64]:
        """The materials of the highest fidelity, and those that are drawn from the others."""
        drawn = [
            _drawn(rows, num, (self.seed, fidelity), epoch)
            for fidelity, (rows, num) in enumerate(zip(self.lower, self.samples, strict=True), start=1)
        ]
        return np.concatenate([self.indices, *drawn])


def _drawn(rows: NDArray[np.int64], num: int, seed: tuple[int, int], epoch: int) -> NDArray[np.int64]:
    """The draws of an epoch: a section of an endless sequence of permutations of `rows`."""
    places = np.arange(epoch * num, (epoch + 1) * num)
    rounds = range(places[0] // rows.size, places[-1] // rows.size + 1)
    permutations = [np.random.default_rng((*seed, number)).permutation(rows) for number in rounds]
    return np.concatenate(permutations)[places - rounds[0] * rows.size]
