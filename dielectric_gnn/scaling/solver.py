"""Least-squares solver for a law, from several starting points, optionally with Huber's loss for outliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dielectric_gnn.scaling.laws import FloatArray, Law

_NUM_POLISHED_STARTS = 3
"""Number of starting points, the best ones after a few steps, whose fits are continued to convergence."""


@dataclass(frozen=True)
class Problem:
    """A law and the values that it is fitted to.

    Args:
        law: The form of the law.
        x: Logarithms of the variables, (n, v).
        y: ln L (n,); with `deviation`, L.
        deviation: Standard deviations of L (n,), with which L itself is fitted, weighted; None fits ln L.
        huber: Residual beyond which Huber's loss is linear; 0 is least squares.
    """

    law: Law
    x: FloatArray
    y: FloatArray
    deviation: FloatArray | None = None
    huber: float = 0.0

    def residuals(self, theta: FloatArray) -> FloatArray:
        """Residuals (n,)."""
        value = self.law.log_loss(theta, self.x)
        if self.deviation is None:
            difference = value - self.y
        else:
            with np.errstate(over="ignore"):
                difference = (np.exp(value) - self.y) / self.deviation
        return np.nan_to_num(difference, nan=1e6, posinf=1e6, neginf=-1e6)


def solve(
    problem: Problem, starts: Sequence[FloatArray], fixed: tuple[int, float] | None = None
) -> tuple[FloatArray, float]:
    """Minimise the sum of squares, or Huber's sum.

    Args:
        problem: The law and the values.
        starts: Starting points (k,); a single one is assumed to be near the minimum, and the tolerance is larger.
        fixed: Position of a parameter that is held constant, and its value.

    Returns:
        Parameters θ (k,), and the minimised objective.
    """
    from scipy.optimize import least_squares

    parameters = problem.law.parameters
    low, high = (np.array([getattr(p, side) for p in parameters], dtype=float) for side in ("low", "high"))
    free = np.arange(low.size) if fixed is None else np.delete(np.arange(low.size), fixed[0])

    def with_fixed(part: FloatArray) -> FloatArray:
        theta = np.empty(low.size)
        theta[free] = part
        if fixed is not None:
            theta[fixed[0]] = fixed[1]
        return theta

    def residuals(part: FloatArray) -> FloatArray:
        return problem.residuals(with_fixed(part))

    def descend(part: FloatArray, tolerance: float, evaluations: int) -> tuple[float, FloatArray]:
        result = least_squares(
            residuals,
            np.clip(part, low[free] + 1e-9, high[free] - 1e-9),
            bounds=(low[free], high[free]),
            x_scale="jac",
            loss="huber" if problem.huber else "linear",
            f_scale=problem.huber or 1.0,
            xtol=tolerance,
            ftol=tolerance,
            gtol=tolerance,
            max_nfev=evaluations,
        )
        return 2.0 * float(result.cost), np.asarray(result.x)

    parts = [np.asarray(start, dtype=float)[free] for start in starts]
    if len(parts) == 1:
        objective, part = descend(parts[0], 1e-8, 200)
    else:
        tried = sorted((descend(part, 1e-6, 60) for part in parts), key=lambda found: found[0])
        polished = (descend(part, 1e-12, 600) for _, part in tried[:_NUM_POLISHED_STARTS])
        objective, part = min(polished, key=lambda found: found[0])
    return with_fixed(part), objective
