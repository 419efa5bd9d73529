"""Statistics of the training materials, computed before training: mean response, elements, broadening."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.utils.errors import InputError

_ROWS_PER_BLOCK = 1024


def training_statistics(store: CrystalStore, train: NDArray[np.int64]) -> TrainingStatistics:
    """The statistics of the materials at the given positions.

    Raises:
        InputError: The materials have no spectra, or one of them is damaged on disk.
    """
    if store.eps_inter is None or store.drude is None:
        raise InputError("these materials have no spectra to train on; use a source with labels")
    store.check(train)
    # float64 sums: a mean over 10⁵ spectra in float32 would lose digits.
    return TrainingStatistics(
        num_materials=train.size,
        elements=store.elements(train),
        broadening=store.broadening,
        mean_eps_inter=torch.from_numpy(_mean(store.eps_inter, train)).float(),
        mean_drude=torch.tensor(store.drude[train].mean(dtype=np.float64), dtype=torch.float32),
        num_tensors=0 if store.anisotropy is None else int(store.anisotropy.component_mask[train].any(axis=1).sum()),
    )


def _mean(rows: NDArray[np.floating], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of the chosen rows, computed block by block."""
    total = np.zeros(rows.shape[1:])
    for start in range(0, chosen.size, _ROWS_PER_BLOCK):
        total += rows[chosen[start : start + _ROWS_PER_BLOCK]].sum(axis=0, dtype=np.float64)
    return total / chosen.size
