"""What a law says: how much data a loss needs, and where the slope changes."""

from __future__ import annotations

import numpy as np

from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.utils.errors import InputError

_FAR = 1e12
"""Beyond this multiple of the largest size a law is not followed."""
_GRID = 2000
"""Points that look for a crossing, about 50 a decade."""


def needed(fitted: Fit, target: float) -> float:
    """Smallest size x at which a law in one variable falls to a loss; infinite where it never does.

    The law may rise again beyond a minimum (a broken law with a2 < 0), so the crossing is bracketed on a grid first.

    Args:
        fitted: The law.
        target: The loss.

    Raises:
        InputError: The loss is not positive, or above the law's at every size of the fit.
    """
    from scipy.optimize import brentq

    sizes = fitted.points.sizes[:, 0]
    if not target > 0:
        raise InputError(f"the target loss is {target:g}, expected more than 0")
    # From the smallest size on; only if the loss is lower there already, from further left. A broken law with a1 < 0 is
    # low far left of the data too, which answers nothing.
    start = float(sizes.min()) if float(fitted.loss(sizes.min())) > target else float(sizes.min()) / 1e3
    if float(fitted.loss(start)) < target:
        raise InputError(
            f"the target loss {target:g} is reached long before the smallest size of {fitted.points.title} "
            f"({sizes.min():g}); ask for a lower loss"
        )

    def above(log_x: float) -> float:
        return float(np.log(fitted.loss(np.exp(log_x)) / target))

    low, high = float(np.log(start)), float(np.log(sizes.max() * _FAR))
    grid = np.linspace(low, high, _GRID)
    reached = np.flatnonzero(fitted.loss(np.exp(grid)) <= target)
    if not reached.size:
        return float("inf")
    # Not the first point of the grid: there the loss is above the target, or the request was refused.
    first = max(int(reached[0]), 1)
    return float(np.exp(brentq(above, grid[first - 1], grid[first], xtol=1e-10)))


def local_exponent(fitted: Fit, x: np.ndarray) -> np.ndarray:
    """−d ln L / d ln x of a law in one variable at sizes x."""
    step = 1e-4
    above, below = fitted.loss(x * np.exp(step)), fitted.loss(x * np.exp(-step))
    return np.asarray((np.log(below) - np.log(above)) / (2 * step))
