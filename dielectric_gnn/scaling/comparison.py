"""Several laws on the same runs, the runs that none of them can take, and how well a law describes the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dielectric_gnn.scaling.fitting import HUBER, Fit, Mode, fit, has_seeds
from dielectric_gnn.scaling.laws import Law
from dielectric_gnn.scaling.points import Points, Run
from dielectric_gnn.scaling.verdict import DECISIVE, Verdict, decide
from dielectric_gnn.utils.errors import InputError

POOR = 0.01
"""A law does not describe the data if noise alone would miss it as far with less than this probability."""


@dataclass(frozen=True)
class LackOfFit:
    """F test of the misses between sizes against the scatter of seeds within them.

    Args:
        ratio: Mean square between, over that within.
        between: Degrees of freedom, sizes less parameters.
        within: Degrees of freedom, runs less sizes.
        probability: That noise alone gives such a ratio, or a larger one.
    """

    ratio: float
    between: int
    within: int
    probability: float


@dataclass(frozen=True)
class Comparison:
    """Several laws on the same points.

    Args:
        fits: Those that could be fitted, best AICc first.
        remarks: Laws that were left out, and why.
        outliers: Runs that were left out, with the predicted loss.
    """

    fits: tuple[Fit, ...]
    remarks: tuple[str, ...] = field(default=())
    outliers: tuple[tuple[Run, float], ...] = field(default=())

    @cached_property
    def decision(self) -> Verdict:
        """What the data decide."""
        return decide(self.fits)

    @property
    def verdict(self) -> str:
        """In a sentence; it may be that the data do not decide."""
        return self.decision.text

    @property
    def chosen(self) -> str | None:
        """The shape, or None if the data do not decide."""
        return self.decision.shape

    @property
    def best(self) -> Fit:
        """The law that answers follow: of the chosen shape, if there is one, that of lowest AICc."""
        return self.decision.law

    @property
    def within_reach(self) -> list[Fit]:
        """The best law, and those whose AICc is less than decisively higher."""
        return [self.best, *(one for one in self.fits if one is not self.best and self.behind(one) < DECISIVE)]

    def behind(self, one: Fit) -> float:
        """AICc of a law less that of the best; negative where the best is chosen as the simpler one."""
        return one.aicc - self.best.aicc

    @cached_property
    def extrapolation(self) -> dict[str, float]:
        """Error of each law on the largest size, which it was not fitted to: RMSLE; NaN where too few are left."""
        return {one.law.name: extrapolation_error(one) for one in self.fits}


def compare(laws: Sequence[Law], data: Points, mode: Mode = "robust") -> Comparison:
    """Fit several laws.

    Raises:
        InputError: All losses are equal, or no law can be fitted.
    """
    if np.ptp(data.log_loss) < 1e-12:
        raise InputError(
            f"{data.title}: all {len(data.runs)} losses are {data.runs[0].loss:g}; there is no law to be found in runs "
            "that do not differ; is it the right column or --metric?"
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
    # Whatever is fitted, only a lack of sizes keeps another law from it.
    few = [f"{law.name} ({len(law.parameters)} parameters)" for law in laws if len(data.sizes) <= len(law.parameters)]
    remarks = [f"{len(data.sizes)} sizes are too few for {' and '.join(few)}"] if few else []
    return sorted(fits, key=lambda one: one.aicc), remarks


def _outliers(fits: Sequence[Fit]) -> dict[int, float]:
    """Numbers of the runs beyond five standard deviations from the law that comes closest, and what it predicts.

    A run whose whole size is far off is none: there the law fails, not the run.
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
    """A line that names a run that was left out."""
    return (
        f"{run.name} is left out: its loss {run.loss:.4g} is {run.loss / predicted:.3g} times the law's "
        f"({predicted:.4g}), more than {HUBER:.0f} standard deviations away, unlike its other seeds; repeat it."
    )


def lack_of_fit(fitted: Fit) -> LackOfFit | None:
    """The test of one law; None without several seeds, without scatter, or for fits to means."""
    from scipy.special import fdtrc

    data = fitted.points
    between, within = len(data.sizes) - fitted.theta.size, len(data.runs) - len(data.sizes)
    if fitted.mode == "published" or between < 1 or within < 1:
        return None
    logs = [np.log(losses) for losses in data.members]
    pure = sum(float(((y - y.mean()) ** 2).sum()) for y in logs)
    if pure < 1e-18:
        return None
    predicted = fitted.law.log_loss(fitted.theta, np.log(data.sizes))
    misses = sum(y.size * (float(y.mean()) - p) ** 2 for y, p in zip(logs, predicted, strict=True))
    ratio = float(misses / between / (pure / within))
    return LackOfFit(ratio, between, within, float(fdtrc(between, within, ratio)))


def extrapolation_error(whole: Fit) -> float:
    """RMSLE on the largest size of the law fitted to all smaller ones."""
    data = whole.points
    order = data.sizes.prod(axis=1)
    largest = data.sizes[int(order.argmax())]
    try:
        smaller = fit(whole.law, data.without(largest), whole.mode)
    except InputError:
        return float("nan")
    measured = np.log(data.members[int(order.argmax())])
    return rmsle(smaller, largest, measured)


def rmsle(fitted: Fit, at: np.ndarray, log_losses: np.ndarray) -> float:
    """Root mean square error of ln L at one size."""
    predicted = float(np.log(fitted.loss(*at)))
    return float(np.sqrt(((predicted - log_losses) ** 2).mean()))
