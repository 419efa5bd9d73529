"""Confidence intervals of the parameters of a law, and of quantities derived from it.

Profile likelihood: θ_j is moved away from its best value, all other parameters are refitted, and the interval ends
where the sum of squares has grown by F₁,ₙ₋ₖ times the residual variance. It does not assume a linear model, so the
interval may be asymmetric or unbounded; for linear models it is exact with few points, where bootstraps are too narrow
(D. M. Bates and D. G. Watts,
*Nonlinear Regression Analysis and Its Applications*, Wiley 1988, doi:10.1002/9780470316757).

Bootstrap over seeds: the runs of each size are resampled with replacement, their deviations from the mean multiplied by
√(m / (m − 1)) for m seeds; the law is fitted to every draw, with the weights of the fit to the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.scaling.fitting import EXACT_RESIDUAL, Fit, has_seeds
from dielectric_gnn.scaling.laws import FloatArray
from dielectric_gnn.scaling.solver import solve
from dielectric_gnn.utils.errors import InputError

DEFAULT_LEVEL = 0.9
_MAX_EXPANSIONS = 24
"""Number of times the step away from the best value is doubled in search of the end of an interval."""


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


def profile_intervals(best: Fit, level: float = DEFAULT_LEVEL) -> dict[str, Interval]:
    """Profile-likelihood interval of every parameter."""
    intervals = {}
    for place, parameter in enumerate(best.law.parameters):
        low, high = (_end(best, place, sign, level) for sign in (-1.0, 1.0))
        if parameter.log10:
            low, high = 10.0**low, (np.inf if high == np.inf else 10.0**high)
        intervals[parameter.name] = Interval(low, high, level)
    return intervals


def threshold(best: Fit, level: float) -> float:
    """Value of the objective at the ends of the interval of one parameter."""
    from scipy.special import fdtri

    freedom = max(best.problem.y.size - best.theta.size, 1)
    return best.objective * (1.0 + float(fdtri(1, freedom, level)) / freedom)


def _end(best: Fit, place: int, sign: float, level: float) -> float:
    """Where the profile of a parameter crosses the threshold on one side; infinite (or a zero bound) if nowhere."""
    from scipy.optimize import brentq

    parameter = best.law.parameters[place]
    bound = parameter.low if sign < 0 else parameter.high
    limit, start = threshold(best, level), float(best.theta[place])
    if np.abs(best.residuals).max() < EXACT_RESIDUAL:
        return start
    near = [best.theta]

    # Cached: from another start the same value may give another minimum, and then the search would lose its crossing.
    @cache
    def excess(value: float) -> float:
        theta, objective = solve(best.problem, near[-1:], (place, value))
        near.append(theta)
        return objective - limit

    if excess(start) >= 0:
        return start
    inside, step = start, max(0.02 * abs(start), 0.01)
    for _ in range(_MAX_EXPANSIONS):
        outside = start + sign * step
        if sign * (outside - bound) >= 0:
            outside = bound - sign * 1e-9
            if not np.isfinite(bound) or excess(outside) <= 0:
                return 0.0 if bound == 0 and not parameter.log10 else sign * np.inf
            break
        if excess(outside) > 0:
            break
        inside, step = outside, 2.0 * step
    else:
        return sign * np.inf
    return float(brentq(excess, inside, outside, xtol=1e-3 * max(abs(outside - start), 1e-9)))


def bootstrap(best: Fit, draws: int = 200, seed: int = 0) -> list[Fit]:
    """Fit the law to bootstrap draws of the seeds.

    Raises:
        InputError: No size has more than one seed.
    """
    data = best.points
    if not has_seeds(data):
        raise InputError(f"{data.title}: a bootstrap over seeds needs more than one seed at some size")
    rng = np.random.default_rng(seed)
    rows = _rows(best)
    found = []
    for _ in range(draws):
        log_loss = _draw(data.log_loss, rows, rng)
        means = np.array([np.exp(log_loss[own]).mean() for own in rows])
        found.append(best.refitted(means if best.mode == "published" else log_loss))
    return found


def bootstrap_interval(
    draws: Sequence[Fit], quantity: Callable[[Fit], float], level: float = DEFAULT_LEVEL
) -> Interval:
    """Interval of a quantity that follows from a law, from the fits of `bootstrap`; NaN counts as ∞."""
    values = np.array([quantity(draw) for draw in draws])
    values = np.where(np.isnan(values), np.inf, values)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Interval(float(low), float(high), level)


def bootstrap_intervals(draws: Sequence[Fit], level: float = DEFAULT_LEVEL) -> dict[str, Interval]:
    """Bootstrap interval of every parameter; empty without draws."""
    names = draws[0].parameters if draws else ()
    return {name: bootstrap_interval(draws, partial(_parameter, name), level) for name in names}


def _parameter(name: str, draw: Fit) -> float:
    return draw.parameters[name]


def _rows(best: Fit) -> list[NDArray[np.intp]]:
    """Positions of the runs at each size."""
    which = np.unique(best.points.logs, axis=0, return_inverse=True)[1].ravel()
    return [np.flatnonzero(which == size) for size in range(which.max() + 1)]


def _draw(log_loss: FloatArray, rows: Sequence[NDArray[np.intp]], rng: np.random.Generator) -> FloatArray:
    """Resampled ln L of all runs, size by size."""
    drawn = np.empty_like(log_loss)
    for own in rows:
        values, m = log_loss[own], own.size
        rescaled = values.mean() + (values - values.mean()) * (np.sqrt(m / (m - 1)) if m > 1 else 1.0)
        drawn[own] = rescaled[rng.integers(0, m, size=m)]
    return drawn


def _format_end(value: float) -> str:
    return "∞" if value == np.inf else "-∞" if value == -np.inf else f"{value:.3g}"
