"""Means and slopes over materials, with standard errors clustered by formula.

Materials of one formula (polymorphs, or one structure at several volumes) have similar errors, so they are not
independent observations: the sums over formulas are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Estimate(NamedTuple):
    """A value and its standard error, which is NaN for fewer than two formulas."""

    value: float
    error: float


def clustered_mean(values: NDArray[np.float64], groups: Sequence[str]) -> Estimate:
    """Mean of the values that are not NaN, with its standard error clustered by group.

    With the sum of deviations r_g of each of G groups: √(G / (G − 1) Σ_g r_g²) / n.

    Args:
        values: One per material, (D,).
        groups: Group of each material, (D,).
    """
    known = ~np.isnan(values)
    mean = float(values[known].mean()) if known.any() else np.nan
    return Estimate(mean, _clustered_root(values[known] - mean, _numbers(groups, known)) / max(known.sum(), 1))


def clustered_slope(true: NDArray[np.float64], predicted: NDArray[np.float64], groups: Sequence[str]) -> Estimate:
    """Slope of the least-squares line of predicted against true values, with its standard error clustered by group.

    It is 1 for unbiased predictions, and smaller if they are drawn towards the mean.

    Args:
        true: One value per material, (D,); materials without one (NaN) are left out.
        predicted: Likewise.
        groups: Group of each material, (D,).
    """
    known = ~(np.isnan(true) | np.isnan(predicted))
    x = true[known] - true[known].mean() if known.any() else true[known]
    y = predicted[known] - predicted[known].mean() if known.any() else predicted[known]
    if not (squares := float((x**2).sum())) > 0:
        return Estimate(np.nan, np.nan)
    slope = float((x * y).sum()) / squares
    return Estimate(slope, _clustered_root(x * (y - slope * x), _numbers(groups, known)) / squares)


def _numbers(groups: Sequence[str], known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of the group of each known material."""
    return np.unique(np.asarray(groups, dtype=np.str_)[known], return_inverse=True)[1]


def _clustered_root(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """√(G / (G − 1) Σ_g (sum of the values of group g)²); NaN for fewer than two groups."""
    sums = np.bincount(groups, weights=values)
    return float(np.sqrt(sums.size / (sums.size - 1) * (sums**2).sum())) if sums.size > 1 else np.nan
