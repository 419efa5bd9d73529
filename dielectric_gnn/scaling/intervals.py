"""Confidence intervals of the parameters of a law, and of quantities derived from it.

Profile likelihood: a parameter, or a quantity that the law determines, is moved away from its best value, all others
are refitted, and the interval ends where the minimised sum has grown by F₁,ᵥ times the variance of the residuals with v
degrees of freedom. It does not assume a linear model, so the interval may be asymmetric or unbounded (D. M. Bates and
D. G. Watts, *Nonlinear Regression Analysis and Its Applications*, Wiley 1988, doi:10.1002/9780470316757). Of a derived
quantity, such as the size that a loss requires, it is the profile of the law with that quantity as a parameter.

Bootstrap: the law is fitted to values drawn around it, with the variance of the means over seeds; since the variance is
an estimate, each draw has its own, from its χ² distribution. For a linear model both intervals are Student's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.laws import FloatArray, Law
from dielectric_gnn.scaling.solver import Constraint, minimise

DEFAULT_LEVEL = 0.9
_MAX_EXPANSIONS = 14
"""Number of times the step away from the best value is doubled in search of the end of an interval."""
_NUM_BISECTIONS = 12
_PROFILE: Mapping[str, Any] = {"iterations": 60, "tolerance": 1e-7}
"""Settings of the solver for a point of a profile, which begins close to its minimum."""
_SLOPE_STEP = 1e-3
"""Step in ln N and ln D of the slopes of a law."""


@dataclass(frozen=True)
class Interval:
    """A confidence interval; an infinite end means that the data do not bound the value on that side.

    Args:
        low: Lower end.
        high: Upper end.
        level: Its probability.
    """

    low: float
    high: float
    level: float = DEFAULT_LEVEL

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{_format_end(self.low)} to {_format_end(self.high)}"

    def exp(self) -> Interval:
        """The interval of the exponential of the value."""
        with np.errstate(over="ignore"):
            return Interval(float(np.exp(self.low)), float(np.exp(self.high)), self.level)


def threshold(best: Fit, level: float) -> float:
    """Value of the objective at the ends of the interval of one parameter."""
    from scipy.special import fdtri

    variance, freedom = best.variance
    return best.objective + variance * float(fdtri(1, freedom, level))


def profile_intervals(best: Fit, level: float = DEFAULT_LEVEL) -> dict[str, Interval]:
    """Profile-likelihood interval of every parameter."""
    parameters = best.law.parameters
    if best.is_exact:
        return {name: Interval(value, value, level) for name, value in best.parameters.items()}
    k = len(parameters)
    places = np.repeat(np.arange(k), 2)
    fixed = places[:, None] == np.arange(k)

    def sums(values: FloatArray, theta: FloatArray, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        theta = np.where(fixed[rows], values[:, None], theta)
        return minimise(best.problem, theta, fixed=fixed[rows], **_PROFILE)

    low, high = best.problem.bounds
    bounds = np.stack([low, high], axis=1).ravel()
    units = np.maximum(0.02 * np.abs(best.theta), 0.01 * best.problem.units)[places]
    ends = _ends(best, level, best.theta[places], units, bounds, sums)
    found = {}
    for parameter, (lower, upper) in zip(parameters, ends.reshape(k, 2), strict=True):
        if parameter.log10:
            lower, upper = 10.0**lower, (np.inf if upper == np.inf else 10.0**upper)
        found[parameter.name] = Interval(float(lower), float(upper), level)
    return found


def profile_interval(
    best: Fit, constraint: Constraint, value: float, level: float = DEFAULT_LEVEL, step: float = 0.02
) -> Interval:
    """Profile-likelihood interval of a quantity q of a law.

    Args:
        best: The fitted law.
        constraint: Function of θ and q that is zero where the law has that q.
        value: q of the fitted law.
        level: Probability of the interval.
        step: First step away from the value.
    """
    if best.is_exact:
        return Interval(value, value, level)

    def sums(values: FloatArray, theta: FloatArray, rows: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        return minimise(best.problem, theta, constraint=(constraint, values), **_PROFILE)

    bounds = np.array([-np.inf, np.inf])
    low, high = _ends(best, level, np.full(2, value), np.full(2, step), bounds, sums)
    return Interval(float(low), float(high), level)


_Sums = Callable[[FloatArray, FloatArray, NDArray[np.intp]], tuple[FloatArray, FloatArray]]
"""Function of values (B,), starts (B, k) and positions of rows (B,) that returns θ (B, k) and minimised sums (B,)."""


def _ends(best: Fit, level: float, start: FloatArray, steps: FloatArray, bounds: FloatArray, sums: _Sums) -> FloatArray:
    """Where profiles cross the threshold: lower ends in even rows, upper ends in odd rows; infinite if nowhere."""
    limit, sign = threshold(best, level), np.tile([-1.0, 1.0], start.size // 2)
    inside, outside = start.copy(), np.full(start.size, np.nan)
    theta = np.repeat(best.theta[None], start.size, axis=0)
    ends = np.full(start.size, np.nan)
    rows = np.flatnonzero(sign * (bounds - start) > 1e-9)
    ends[np.setdiff1d(np.arange(start.size), rows)] = start[sign * (bounds - start) <= 1e-9]
    for doubling in range(_MAX_EXPANSIONS):
        beyond = sign[rows] * (start[rows] + sign[rows] * steps[rows] * 2.0**doubling - bounds[rows]) >= 0
        trial = np.where(beyond, bounds[rows], start[rows] + sign[rows] * steps[rows] * 2.0**doubling)
        finite = np.isfinite(trial)
        found, total = sums(trial, theta[rows], rows)
        crossed = finite & (total > limit)
        outside[rows[crossed]] = trial[crossed]
        within = finite & ~crossed
        inside[rows[within]], theta[rows[within]] = trial[within], found[within]
        ends[rows[within & beyond]] = bounds[rows[within & beyond]]
        rows = rows[within & ~beyond]
        if not rows.size:
            break
    ends[rows] = sign[rows] * np.inf
    _bisect(limit, inside, outside, theta, ends, sums)
    return _open_at_bounds(ends, bounds, sign)


def _bisect(
    limit: float, inside: FloatArray, outside: FloatArray, theta: FloatArray, ends: FloatArray, sums: _Sums
) -> None:
    """Halve the brackets of all ends that are enclosed, and enter the ends."""
    rows = np.flatnonzero(np.isfinite(outside))
    if not rows.size:
        return
    for _ in range(_NUM_BISECTIONS):
        middle = 0.5 * (inside[rows] + outside[rows])
        found, total = sums(middle, theta[rows], rows)
        within = total <= limit
        theta[rows[within]], inside[rows[within]] = found[within], middle[within]
        outside[rows[~within]] = middle[~within]
    ends[rows] = 0.5 * (inside[rows] + outside[rows])


def _open_at_bounds(ends: FloatArray, bounds: FloatArray, sign: FloatArray) -> FloatArray:
    """An end at a bound of the search is open, except a floor of zero."""
    at_bound = np.abs(ends - bounds) < 1e-9
    return np.where(at_bound & (bounds != 0.0), sign * np.inf, ends)


def reaches(law: Law, target: float) -> Constraint:
    """Constraint whose quantity is ln x of the size at which a law in one variable has a loss."""

    def function(theta: FloatArray, log_x: FloatArray) -> FloatArray:
        return own_values(law, theta, log_x[:, None]) - np.log(target)

    return function


def predicts(law: Law, log_x: FloatArray) -> Constraint:
    """Constraint whose quantity is ln L at one size, of logarithm log_x (v,)."""

    def function(theta: FloatArray, log_loss: FloatArray) -> FloatArray:
        return np.asarray(law.log_loss(theta, log_x[None])[..., 0] - log_loss)

    return function


def minimises(law: Law, log_product: float, exponent: float) -> Constraint:
    """Constraint whose quantity is ln N of the lowest loss for N^exponent D of logarithm `log_product`."""

    def function(theta: FloatArray, log_n: FloatArray) -> FloatArray:
        sides = [
            own_values(law, theta, np.stack([n, log_product - exponent * n], axis=1))
            for n in (log_n + _SLOPE_STEP, log_n - _SLOPE_STEP)
        ]
        return (sides[0] - sides[1]) / (2.0 * _SLOPE_STEP)

    return function


def own_values(law: Law, theta: FloatArray, x: FloatArray) -> FloatArray:
    """Ln L of each θ (..., B, k) at its own size x (B, v), (..., B)."""
    return np.asarray(np.diagonal(law.log_loss(theta, x), axis1=-2, axis2=-1))


def bootstrap(best: Fit, draws: int = 200, seed: int = 0) -> FloatArray:
    """Parameters of the law fitted to bootstrap draws, (draws, k)."""
    rng = np.random.default_rng(seed)
    scatter = draw_stds(best, draws, rng) * best.problem.scale * rng.standard_normal((draws, best.num_values))
    expected = best.law.log_loss(best.theta, best.problem.x)
    y = (np.exp(expected) if best.problem.of_loss else expected) + scatter
    problem = replace(best.problem, huber=np.inf)
    return minimise(problem, np.repeat(best.theta[None], draws, axis=0), y=y, iterations=60, tolerance=1e-6)[0]


def draw_stds(best: Fit, draws: int, rng: np.random.Generator) -> FloatArray:
    """Standard deviation of the scaled residuals of each bootstrap draw (draws, 1)."""
    variance, freedom = best.variance
    return np.asarray(np.sqrt(variance * freedom / rng.chisquare(freedom, (draws, 1))))


def quantile_interval(values: FloatArray, level: float = DEFAULT_LEVEL) -> Interval:
    """Interval of a quantity from its values of the draws (draws,); NaN counts as ∞."""
    values = np.where(np.isnan(values), np.inf, values)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Interval(float(low), float(high), level)


def bootstrap_intervals(law: Law, draws: FloatArray, level: float = DEFAULT_LEVEL) -> dict[str, Interval]:
    """Bootstrap interval of every parameter."""
    found = {}
    for parameter, values in zip(law.parameters, draws.T, strict=True):
        found[parameter.name] = quantile_interval(10.0**values if parameter.log10 else values, level)
    return found


def _format_end(value: float) -> str:
    return "∞" if value == np.inf else "-∞" if value == -np.inf else f"{value:.3g}"
