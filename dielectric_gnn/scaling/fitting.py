"""Fits of a law: the published way, and one that is fit for intervals.

`published` (arXiv:2602.05702): weighted least squares on the mean over seeds; weights from the population standard
deviation over seeds, as relative weights; AICc from the unweighted residuals.

`robust` (default): least squares on ln L of every run, as training noise is relative; Huber's loss beyond five standard
deviations, so that a diverged run does not bend the law. The standard deviation is that of the seeds, or of the
residuals (from their median) where that is clearly
larger. All runs count alike: three seeds do not tell a standard deviation
well enough for weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dielectric_gnn.scaling.laws import FloatArray, Law
from dielectric_gnn.scaling.points import Points
from dielectric_gnn.scaling.solver import Problem, solve
from dielectric_gnn.utils.errors import InputError

Mode = Literal["published", "robust"]
HUBER = 5.0
"""Residuals beyond so many standard deviations count linearly."""
EXACT = 1e-6
"""A law that is as close as this to every run, in ln L, has no noise to be robust against."""
_CLEARLY = 2.0
"""Standard deviations of a few seeds and of a few residuals differ by less than this factor by chance."""
_MEDIAN_OF_NORMAL = 0.6745


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    Args:
        problem: The law and what it was compared with.
        points: The runs behind it.
        mode: How.
        theta: Parameters (k,), as the law has them.
        objective: Sum that was minimised.
    """

    problem: Problem
    points: Points
    mode: Mode
    theta: FloatArray
    objective: float

    @property
    def law(self) -> Law:
        """The form."""
        return self.problem.law

    @property
    def parameters(self) -> dict[str, float]:
        """By name."""
        return self.law.shown(self.theta)

    @property
    def at_bounds(self) -> list[str]:
        """Parameters that stand where the search ends, not where the data put them; a floor of zero is none."""
        return [
            p.name
            for p, value in zip(self.law.parameters, self.theta, strict=True)
            if min(value - p.low, p.high - value) < 1e-6 and not (value < 1.0 and p.low == 0.0 and p.high == np.inf)
        ]

    @property
    def residuals(self) -> FloatArray:
        """Of L of the means (published), or of ln L of the runs (robust)."""
        value = self.law.log_loss(self.theta, self.problem.x)
        return np.asarray((value if self.problem.deviation is None else np.exp(value)) - self.problem.y)

    @property
    def freedom(self) -> int:
        """N − k − 1, by which the correction in AICc divides."""
        return self.problem.y.size - self.theta.size - 1

    @property
    def aicc(self) -> float:
        """Corrected Akaike criterion, 2k + n ln(S/n) + (2k² + 2k)/(n − k − 1), S the sum that `deviance` names."""
        k = self.theta.size
        return float(2 * k + self.deviance + (2 * k * k + 2 * k) / self.freedom) if self.freedom > 0 else float("inf")

    @property
    def bic(self) -> float:
        """Bayesian criterion, k ln n + n ln(S/n)."""
        return float(self.theta.size * np.log(self.problem.y.size) + self.deviance)

    @property
    def deviance(self) -> float:
        """N ln(S/n): S is Huber's sum that was minimised (robust), or that of the unweighted squares (published)."""
        total = self.objective if self.mode == "robust" else float(self.residuals @ self.residuals)
        n = self.problem.y.size
        return float(n * np.log(max(total, 1e-300) / n))

    def loss(self, *values: object) -> FloatArray:
        """Predicted loss at x, or at N and D."""
        return self.law.loss(self.theta, *values)

    def again(self, y: FloatArray) -> Fit:
        """The law fitted to other values y (n,) of the problem, with the same weights, from here."""
        problem = replace(self.problem, y=y)
        theta, objective = solve(problem, [self.theta])
        return replace(self, problem=problem, theta=theta, objective=objective)


def fit(law: Law, data: Points, mode: Mode = "robust") -> Fit:
    """Fit a law from several starting points, and keep the best.

    Args:
        law: The form.
        data: The runs.
        mode: See the module.

    Raises:
        InputError: Fewer sizes than parameters, or in the published way a size with a single seed.
    """
    if len(data.sizes) <= len(law.parameters):
        raise InputError(
            f"{data.title}: {len(data.sizes)} sizes are too few for the law {law.name}, which has "
            f"{len(law.parameters)} parameters; run at least {len(law.parameters) + 1} sizes, or choose a simpler law"
        )
    return _fit_published(law, data) if mode == "published" else _fit_robust(law, data)


def _fit_robust(law: Law, data: Points) -> Fit:
    problem = Problem(law, data.logs, data.log_loss)
    starts = _starts(law, problem.x, problem.y)
    theta, objective = solve(problem, starts)
    residuals = problem.residuals(theta)
    if not has_seeds(data) or np.abs(residuals).max() < EXACT:
        return Fit(problem, data, "robust", theta, objective)
    # Huber's loss at the noise of the seeds first: it shows how far the runs are from the law, bent by none of them.
    noise = spread = max(seed_noise(data), EXACT)
    bent = False
    for _ in range(2):
        problem = replace(problem, huber=HUBER * spread)
        bent = bent or bool(np.abs(residuals).max() > problem.huber)
        if bent:
            theta, objective = solve(problem, [theta, *starts])
            residuals = problem.residuals(theta)
        typical = float(np.median(np.abs(residuals))) / _MEDIAN_OF_NORMAL
        spread = typical if typical > _CLEARLY * noise else noise
    return Fit(problem, data, "robust", theta, objective)


def _fit_published(law: Law, data: Points) -> Fit:
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
    problem = Problem(law, np.log(data.sizes), mean, deviation)
    return Fit(problem, data, "published", *solve(problem, _starts(law, problem.x, np.log(mean))))


def has_seeds(data: Points) -> bool:
    """Whether some size has more than one run."""
    return any(losses.size > 1 for losses in data.members)


def seed_noise(data: Points) -> float:
    """Standard deviation of ln L over seeds, from the median over sizes, which one diverged run does not move.

    Zero if most sizes have equal losses.
    """
    from scipy.special import chdtri

    spreads = [
        float(np.log(losses).std(ddof=1) / np.sqrt(chdtri(losses.size - 1, 0.5) / (losses.size - 1)))
        for losses in data.members
        if losses.size > 1
    ]
    return float(np.median(spreads))


def _starts(law: Law, x: FloatArray, y: FloatArray) -> list[FloatArray]:
    return [np.array(start) for start in law.starts(x, y)]
