"""How well the data determine a parameter, or what follows from a law.

Profile likelihood: θ_j is moved away from its best value, all others are fitted anew, and the interval ends where the
sum of squares has grown by F₁,ₙ₋ₖ of the residual variance. It knows no straight lines, so it may be lopsided or open,
and it is exact for linear models with few points, where bootstraps are too narrow (D. M. Bates and D. G. Watts,
*Nonlinear Regression Analysis and Its Applications*, Wiley 1988, doi:10.1002/9780470316757).

Bootstrap over seeds: the runs of each size are drawn anew from those there are, with their deviations widened by
√(m / (m − 1)) for m seeds; the law is fitted to every draw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import f as f_distribution

from dielectric_gnn.errors import InputError
from dielectric_gnn.scaling.fitting import HUBER, Fit, fit, has_seeds, minimise, seed_noise
from dielectric_gnn.scaling.laws import FloatArray

LEVEL = 0.9
_EXPANSIONS = 24
_BISECTIONS = 30


@dataclass(frozen=True)
class Interval:
    """A confidence interval; an infinite end means that the data do not bound it there.

    Args:
        low: Lower end.
        high: Upper end.
        level: Probability.
    """

    low: float
    high: float
    level: float = LEVEL

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return f"{_shown(self.low)} to {_shown(self.high)}"


def profile_intervals(best: Fit, level: float = LEVEL) -> dict[str, Interval]:
    """Profile-likelihood interval of every parameter of a robust fit."""
    intervals = {}
    for place, parameter in enumerate(best.law.parameters):
        low, high = (_end(best, place, sign, level) for sign in (-1.0, 1.0))
        if parameter.log10:
            low, high = 10.0**low, (np.inf if high == np.inf else 10.0**high)
        intervals[parameter.name] = Interval(low, high, level)
    return intervals


def threshold(best: Fit, level: float) -> float:
    """Objective at the ends of an interval of one parameter."""
    freedom = max(best.points.log_loss.size - best.theta.size, 1)
    quantile = float(f_distribution.ppf(level, 1, freedom))
    return best.objective * (1.0 + quantile / freedom)


def _end(best: Fit, place: int, sign: float, level: float) -> float:
    """Where the profile of a parameter crosses the threshold, on one side; infinite (or zero) if nowhere."""
    parameter = best.law.parameters[place]
    bound = parameter.low if sign < 0 else parameter.high
    limit, start = threshold(best, level), float(best.theta[place])
    huber = HUBER * seed_noise(best.points) if has_seeds(best.points) else 0.0
    x, y = best.points.logs, best.points.log_loss
    near = [best.theta]

    def excess(value: float) -> float:
        theta, objective = minimise(best.law, x, y, None, huber, near[-1:], fixed=(place, value))
        near.append(theta)
        return objective - limit

    inside, step = start, max(0.02 * abs(start), 0.01)
    for _ in range(_EXPANSIONS):
        outside = start + sign * step
        if sign * (outside - bound) >= 0:
            if not np.isfinite(bound) or excess(bound - sign * 1e-9) <= 0:
                return 0.0 if bound == 0 and not parameter.log10 else sign * np.inf
            outside = bound
            break
        if excess(outside) > 0:
            break
        inside, step = outside, 2.0 * step
    else:
        return sign * np.inf
    for _ in range(_BISECTIONS):
        middle = 0.5 * (inside + outside)
        if excess(middle) > 0:
            outside = middle
        else:
            inside = middle
        if abs(outside - inside) < 1e-3 * max(abs(outside - start), 1e-9):
            break
    return 0.5 * (inside + outside)


def bootstrap(best: Fit, draws: int = 200, seed: int = 0) -> list[Fit]:
    """The law fitted to draws of the seeds.

    Raises:
        InputError: No size has more than one seed.
    """
    data = best.points
    if not has_seeds(data):
        raise InputError(f"{data.title}: a bootstrap over seeds needs more than one seed at some size")
    rng = np.random.default_rng(seed)
    return [fit(best.law, data.with_losses(_draw(best, rng)), best.mode, [best.theta]) for _ in range(draws)]


def bootstrap_interval(draws: list[Fit], quantity: Callable[[Fit], float], level: float = LEVEL) -> Interval:
    """Interval of anything that follows from a law, from fits of `bootstrap`; what is undefined counts as ∞."""
    values = np.array([quantity(draw) for draw in draws])
    values = np.where(np.isnan(values), np.inf, values)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return Interval(float(low), float(high), level)


def _draw(best: Fit, rng: np.random.Generator) -> FloatArray:
    """Losses of all runs, drawn anew size by size."""
    data, drawn = best.points, np.empty(len(best.points.runs))
    for size in data.sizes:
        rows = np.flatnonzero((np.exp(data.logs) / size - 1.0).__abs__().max(axis=1) < 1e-9)
        values = data.log_loss[rows]
        m = values.size
        widened = values.mean() + (values - values.mean()) * (np.sqrt(m / (m - 1)) if m > 1 else 1.0)
        drawn[rows] = np.exp(widened[rng.integers(0, m, size=m)])
    return drawn


def _shown(value: float) -> str:
    return "∞" if value == np.inf else "-∞" if value == -np.inf else f"{value:.3g}"
