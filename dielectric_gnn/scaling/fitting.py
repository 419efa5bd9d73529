"""Fits of one law by one of two methods.

`published` (arXiv:2602.05702): weighted least squares on the mean over seeds; weights from the population standard
deviation over seeds, as relative weights; AICc from the unweighted residuals.

`robust` (default): ln L, as training noise is relative. The law is fitted to the means over seeds, weighted by their
variances, which have a component within sizes and one between them (`noise`). Huber's loss limits the influence of a
size that deviates by more than others; its scale is the same for all laws of a comparison. AICc counts sizes, not runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dielectric_gnn.scaling.laws import FloatArray, Law
from dielectric_gnn.scaling.noise import Samples, deviance, summarise
from dielectric_gnn.scaling.points import Points
from dielectric_gnn.scaling.shared_noise import Noise, estimate_noise, start_points
from dielectric_gnn.scaling.solver import Problem, solve
from dielectric_gnn.utils.errors import InputError

Mode = Literal["published", "robust"]
EXACT_RESIDUAL = 1e-6
"""If all residuals in ln L are below this, the data have no noise, and the fit is exact."""


@dataclass(frozen=True)
class Fit:
    """A fitted law.

    Args:
        problem: The law and the values that it was fitted to.
        points: The runs that it was fitted to.
        mode: Method of the fit.
        theta: Fitted parameters (k,), in the order and scale of the law.
        objective: Minimised sum.
        samples: The losses by size.
        noise: Noise that set the weights; None in the published mode.
    """

    problem: Problem
    points: Points
    mode: Mode
    theta: FloatArray
    objective: float
    samples: Samples
    noise: Noise | None = None

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
            if not p.is_floor and min(value - p.low, p.high - value) < 1e-6
        ]

    @property
    def residuals(self) -> FloatArray:
        """Residuals of L (published) or of ln L (robust), of the means over seeds (m,)."""
        return np.asarray(self.problem.residuals(self.theta) * self.problem.scale)

    @property
    def is_exact(self) -> bool:
        """Whether the data have no noise."""
        return bool(
            np.abs(self.residuals).max() < EXACT_RESIDUAL and np.sqrt(self.samples.squares.max()) < EXACT_RESIDUAL
        )

    @property
    def num_values(self) -> int:
        """Number of fitted values: sizes."""
        return self.problem.y.size

    @property
    def freedom(self) -> int:
        """Degrees of freedom between sizes: sizes minus parameters."""
        return self.num_values - self.theta.size

    @property
    def variance(self) -> tuple[float, float]:
        """Variance of the scaled residuals, and its degrees of freedom.

        The scatter of the seeds is pooled with that of the sizes around the law unless the latter is larger: then there
        is a variance between sizes, and they alone determine it.
        """
        if not self.freedom:
            return self.samples.seed_variance, self.samples.freedom_within
        between = self.dispersion / self.freedom
        has_variance_between = between > self.samples.seed_variance or (self.noise is not None and self.noise.ratio > 0)
        if self.mode == "published" or not self.samples.freedom_within or has_variance_between:
            return between, self.freedom
        freedom = self.freedom + self.samples.freedom_within
        return (self.dispersion + self.samples.within) / freedom, freedom

    @property
    def dispersion(self) -> float:
        """Sum of squares of the scaled residuals that agrees with intervals from the growth of the objective.

        The objective itself for least squares; with Huber's loss Σ ψ² / mean ψ' (E. Ronchetti 1982, in F. R. Hampel et
        al., *Robust Statistics*, doi:10.1002/9781118186435, section 7.3).
        """
        if not np.isfinite(self.problem.huber):
            return self.objective
        size = np.abs(self.problem.residuals(self.theta))
        inside = float((size <= self.problem.huber).mean())
        return float((np.minimum(size, self.problem.huber) ** 2).sum() / max(inside, 1e-3))

    @property
    def aicc(self) -> float:
        """Corrected Akaike criterion, 2k + d + (2k² + 2k)/(n − k − 1) for n sizes, with d as in `deviance`."""
        k = self.theta.size
        return float(2 * k + self.deviance + (2 * k * k + 2 * k) / (self.freedom - 1))

    @property
    def bic(self) -> float:
        """Bayesian information criterion, k ln n + d."""
        return float(self.theta.size * np.log(self.num_values) + self.deviance)

    @property
    def deviance(self) -> float:
        """−2 ln of the maximised likelihood, up to a constant.

        Robust: of seeds and sizes, with Huber's loss instead of squares. Published: n ln(S/n), S being the sum of the
        unweighted squares of the means.
        """
        n = self.num_values
        if self.mode == "published":
            return float(n * np.log(max(float(self.residuals @ self.residuals), 1e-300) / n))
        squares = self.problem.rho(self.problem.residuals(self.theta)) * self.problem.scale**2
        return deviance(self.samples, squares)

    def loss(self, *values: object) -> FloatArray:
        """Predicted loss at sizes x, or at N and D."""
        return self.law.loss(self.theta, *values)


def fit(law: Law, data: Points, mode: Mode = "robust", noise: Noise | None = None) -> Fit:
    """Fit a law from several starting points, and keep the best fit.

    Args:
        law: The form of the law.
        data: The runs.
        mode: Method of the fit, described in the module.
        noise: Noise in the robust mode; None estimates it from the residuals of this law.

    Raises:
        InputError: There are too few sizes, or in the published mode a size has a single seed.
    """
    check_enough_sizes(law, data)
    if mode == "published":
        return _fit_published(law, data)
    samples = summarise(data)
    return fit_samples(law, data, samples, noise or estimate_noise((law,), samples))


def fit_all(laws: Sequence[Law], data: Points, mode: Mode) -> list[Fit]:
    """Fits of several laws with the noise that they share."""
    if mode == "published":
        return [fit(law, data, mode) for law in laws]
    samples = summarise(data)
    noise = estimate_noise(laws, samples)
    return [fit_samples(law, data, samples, noise) for law in laws]


def check_enough_sizes(law: Law, data: Points) -> None:
    """Check that AICc is finite.

    Raises:
        InputError: There are fewer sizes than parameters plus two.
    """
    required = len(law.parameters) + 2
    if len(data.sizes) < required:
        raise InputError(
            f"{data.title}: {len(data.sizes)} sizes are too few for the law {law.name}, which has "
            f"{len(law.parameters)} parameters; run at least {required} sizes, or choose a simpler law"
        )


def fit_samples(law: Law, data: Points, samples: Samples, noise: Noise, start: FloatArray | None = None) -> Fit:
    """Fit a law to losses by size with known noise."""
    problem = Problem(law, samples.x, samples.y, samples.scale(noise.ratio), huber=noise.huber * noise.sigma)
    starts = start_points(law, samples.x, samples.y) + ([] if start is None else [start])
    theta, objective = solve(problem, starts)
    return Fit(problem, data, "robust", theta, objective, samples, noise)


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
    problem = Problem(law, np.log(data.sizes), mean, deviation, of_loss=True)
    theta, objective = solve(problem, start_points(law, problem.x, np.log(mean)))
    return Fit(problem, data, "published", theta, objective, summarise(data))
