"""Several laws fitted to the same runs: outliers, ranking by AICc, lack of fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from dielectric_gnn.scaling.fitting import Fit, Mode, check_enough_sizes, fit_all
from dielectric_gnn.scaling.holdout import HoldOut, hold_out
from dielectric_gnn.scaling.laws import FloatArray, Law
from dielectric_gnn.scaling.noise import OUTLIER_STDS
from dielectric_gnn.scaling.points import Points, Run
from dielectric_gnn.scaling.verdict import DECISIVE_AICC, Verdict, decide
from dielectric_gnn.utils.errors import InputError

_MIN_FREEDOM_FOR_OUTLIERS = 6
"""Sizes beyond the parameters of a law that are required to call the only run of a size an outlier."""


@dataclass(frozen=True)
class Comparison:
    """Several laws on the same points.

    Args:
        fits: The laws that could be fitted, lowest AICc first.
        remarks: Laws that were left out, and why.
        outliers: Runs that were left out, each with the predicted loss.
        held_out: Prediction of the largest sizes by laws that were fitted without them; None if there are too few.
    """

    fits: tuple[Fit, ...]
    remarks: tuple[str, ...] = field(default=())
    outliers: tuple[tuple[Run, float], ...] = field(default=())
    held_out: HoldOut | None = None

    @cached_property
    def decision(self) -> Verdict:
        """Which shape of law the data support."""
        return decide(self.fits, self.held_out)

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
        """The law that findings follow: that of the supported shape, or one that predicts the largest sizes well."""
        return self.decision.law

    @property
    def plausible(self) -> list[Fit]:
        """The best law, and those whose AICc is higher by less than `DECISIVE_AICC`."""
        return [self.best, *(one for one in self.fits if one is not self.best and self.delta_aicc(one) < DECISIVE_AICC)]

    def delta_aicc(self, one: Fit) -> float:
        """AICc of a law minus that of the best; negative where the best was chosen for another reason."""
        return one.aicc - self.best.aicc

    @property
    def extrapolation(self) -> dict[str, float]:
        """RMSLE of each law at the held-out sizes; NaN where too few sizes are left for it."""
        errors = self.held_out.errors if self.held_out else {}
        return {one.law.name: errors.get(one.law.name, float("nan")) for one in self.fits}


def compare(
    laws: Sequence[Law], data: Points, mode: Mode = "robust", num_held_out: int = 0, level: float = 0.9
) -> Comparison:
    """Fit several laws.

    Args:
        laws: The laws.
        data: The runs.
        mode: Method of the fits.
        num_held_out: Number of the largest sizes that are held out; 0 takes a fifth of them.
        level: Probability of the bands of the predictions.

    Raises:
        InputError: All losses are equal, or no law can be fitted.
    """
    if np.ptp(data.log_loss) < 1e-12:
        raise InputError(
            f"{data.title}: all {len(data.runs)} losses are {data.runs[0].loss:g}, so no law can be fitted; check the "
            "column or the metric"
        )
    usable, remarks = _usable(laws, data)
    fits, kept = fit_all(usable, data, mode), data
    outliers = _outliers(fits)
    if outliers:
        kept = data.where([place not in outliers for place in range(len(data.runs))])
        usable, remarks = _usable(laws, kept)
        fits = fit_all(usable, kept, mode)
    held = hold_out(usable, kept, mode, num_held_out, level)
    left_out = tuple((data.runs[place], value) for place, value in outliers.items())
    return Comparison(tuple(sorted(fits, key=lambda one: one.aicc)), tuple(remarks), left_out, held)


def _usable(laws: Sequence[Law], data: Points) -> tuple[list[Law], list[str]]:
    """The laws for which there are enough sizes, and a remark on the others.

    Raises:
        InputError: There is none.
    """
    usable = [law for law in laws if len(law.parameters) + 2 <= len(data.sizes)]
    if not usable:
        check_enough_sizes(min(laws, key=lambda law: len(law.parameters)), data)
    few = [f"{law.name} ({len(law.parameters)} parameters)" for law in laws if law not in usable]
    return usable, [f"{len(data.sizes)} sizes are too few for {' and '.join(few)}"] if few else []


def _outliers(fits: Sequence[Fit]) -> dict[int, float]:
    """Positions of the runs far from the closest law, unlike other seeds of their size, with the loss that it predicts.

    A run is no outlier if most seeds of its size deviate: there the law fails, not the run. A size with one seed may be
    an outlier inside the data only, because at their end a law may change.
    """
    closest = min(fits, key=lambda one: one.objective / one.freedom)
    data, noise = closest.points, closest.noise
    if noise is None:
        return {}
    predicted = closest.law.log_loss(closest.theta, data.logs)
    limit = OUTLIER_STDS * noise.sigma * np.sqrt(closest.samples.shape.max() + noise.ratio)
    far = np.abs(data.log_loss - predicted) > max(limit, 1e-6)
    found = {}
    for place in np.flatnonzero(far):
        siblings = far[(data.logs == data.logs[place]).all(axis=1)]
        alone = siblings.size == 1 and closest.freedom >= _MIN_FREEDOM_FOR_OUTLIERS and _is_inside(data, int(place))
        if siblings.sum() <= siblings.size / 2 or alone:
            found[int(place)] = float(np.exp(predicted[place]))
    return found


def _is_inside(data: Points, place: int) -> bool:
    """Whether a run is neither at the smallest nor at the largest value of any variable."""
    here: FloatArray = data.values[place]
    return bool(((here > data.values.min(axis=0)) & (here < data.values.max(axis=0))).all())


def describe_outlier(run: Run, predicted: float) -> str:
    """A line about a run that was left out."""
    return (
        f"{run.name} is left out: its loss {run.loss:.4g} is {run.loss / predicted:.3g} times the law's "
        f"({predicted:.4g}), more than {OUTLIER_STDS:.0f} standard deviations away, unlike others; repeat it."
    )
