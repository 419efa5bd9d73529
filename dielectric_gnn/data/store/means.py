"""Statistics of the training materials, computed before training: mean response, elements, broadening, coverage."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.store.coverage import training_coverage
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
    mean, num_real = _mean(store.eps_inter, train)
    drude = store.drude[train].astype(np.float64)
    known = drude[~np.isnan(drude)]
    return TrainingStatistics(
        num_materials=train.size,
        elements=store.elements(train),
        broadening=store.broadening,
        mean_eps_inter=torch.from_numpy(mean).float(),
        mean_drude=torch.tensor(known.mean() if known.size else np.nan, dtype=torch.float32),
        num_tensors=0 if store.anisotropy is None else int(store.anisotropy.component_mask[train].any(axis=1).sum()),
        num_real=num_real,
        num_drude=known.size,
        num_zero_drude=int((known == 0).sum()),
        coverage=training_coverage(store, train),
    )


def _mean(spectra: NDArray[np.floating], chosen: NDArray[np.int64]) -> tuple[NDArray[np.float64], int]:
    """Mean of the chosen spectra (W, 2), each part over those that have it, and the number of those with a real part.

    The sums are float64: a mean over 10⁵ spectra in float32 would lose digits.
    """
    total, num_real = np.zeros(spectra.shape[1:]), 0
    for start in range(0, chosen.size, _ROWS_PER_BLOCK):
        block = spectra[chosen[start : start + _ROWS_PER_BLOCK]]
        has_real = ~np.isnan(block[..., 0]).all(axis=1)
        total[:, 0] += block[has_real, :, 0].sum(axis=0, dtype=np.float64)
        total[:, 1] += block[..., 1].sum(axis=0, dtype=np.float64)
        num_real += int(has_real.sum())
    with np.errstate(invalid="ignore"):  # 0 / 0 without any real part
        return total / [num_real, chosen.size], num_real
