"""Fits of one law by one of two methods.

`published` (arXiv:2602.05702): weighted least squares on the mean over seeds; weights from the population standard
deviation over seeds, as relative weights; AICc from the unweighted residuals.

`robust` (default): least squares on ln L of every run, as training noise is relative; Huber's loss beyond five standard
deviations, so that a diverged run does not bend the law. The standard deviation is that of the seeds, or of the
residuals (from their median) where that is more than twice as large. All runs have the same weight, because three seeds
do not determine a standard deviation well enough for weights.
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
HUBER_STDS = 5.0
"""Residuals beyond this number of standard deviations count linearly."""
EXACT_RESIDUAL = 1e-6
"""If all residuals in ln L are below this, the data have no noise, and the fit is exact."""
_EXCESS_STD_FACTOR = 2.0
"""The standard deviation of the residuals replaces that of the seeds if it is larger by more than this factor; smaller
differences arise by chance."""
_MEDIAN_ABS_NORMAL = 0.6745
"""Median of the absolute value of a standard normal variable."""


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    Args:
        problem: The law and the values that it was fitted to.
        points: The runs that it was fitted to.
        mode: Method of the fit.
        theta: Fitted parameters (k,), in the order and scale of the law.
        objective: Minimised sum.
    """

    problem: Problem
    points: Points
    mode: Mode
    theta: FloatArray
    objective: float

    @property
    def law(self) -> Law:
        """The form of the law."""
        return self.problem.law

    @property
    def parameters(self) -> dict[str, float]:
        """Fitted parameters by name."""
        return self.law.parameters_by_name(self.theta)

    @property
    def at_bounds(self) -> list[str]:
        """Names of the parameters at a bound of the search; a floor of zero does not count."""
        return [
            p.name
            for p, value in zip(self.law.parameters, self.theta, strict=True)
            if min(value - p.low, p.high - value) < 1e-6 and not (value < 1.0 and p.low == 0.0 and p.high == np.inf)
        ]

    @property
    def residuals(self) -> FloatArray:
        """Residuals of L of the means (published), or of ln L of the runs (robust)."""
        value = self.law.log_loss(self.theta, self.problem.x)
        return np.asarray((value if self.problem.deviation is None else np.exp(value)) - self.problem.y)

    @property
    def aicc_denominator(self) -> int:
        """Denominator of the correction in AICc, n − k − 1 for n values and k parameters."""
        return self.problem.y.size - self.theta.size - 1

    @property
    def aicc(self) -> float:
        """Corrected Akaike criterion, 2k + n ln(S/n) + (2k² + 2k)/(n − k − 1), with S as in `deviance`."""
        k = self.theta.size
        if self.aicc_denominator <= 0:
            return float("inf")
        return float(2 * k + self.deviance + (2 * k * k + 2 * k) / self.aicc_denominator)

    @property
    def bic(self) -> float:
        """Bayesian information criterion, k ln n + n ln(S/n)."""
        return float(self.theta.size * np.log(self.problem.y.size) + self.deviance)

    @property
    def deviance(self) -> float:
        """The term n ln(S/n): S is the minimised Huber sum (robust), or the sum of unweighted squares (published)."""
        total = self.objective if self.mode == "robust" else float(self.residuals @ self.residuals)
        n = self.problem.y.size
        return float(n * np.log(max(total, 1e-300) / n))

    def loss(self, *values: object) -> FloatArray:
        """Predicted loss at sizes x, or at N and D."""
        return self.law.loss(self.theta, *values)

    def refitted(self, y: FloatArray) -> Fit:
        """The law fitted to other values y (n,) with the same weights, starting from these parameters."""
        problem = replace(self.problem, y=y)
        theta, objective = solve(problem, [self.theta])
        return replace(self, problem=problem, theta=theta, objective=objective)


def fit(law: Law, data: Points, mode: Mode = "robust") -> Fit:
    """Fit a law from several starting points, and keep the best fit.

    Args:
        law: The form of the law.
        data: The runs.
        mode: Method of the fit, described in the module.

    Raises:
        InputError: There are too few sizes, or in the published mode a size has a single seed.
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
    if not has_seeds(data) or np.abs(residuals).max() < EXACT_RESIDUAL:
        return Fit(problem, data, "robust", theta, objective)
    # The first fit uses the noise of the seeds: its residuals show how far the runs are from the law, without the
    # influence of outliers. The second one uses the standard deviation of these residuals if it is larger.
    noise = std = max(seed_noise(data), EXACT_RESIDUAL)
    has_outliers = False
    for _ in range(2):
        problem = replace(problem, huber=HUBER_STDS * std)
        has_outliers = has_outliers or bool(np.abs(residuals).max() > problem.huber)
        if has_outliers:
            theta, objective = solve(problem, [theta, *starts])
            residuals = problem.residuals(theta)
        residual_std = float(np.median(np.abs(residuals))) / _MEDIAN_ABS_NORMAL
        std = residual_std if residual_std > _EXCESS_STD_FACTOR * noise else noise
    return Fit(problem, data, "robust", theta, objective)


def _fit_published(law: Law, data: Points) -> Fit:
    single = [
        size
        for size, losses in zip(data.sizes, data.losses_by_size, strict=True)
        if losses.size < 2 or not losses.std()
    ]
    if single:
        where = ", ".join(f"{name} = {value:g}" for name, value in zip(data.variables, single[0], strict=True))
        raise InputError(
            f"{data.title}: the published fit weights by the standard deviation over seeds, and {where} has none (one "
            "run, or equal losses); run more seeds, or use the mode robust"
        )
    mean, deviation = (np.array([f(losses) for losses in data.losses_by_size]) for f in (np.mean, np.std))
    problem = Problem(law, np.log(data.sizes), mean, deviation)
    return Fit(problem, data, "published", *solve(problem, _starts(law, problem.x, np.log(mean))))


def has_seeds(data: Points) -> bool:
    """Whether at least one size has several runs."""
    return any(losses.size > 1 for losses in data.losses_by_size)


def seed_noise(data: Points) -> float:
    """Standard deviation of ln L over seeds, from the median over sizes, which is robust against diverged runs.

    Zero if most sizes have equal losses.
    """
    from scipy.special import chdtri

    stds = [
        float(np.log(losses).std(ddof=1) / np.sqrt(chdtri(losses.size - 1, 0.5) / (losses.size - 1)))
        for losses in data.losses_by_size
        if losses.size > 1
    ]
    return float(np.median(stds))


def _starts(law: Law, x: FloatArray, y: FloatArray) -> list[FloatArray]:
    return [np.array(start) for start in law.starts(x, y)]
