"""Several laws fitted to the same runs: outliers, ranking by AICc, lack of fit and error of extrapolation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dielectric_gnn.scaling.fitting import HUBER_STDS, Fit, Mode, fit, has_seeds
from dielectric_gnn.scaling.laws import Law
from dielectric_gnn.scaling.points import Points, Run
from dielectric_gnn.scaling.verdict import DECISIVE_AICC, Verdict, decide
from dielectric_gnn.utils.errors import InputError

LACK_OF_FIT_P = 0.01
"""Below this p-value of the F test, a law does not describe the data."""


@dataclass(frozen=True)
class LackOfFit:
    """F test of the deviations between sizes against the scatter of seeds within them.

    Args:
        ratio: F, mean square between sizes divided by that within them.
        between: Degrees of freedom between: sizes minus parameters.
        within: Degrees of freedom within: runs minus sizes.
        probability: p-value, the probability that noise alone gives this ratio or a larger one.
    """

    ratio: float
    between: int
    within: int
    probability: float


@dataclass(frozen=True)
class Comparison:
    """Several laws on the same points.

    Args:
        fits: The laws that could be fitted, lowest AICc first.
        remarks: Laws that were left out, and why.
        outliers: Runs that were left out, each with the predicted loss.
    """

    fits: tuple[Fit, ...]
    remarks: tuple[str, ...] = field(default=())
    outliers: tuple[tuple[Run, float], ...] = field(default=())

    @cached_property
    def decision(self) -> Verdict:
        """Which shape of law the data support."""
        return decide(self.fits)

    @property
    def verdict(self) -> str:
        """The verdict in a sentence; the data may be undecided."""
        return self.decision.text

    @property
    def shape(self) -> str | None:
        """The supported shape, or None if the data are undecided."""
        return self.decision.shape

    @property
    def best(self) -> Fit:
        """The law that findings follow: that of lowest AICc, of the supported shape if there is one."""
        return self.decision.law

    @property
    def plausible(self) -> list[Fit]:
        """The best law, and those whose AICc is higher by less than `DECISIVE_AICC`."""
        return [self.best, *(one for one in self.fits if one is not self.best and self.delta_aicc(one) < DECISIVE_AICC)]

    def delta_aicc(self, one: Fit) -> float:
        """AICc of a law minus that of the best; negative where the best was chosen because it is simpler."""
        return one.aicc - self.best.aicc

    @cached_property
    def extrapolation(self) -> dict[str, float]:
        """RMSLE of each law at the largest size, fitted without it; NaN where too few sizes are left."""
        return {one.law.name: extrapolation_error(one) for one in self.fits}


def compare(laws: Sequence[Law], data: Points, mode: Mode = "robust") -> Comparison:
    """Fit several laws.

    Raises:
        InputError: All losses are equal, or no law can be fitted.
    """
    if np.ptp(data.log_loss) < 1e-12:
        raise InputError(
            f"{data.title}: all {len(data.runs)} losses are {data.runs[0].loss:g}, so no law can be fitted; check the "
            "column or the metric"
        )
    fits, remarks = _fits(laws, data, mode)
    outliers = _outliers(fits) if mode == "robust" and has_seeds(data) else {}
    if outliers:
        kept = Points(data.title, data.variables, tuple(r for i, r in enumerate(data.runs) if i not in outliers))
        fits, remarks = _fits(laws, kept, mode)
    return Comparison(tuple(fits), tuple(remarks), tuple((data.runs[i], value) for i, value in outliers.items()))


def _fits(laws: Sequence[Law], data: Points, mode: Mode) -> tuple[list[Fit], list[str]]:
    fits: list[Fit] = []
    refused: list[InputError] = []
    for law in laws:
        try:
            fits.append(fit(law, data, mode))
        except InputError as error:
            refused.append(error)
    if not fits:
        raise refused[0]
    # Since one law could be fitted, the others were refused only because there are too few sizes for them.
    few = [f"{law.name} ({len(law.parameters)} parameters)" for law in laws if len(data.sizes) <= len(law.parameters)]
    remarks = [f"{len(data.sizes)} sizes are too few for {' and '.join(few)}"] if few else []
    return sorted(fits, key=lambda one: one.aicc), remarks


def _outliers(fits: Sequence[Fit]) -> dict[int, float]:
    """Positions of the runs beyond five standard deviations from the closest law, with the loss that it predicts.

    A run is no outlier if most seeds of its size deviate: there the law fails, not the run.
    """
    closest = min(fits, key=lambda one: one.problem.huber or np.inf)
    far = np.abs(closest.residuals) > (closest.problem.huber or np.inf)
    where = closest.points.logs
    found = {}
    for i in np.flatnonzero(far):
        siblings = far[(where == where[i]).all(axis=1)]
        if siblings.sum() <= siblings.size / 2:
            found[int(i)] = float(np.exp(closest.law.log_loss(closest.theta, where[i : i + 1])[0]))
    return found


def describe_outlier(run: Run, predicted: float) -> str:
    """A line about a run that was left out."""
    return (
        f"{run.name} is left out: its loss {run.loss:.4g} is {run.loss / predicted:.3g} times the law's "
        f"({predicted:.4g}), more than {HUBER_STDS:.0f} standard deviations away, unlike its other seeds; repeat it."
    )


def lack_of_fit(fitted: Fit) -> LackOfFit | None:
    """The F test of one law; None without several seeds, without scatter, or for fits to means."""
    from scipy.special import fdtrc

    data = fitted.points
    between, within = len(data.sizes) - fitted.theta.size, len(data.runs) - len(data.sizes)
    if fitted.mode == "published" or between < 1 or within < 1:
        return None
    logs = [np.log(losses) for losses in data.losses_by_size]
    pure = sum(float(((y - y.mean()) ** 2).sum()) for y in logs)
    if pure < 1e-18:
        return None
    predicted = fitted.law.log_loss(fitted.theta, np.log(data.sizes))
    misses = sum(y.size * (float(y.mean()) - p) ** 2 for y, p in zip(logs, predicted, strict=True))
    ratio = float(misses / between / (pure / within))
    return LackOfFit(ratio, between, within, float(fdtrc(between, within, ratio)))


def extrapolation_error(fitted: Fit) -> float:
    """RMSLE at the largest size of the law fitted to all smaller sizes."""
    data = fitted.points
    order = data.sizes.prod(axis=1)
    largest = data.sizes[int(order.argmax())]
    try:
        smaller = fit(fitted.law, data.without(largest), fitted.mode)
    except InputError:
        return float("nan")
    measured = np.log(data.losses_by_size[int(order.argmax())])
    return rmsle(smaller, largest, measured)


def rmsle(fitted: Fit, at: np.ndarray, log_losses: np.ndarray) -> float:
    """Root mean square error of ln L at one size."""
    predicted = float(np.log(fitted.loss(*at)))
    return float(np.sqrt(((predicted - log_losses) ** 2).mean()))
