"""Fits of a law: the published way, and one that is fit for intervals.

`published` (arXiv:2602.05702): weighted least squares on the mean over seeds; weights from the population standard
deviation over seeds, as relative weights; AICc from the unweighted residuals.

`robust` (default): least squares on ln L of every run, as training noise is relative; Huber's loss beyond five
standard deviations of the seeds, so that a diverged run does not bend the law. All runs count alike: three seeds do not
tell a standard deviation well enough for weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import least_squares
from scipy.stats import chi2

from dielectric_gnn.errors import InputError
from dielectric_gnn.scaling.laws import FloatArray, Law
from dielectric_gnn.scaling.points import Points

Mode = Literal["published", "robust"]
HUBER = 5.0
"""Residuals beyond so many standard deviations count linearly."""
_POLISHED = 3
"""So many of the starting points, the best after a few steps, are followed to the end."""


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    Args:
        law: The form.
        points: What it was fitted to.
        mode: How.
        theta: Parameters (k,), as the law has them.
        objective: Sum of squares that was minimised.
        residuals: Those that AICc and BIC are made of: L of the means (published), ln L of the runs (robust).
    """

    law: Law
    points: Points
    mode: Mode
    theta: FloatArray
    objective: float
    residuals: FloatArray

    @property
    def parameters(self) -> dict[str, float]:
        """By name."""
        return self.law.shown(self.theta)

    @property
    def aicc(self) -> float:
        """Corrected Akaike criterion, 2k + n ln(RSS/n) + (2k² + 2k)/(n − k − 1)."""
        n, k = self.residuals.size, self.theta.size
        return float(2 * k + self._deviance() + (2 * k * k + 2 * k) / (n - k - 1)) if n > k + 1 else float("inf")

    @property
    def bic(self) -> float:
        """Bayesian criterion, k ln n + n ln(RSS/n)."""
        return float(self.theta.size * np.log(self.residuals.size) + self._deviance())

    def loss(self, *values: object) -> FloatArray:
        """Predicted loss at x, or at N and D."""
        return self.law.loss(self.theta, *values)

    def _deviance(self) -> float:
        n = self.residuals.size
        return float(n * np.log(max(float(self.residuals @ self.residuals), 1e-300) / n))


def fit(law: Law, data: Points, mode: Mode = "robust", starts: Sequence[FloatArray] | None = None) -> Fit:
    """Fit a law from several starting points, and keep the best.

    Args:
        law: The form.
        data: The runs.
        mode: See the module.
        starts: Instead of those of the law.

    Raises:
        InputError: Fewer sizes than parameters, or in the published way a size with a single seed.
    """
    if len(data.sizes) <= len(law.parameters):
        raise InputError(
            f"{data.title}: {len(data.sizes)} sizes are too few for the law {law.name}, which has "
            f"{len(law.parameters)} parameters; run at least {len(law.parameters) + 1} sizes, or choose a simpler law"
        )
    if mode == "published":
        return _fit_published(law, data, starts)
    x, y = data.logs, data.log_loss
    scale = HUBER * seed_noise(data) if has_seeds(data) else 0.0
    theta, objective = minimise(law, x, y, None, scale, starts or _starts(law, x, y))
    return Fit(law, data, mode, theta, objective, law.log_loss(theta, x) - y)


def _fit_published(law: Law, data: Points, starts: Sequence[FloatArray] | None) -> Fit:
    single = [
        size for size, losses in zip(data.sizes, data.members, strict=True) if losses.size < 2 or not losses.std()
    ]
    if single:
        where = ", ".join(f"{name} = {value:g}" for name, value in zip(data.variables, single[0], strict=True))
        raise InputError(
            f"{data.title}: the published fit weighs by the spread over seeds, and {where} has none (one run, or equal "
            "losses); run more seeds, or fit with --mode robust"
        )
    mean, deviation = (np.array([f(losses) for losses in data.members]) for f in (np.mean, np.std))
    x = np.log(data.sizes)
    theta, objective = minimise(law, x, mean, deviation, 0.0, starts or _starts(law, x, np.log(mean)))
    return Fit(law, data, "published", theta, objective, np.exp(law.log_loss(theta, x)) - mean)


def minimise(
    law: Law,
    x: FloatArray,
    y: FloatArray,
    deviation: FloatArray | None,
    huber: float,
    starts: Sequence[FloatArray],
    fixed: tuple[int, float] | None = None,
) -> tuple[FloatArray, float]:
    """Least squares from several starting points.

    Args:
        law: The form.
        x: Logarithms of the variables, (n, v).
        y: ln L (n,); with `deviation`, L.
        deviation: Standard deviation of L (n,): then L itself is compared, weighted.
        huber: Where Huber's loss turns linear; 0: nowhere.
        starts: Starting points (k,).
        fixed: A parameter that is held, and its value.

    Returns:
        θ (k,), and the objective: the sum of squares, or Huber's.
    """
    low, high = (np.array([getattr(p, side) for p in law.parameters], dtype=float) for side in ("low", "high"))
    free = np.arange(low.size) if fixed is None else np.delete(np.arange(low.size), fixed[0])

    def whole(part: FloatArray) -> FloatArray:
        theta = np.empty(low.size)
        theta[free] = part
        if fixed is not None:
            theta[fixed[0]] = fixed[1]
        return theta

    def residuals(part: FloatArray) -> FloatArray:
        value = law.log_loss(whole(part), x)
        difference = value - y if deviation is None else (np.exp(value) - y) / deviation
        return np.nan_to_num(difference, nan=1e6, posinf=1e6, neginf=-1e6)

    def descend(part: FloatArray, tolerance: float, evaluations: int | None) -> tuple[float, FloatArray]:
        inside = np.clip(part, low[free] + 1e-9, high[free] - 1e-9)
        if not free.size:
            return float(residuals(inside) @ residuals(inside)), inside
        result = least_squares(
            residuals,
            inside,
            bounds=(low[free], high[free]),
            x_scale="jac",
            loss="huber" if huber else "linear",
            f_scale=huber or 1.0,
            xtol=tolerance,
            ftol=tolerance,
            gtol=tolerance,
            max_nfev=evaluations,
        )
        return 2.0 * float(result.cost), np.asarray(result.x)

    first = sorted((descend(np.asarray(s, dtype=float)[free], 1e-6, 60) for s in starts), key=lambda found: found[0])
    objective, part = min((descend(part, 1e-12, 600) for _, part in first[:_POLISHED]), key=lambda found: found[0])
    return whole(part), objective


def has_seeds(data: Points) -> bool:
    """Whether some size has more than one run."""
    return any(losses.size > 1 for losses in data.members)


def seed_noise(data: Points) -> float:
    """Standard deviation of ln L over seeds, from the median over sizes, which one diverged run does not move."""
    spreads = [
        float(np.log(losses).std(ddof=1) / np.sqrt(chi2.ppf(0.5, losses.size - 1) / (losses.size - 1)))
        for losses in data.members
        if losses.size > 1
    ]
    return max(float(np.median(spreads)), 1e-9)


def _starts(law: Law, x: FloatArray, y: FloatArray) -> list[FloatArray]:
    return [np.array(start) for start in law.starts(x, y)]
