"""Prediction of the largest sizes by laws that were fitted without them: the test of a law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dielectric_gnn.scaling.fitting import Fit, Mode, fit_all
from dielectric_gnn.scaling.intervals import bootstrap, draw_stds
from dielectric_gnn.scaling.lack_of_fit import does_not_describe
from dielectric_gnn.scaling.laws import FloatArray, Law
from dielectric_gnn.scaling.noise import Samples, has_seeds, summarise
from dielectric_gnn.scaling.points import Points

AVERAGE = "average of the laws"
"""Name of the prediction of all laws, weighted."""
_SHARE = 5
"""One in so many sizes is held out by default."""
_NUM_DRAWS = 200


@dataclass(frozen=True)
class Prediction:
    """Prediction of the held-out sizes by one law, or by the average of the laws.

    Args:
        law: Name of the law.
        losses: Predicted losses (K,).
        low: Lower ends of the band of the mean over seeds (K,).
        high: Upper ends (K,).
        error: RMSLE.
        weight: Weight in the average, `average_weights`; 1 for the average itself.
    """

    law: str
    losses: FloatArray
    low: FloatArray
    high: FloatArray
    error: float
    weight: float


@dataclass(frozen=True)
class HoldOut:
    """The held-out sizes and their predictions.

    Args:
        sizes: The held-out sizes (K, v).
        measured: Mean over seeds of the losses, geometric (K,).
        noise: Standard deviation of ln L of these means (K,).
        level: Probability of the bands.
        predictions: One per law that could be fitted without these sizes; last their average.
    """

    sizes: FloatArray
    measured: FloatArray
    noise: FloatArray
    level: float
    predictions: tuple[Prediction, ...]

    @property
    def errors(self) -> dict[str, float]:
        """RMSLE by law."""
        return {one.law: one.error for one in self.predictions}

    @property
    def noise_of_error(self) -> float:
        """Error that noise alone gives: root mean square of `noise`."""
        return float(np.sqrt((self.noise**2).mean()))

    def inside(self, prediction: Prediction) -> int:
        """Number of held-out sizes within the band of a prediction."""
        return int(((prediction.low <= self.measured) & (self.measured <= prediction.high)).sum())


def hold_out(
    laws: Sequence[Law], data: Points, mode: Mode = "robust", number: int = 0, level: float = 0.9
) -> HoldOut | None:
    """Fit the laws without the largest sizes, and predict these.

    Args:
        laws: The laws; those that the smaller sizes do not determine are left out.
        data: The runs.
        mode: Method of the fits.
        number: Number K of held-out sizes; 0 takes a fifth of them, and at least one.
        level: Probability of the bands.

    Returns:
        The predictions; None if no law can be fitted without these sizes.
    """
    number = number or max(1, len(data.sizes) // _SHARE)
    if number >= len(data.sizes):
        return None
    smaller, held = data.split_largest(number)
    usable = _usable(laws, smaller, mode)
    if not usable or np.ptp(smaller.log_loss) < 1e-12:
        return None
    fits = fit_all(usable, smaller, mode)
    found = _predictions(fits, average_weights(fits), summarise(held), level)
    return replace(found, sizes=held.sizes)


def _usable(laws: Sequence[Law], smaller: Points, mode: Mode) -> list[Law]:
    """The laws that the smaller sizes determine; none if no law leaves two of them to estimate the noise.

    The weights of the average need no finite AICc. A law with as many parameters as there are sizes is uncertain, but
    to leave it out would claim that it is wrong; the scatter of the seeds then is the noise.
    """
    free = [len(smaller.sizes) - len(law.parameters) for law in laws]
    if max(free, default=0) < 2:
        return []
    required = 2 if mode == "published" else 0 if has_seeds(smaller) else 1
    return [law for law, own in zip(laws, free, strict=True) if own >= required]


def average_weights(fits: Sequence[Fit]) -> FloatArray:
    """Weights of laws in their average, exp(−ΔBIC/2), normalised: approximate posterior probabilities.

    Source: A. E. Raftery 1995, doi:10.2307/271063. AICc would ignore laws with many parameters if there are few sizes.
    """
    bic = np.array([one.bic for one in fits])
    weights = np.exp(-0.5 * (bic - bic.min()))
    return np.asarray(weights / weights.sum())


def _predictions(fits: Sequence[Fit], weights: FloatArray, held: Samples, level: float) -> HoldOut:
    rng = np.random.default_rng(0)
    ends = (1 - level) / 2, (1 + level) / 2
    draws = np.stack([_draws(one, held, rng) for one in fits])
    centre = np.stack([one.law.log_loss(one.theta, held.x) for one in fits])
    predictions = [
        Prediction(one.law.name, *_band(middle, own, ends), _rmsle(middle, held.y), float(weight))
        for one, middle, own, weight in zip(fits, centre, draws, weights, strict=True)
    ]
    mixed = draws[rng.choice(len(fits), _NUM_DRAWS, p=weights), np.arange(_NUM_DRAWS)]
    average = weights @ centre
    predictions.append(Prediction(AVERAGE, *_band(average, mixed, ends), _rmsle(average, held.y), 1.0))
    noise = min((_noise_of_means(one, held) for one in fits), key=lambda one: float(one.sum()))
    return HoldOut(np.exp(held.x), np.exp(held.y), noise, level, tuple(predictions))


def _draws(fitted: Fit, held: Samples, rng: np.random.Generator) -> FloatArray:
    """Bootstrap draws of ln L of the means at the held-out sizes, with the noise of each draw (draws, K)."""
    theta = bootstrap(fitted, _NUM_DRAWS)
    std = draw_stds(fitted, _NUM_DRAWS, np.random.default_rng(0))
    noise = std * _scale_of_means(fitted, held) * rng.standard_normal((_NUM_DRAWS, held.num_sizes))
    noise += _misfit(fitted, held) * rng.standard_normal((_NUM_DRAWS, 1))
    return np.asarray(fitted.law.log_loss(theta, held.x) + noise)


def _misfit(fitted: Fit, held: Samples) -> FloatArray:
    """Standard deviation of ln L at the held-out sizes that the curvature of the residuals implies (K,).

    A law that does not describe the sizes is wrong by more beyond them than between them: the curve through its
    residuals goes on. It is a parabola in ln x, orthogonal to straight lines; zero for laws that describe the sizes.
    """
    x = fitted.problem.x
    if x.shape[1] > 1 or not does_not_describe(fitted):
        return np.zeros(held.num_sizes)
    middle, reach = x.mean(), float(np.ptp(x))
    basis, beyond = (np.vander((at[:, 0] - middle) / reach, 3) for at in (x, held.x))
    parabola, remainder = basis[:, 0], basis[:, 1:]
    line = np.linalg.lstsq(remainder, parabola, rcond=None)[0]
    curve = parabola - remainder @ line
    coefficient = float(curve @ fitted.residuals / (curve @ curve))
    return np.asarray(np.abs(coefficient * (beyond[:, 0] - beyond[:, 1:] @ line)))


def _noise_of_means(fitted: Fit, held: Samples) -> FloatArray:
    """Standard deviation of ln L of the means over seeds at the held-out sizes (K,)."""
    return np.asarray(np.sqrt(fitted.variance[0]) * _scale_of_means(fitted, held))


def _scale_of_means(fitted: Fit, held: Samples) -> FloatArray:
    """The same in units of the standard deviation of the scaled residuals."""
    if fitted.noise is None:
        return np.full(held.num_sizes, float((fitted.problem.scale / fitted.problem.y).mean()))
    return np.asarray(np.sqrt(1.0 / held.counts + fitted.noise.ratio))


def _band(
    centre: FloatArray, draws: FloatArray, ends: tuple[float, float]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    low, high = np.quantile(draws, ends, axis=0)
    with np.errstate(over="ignore"):
        return np.exp(centre), np.exp(low), np.exp(high)


def _rmsle(predicted: FloatArray, measured: FloatArray) -> float:
    return float(np.sqrt(((predicted - measured) ** 2).mean()))
