"""Noise of the losses: scatter of the seeds within a size, and a variance component between sizes.

ln L of run j at size i is f(x_i) + b_i + e_ij. The deviation b_i, of variance τ², is shared by all seeds of a size:
they are trained on the same subset. The deviation e_ij is that of a seed, of variance σ² h_i. A law is fitted to the
means over seeds, whose variance is (σ² h_i + n_i τ²) / n_i; with one seed per size only the sum of both can be
estimated.
σ² and λ = τ²/σ² follow from restricted maximum likelihood (D. A. Harville 1977, doi:10.1080/01621459.1977.10480998).
The number of sizes, not that of runs, limits what can be known about a law.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from dielectric_gnn.scaling.laws import FloatArray
from dielectric_gnn.scaling.points import Points

OUTLIER_STDS = 8.0
"""A run further away than this number of standard deviations of the seeds is an outlier, unless most seeds of its size
are. The scatter may differ between sizes by a factor of a few, so that a smaller number would reject sound runs."""
_SPREAD_OF_LOG_VARIANCE = 2.5
"""Standard deviation of the prior of how much the logarithm of the variance of the seeds changes over all sizes: a
factor of 3.5 in the standard deviation. Two or three seeds per size alone do not determine it."""
_TINY = 1e-28
"""Variance of ln L that replaces zero."""
_RATIOS = np.concatenate([[0.0], np.geomspace(1e-3, 1e5, 161)])
"""Values of λ on which the likelihood is searched."""


@dataclass(frozen=True)
class Samples:
    """Losses by size.

    Args:
        x: Logarithms of the variables (m, v).
        y: Mean over the seeds of ln L (m,), without outliers.
        counts: Number of these seeds (m,).
        squares: Sum of their squared deviations from the mean (m,).
        shape: Relative variance of the seeds h (m,), with the mean of its logarithm zero.
    """

    x: FloatArray
    y: FloatArray
    counts: FloatArray
    squares: FloatArray
    shape: FloatArray = field(repr=False)

    @property
    def num_sizes(self) -> int:
        """Number of sizes m."""
        return self.y.size

    @property
    def num_runs(self) -> float:
        """Number of runs."""
        return float(self.counts.sum())

    @property
    def within(self) -> float:
        """Sum of squares within sizes, each divided by h."""
        return float((self.squares / self.shape).sum())

    @property
    def freedom_within(self) -> float:
        """Degrees of freedom within sizes: runs minus sizes."""
        return self.num_runs - self.num_sizes

    @property
    def seed_variance(self) -> float:
        """Variance σ² of the seeds; zero if it is unknown."""
        return self.within / self.freedom_within if self.freedom_within else 0.0

    def scale(self, ratio: float) -> FloatArray:
        """Standard deviations of the means in units of σ (m,), for λ = `ratio`."""
        return np.asarray(np.sqrt((self.shape + self.counts * ratio) / self.counts))


def summarise(data: Points) -> Samples:
    """Means over seeds, and the scatter within sizes."""
    logs = [np.log(losses) for losses in data.losses_by_size]
    limit = OUTLIER_STDS * seed_noise(data)
    kept = [_without_outliers(y, limit) for y in logs]
    y = np.array([own.mean() for own in kept])
    counts = np.array([float(own.size) for own in kept])
    squares = np.array([float(((own - own.mean()) ** 2).sum()) for own in kept])
    return Samples(np.log(data.sizes), y, counts, squares, _variance_shape(y, counts, squares))


def seed_noise(data: Points) -> float:
    """Standard deviation of ln L over seeds, from the median over sizes, which is robust against diverged runs.

    Zero without seeds, or if most sizes have equal losses.
    """
    from scipy.special import chdtri

    stds = [
        float(np.log(losses).std(ddof=1) / np.sqrt(chdtri(losses.size - 1, 0.5) / (losses.size - 1)))
        for losses in data.losses_by_size
        if losses.size > 1
    ]
    return float(np.median(stds)) if stds else 0.0


def has_seeds(data: Points) -> bool:
    """Whether at least one size has several runs."""
    return any(losses.size > 1 for losses in data.losses_by_size)


def _without_outliers(y: FloatArray, limit: float) -> FloatArray:
    """The seeds of a size close to their median; all of them, if these are no majority or the noise is unknown."""
    near = np.abs(y - np.median(y)) <= limit
    return y[near] if limit > 0 and near.sum() > y.size / 2 else y


def _variance_shape(y: FloatArray, counts: FloatArray, squares: FloatArray) -> FloatArray:
    """Relative variance of the seeds, h = exp(γ (y − ȳ)): posterior mean of γ, whose prior favours equal variances."""
    freedom, reach = counts - 1.0, float(np.ptp(y))
    if freedom.sum() < 2 or reach < 1e-9 or squares.sum() < _TINY:
        return np.ones_like(y)
    slopes = np.linspace(-3.0, 3.0, 121) * _SPREAD_OF_LOG_VARIANCE / reach
    log_shape = slopes[:, None] * (y - y.mean())
    pooled = (squares * np.exp(-log_shape)).sum(axis=1)
    log_posterior = -0.5 * (freedom * log_shape).sum(axis=1) - 0.5 * freedom.sum() * np.log(pooled)
    log_posterior -= 0.5 * (slopes * reach / _SPREAD_OF_LOG_VARIANCE) ** 2
    weights = np.exp(log_posterior - log_posterior.max())
    return np.asarray(np.exp(float(slopes @ weights / weights.sum()) * (y - y.mean())))


def variance_ratio(samples: Samples, squares: FloatArray, num_parameters: int) -> tuple[float, float]:
    """λ and σ² by restricted maximum likelihood.

    Args:
        samples: The losses.
        squares: Squared deviations of the means from a law (m,).
        num_parameters: Parameters of the law.
    """
    free = samples.num_runs - num_parameters
    if not samples.freedom_within:
        return 0.0, float((squares / samples.scale(0.0) ** 2).sum() / max(free, 1.0)) + _TINY
    share = (samples.num_sizes - num_parameters) / samples.num_sizes
    ratios = _RATIOS
    for _ in range(2):
        total, log_shape = _sums(samples, squares, ratios)
        place = int((free * np.log(total / free) + share * log_shape).argmin())
        ratio, variance = float(ratios[place]), float(total[place] / free)
        if place == 0 and ratio == 0.0:
            break
        ratios = np.linspace(ratios[max(place - 1, 0)], ratios[min(place + 1, ratios.size - 1)], 101)
    return ratio, variance


def deviance(samples: Samples, squares: FloatArray) -> float:
    """−2 ln of the likelihood, maximised over σ² and τ², up to a constant that all laws share.

    Args:
        samples: The losses.
        squares: Squared deviations of the means from a law (m,).
    """
    ratios = _RATIOS if samples.freedom_within else np.zeros(1)
    total, log_shape = _sums(samples, squares, ratios)
    return float((samples.num_runs * np.log(total / samples.num_runs) + log_shape).min())


def _sums(samples: Samples, squares: FloatArray, ratios: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Sum of squares within and between sizes, and the sum of ln(h_i + n_i λ), for each λ."""
    shape = samples.shape + samples.counts * ratios[:, None]
    return samples.within + (samples.counts * squares / shape).sum(axis=1) + _TINY, np.log(shape).sum(axis=1)
