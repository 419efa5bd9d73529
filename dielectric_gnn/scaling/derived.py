"""Quantities derived from a law in one variable: the size that a loss requires, and the local exponent."""

from __future__ import annotations

import numpy as np

from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.laws import FloatArray, Law
from dielectric_gnn.utils.errors import InputError

_MAX_EXTRAPOLATION = 1e12
"""Largest size that is searched, as a multiple of the largest size of the runs."""
_NUM_GRID_POINTS = 2000
"""Points of the grid on which a crossing is searched, about 50 per decade."""


def required_size(fitted: Fit, target: float) -> float:
    """Smallest size x at which a law in one variable reaches a loss; infinite if it never does.

    The law may rise again beyond a minimum (a broken law with a2 < 0), so the crossing is bracketed on a grid first.

    Args:
        fitted: The law.
        target: The loss.

    Raises:
        InputError: The loss is not positive, or above that of the law at every size of the fit.
    """
    from scipy.optimize import brentq

    sizes = fitted.points.sizes[:, 0]
    if not target > 0:
        raise InputError(f"the target loss is {target:g}, expected more than 0")
    # The search starts at the smallest size, and further left only if the loss is below the target there already. A
    # broken law with a1 < 0 has low losses far left of the data too, which are not meant.
    start = float(sizes.min()) if float(fitted.loss(sizes.min())) > target else float(sizes.min()) / 1e3
    if float(fitted.loss(start)) < target:
        raise InputError(
            f"the target loss {target:g} is reached far below the smallest size of {fitted.points.title} "
            f"({sizes.min():g}); choose a lower target"
        )

    def log_ratio(log_x: float) -> float:
        return float(np.log(fitted.loss(np.exp(log_x)) / target))

    low, high = float(np.log(start)), float(np.log(sizes.max() * _MAX_EXTRAPOLATION))
    grid = np.linspace(low, high, _NUM_GRID_POINTS)
    reached = np.flatnonzero(fitted.loss(np.exp(grid)) <= target)
    if not reached.size:
        return float("inf")
    # At the first point of the grid the loss is not below the target, as was checked above.
    first = max(int(reached[0]), 1)
    return float(np.exp(brentq(log_ratio, grid[first - 1], grid[first], xtol=1e-10)))


def required_sizes(law: Law, theta: FloatArray, target: float, smallest: float, largest: float) -> FloatArray:
    """Smallest size from `smallest` on at which a law reaches a loss, for parameters θ (B, k), (B,); ∞ if none.

    The crossing is interpolated on a grid, which is enough for the quantiles of draws.
    """
    grid = np.linspace(np.log(smallest), np.log(largest * _MAX_EXTRAPOLATION), _NUM_GRID_POINTS)
    excess = law.log_loss(theta, grid[:, None]) - np.log(target)
    place = np.argmax(excess <= 0, axis=1)
    before = np.maximum(place - 1, 0)
    high, low = (np.take_along_axis(excess, at[:, None], axis=1)[:, 0] for at in (before, place))
    share = np.where(high > low, high / np.where(high > low, high - low, 1.0), 0.0)
    found = np.exp(grid[before] + np.clip(share, 0.0, 1.0) * (grid[1] - grid[0]))
    return np.asarray(np.where((excess <= 0).any(axis=1), found, np.inf))


def local_exponent(fitted: Fit, x: np.ndarray) -> np.ndarray:
    """−d ln L / d ln x of a law in one variable at sizes x."""
    step = 1e-4
    above, below = fitted.loss(x * np.exp(step)), fitted.loss(x * np.exp(-step))
    return np.asarray((np.log(below) - np.log(above)) / (2 * step))
