"""Scale of the noise that all laws of a comparison share: weights of the sizes, and the limit of Huber's loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dielectric_gnn.scaling.laws import FloatArray, Law
from dielectric_gnn.scaling.noise import Samples, variance_ratio
from dielectric_gnn.scaling.solver import Problem, solve

_HUBER_STDS = 5.0
"""Deviations of a size beyond this number of standard deviations count linearly."""
_HUBER_STDS_MANY = 0.7
"""The same for many sizes, where the efficiency of the mean matters less than the heavy tails of collected losses."""
_MANY_SIZES = 50
"""Number of sizes beyond the parameters of a law from which on there are many."""
_MEDIAN_ABS_NORMAL = 0.6745
"""Median of the absolute value of a standard normal variable."""
_NUM_SCALE_STEPS = 4


@dataclass(frozen=True)
class Noise:
    """Noise that all laws of a comparison share.

    Args:
        ratio: λ, variance between sizes divided by that of a seed.
        sigma: Standard deviation σ of a seed, or of a size if there is one seed per size.
        huber: Deviation in units of σ beyond which Huber's loss is linear.
    """

    ratio: float
    sigma: float
    huber: float


def start_points(law: Law, x: FloatArray, y: FloatArray) -> list[FloatArray]:
    """Starting points of a fit (k,)."""
    return [np.array(start) for start in law.starts(x, y)]


def estimate_noise(laws: Sequence[Law], samples: Samples) -> Noise:
    """Noise from the law that leaves the smallest scatter, so that all laws have the same scale.

    The scale begins with that of the seeds or of least squares and follows the median of the residuals, so that a size
    far off does not determine it.
    """
    found = [_noise_of(law, samples) for law in laws if len(law.parameters) + 2 <= samples.num_sizes]
    return min(found, key=lambda one: one.sigma * np.sqrt(1.0 + one.ratio))


def _noise_of(law: Law, samples: Samples) -> Noise:
    freedom = samples.num_sizes - len(law.parameters)
    huber = _HUBER_STDS_MANY if freedom >= _MANY_SIZES else _HUBER_STDS
    starts, scale = start_points(law, samples.x, samples.y), samples.scale(0.0)
    problem, previous = Problem(law, samples.x, samples.y, scale), np.inf
    theta, _ = solve(problem, starts)
    for _ in range(_NUM_SCALE_STEPS):
        sigma = max(np.sqrt(samples.seed_variance), _robust_scale(problem.residuals(theta), len(law.parameters)), 1e-14)
        if abs(sigma - previous) < 1e-3 * sigma or np.abs(problem.residuals(theta)).max() <= huber * sigma:
            break
        previous, problem = sigma, replace(problem, huber=huber * sigma)
        theta, _ = solve(problem, [theta])
    squares = problem.rho(problem.residuals(theta)) * scale**2
    ratio, variance = variance_ratio(samples, squares, len(law.parameters))
    return Noise(ratio, float(np.sqrt(variance)) if samples.freedom_within else float(sigma), huber)


def _robust_scale(residuals: FloatArray, num_parameters: int) -> float:
    """Standard deviation from the median residual; as many as the law has parameters may vanish, and are left out."""
    return float(np.median(np.sort(np.abs(residuals))[num_parameters:])) / _MEDIAN_ABS_NORMAL
