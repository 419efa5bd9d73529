"""Where the training set of a model lies in composition and density."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.composition import standardisation, stored_descriptors
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.descriptions import names_array
from dielectric_gnn.targets.training_statistics import Coverage

_MAX_POINTS = 1000
"""Materials kept; of a larger training set as many are drawn at random, always the same."""
_LIMIT_SHARE = 0.98
"""Share of the training materials whose distance to the nearest one of another formula is below the limit."""


def training_coverage(store: CrystalStore, train: NDArray[np.int64]) -> Coverage | None:
    """Coverage of the materials at the given positions; None if all of them have one formula."""
    if train.size > _MAX_POINTS:
        train = np.sort(np.random.default_rng(0).permutation(train)[:_MAX_POINTS])
    formulas = names_array(store.formulas)[train]
    if np.unique(formulas).size < 2:
        return None
    descriptors = stored_descriptors(store, train)
    centre, scale = (part.float() for part in standardisation(descriptors))
    points = (descriptors - centre) * scale
    distances = torch.cdist(points, points, p=1) / scale.count_nonzero()
    distances[torch.from_numpy(formulas[:, None] == formulas[None, :])] = torch.inf
    limit = float(distances.amin(dim=1).quantile(_LIMIT_SHARE))
    return Coverage(points, centre, scale, limit)
