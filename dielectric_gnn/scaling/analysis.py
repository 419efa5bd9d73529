"""Analysis of one group of runs: laws compared, intervals of their parameters, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import numpy as np

from dielectric_gnn.scaling.budgets import find_optimum, regimes
from dielectric_gnn.scaling.comparison import Comparison, compare
from dielectric_gnn.scaling.compute import Cost, training_cost
from dielectric_gnn.scaling.findings import Finding, find_breaks, find_size
from dielectric_gnn.scaling.fitting import Fit, Mode
from dielectric_gnn.scaling.holdout import HoldOut
from dielectric_gnn.scaling.intervals import DEFAULT_LEVEL, Interval, bootstrap, bootstrap_intervals, profile_intervals
from dielectric_gnn.scaling.laws import CURVES, UNIT_FREE_CURVES, FloatArray, Law
from dielectric_gnn.scaling.points import EPOCHS, Points
from dielectric_gnn.scaling.remarks import remarks
from dielectric_gnn.scaling.repeat_value import find_value_of_repeats
from dielectric_gnn.scaling.repeats import REPEATS_IN_BOTH, REPEATS_IN_D
from dielectric_gnn.scaling.sensitivity import sensitivity
from dielectric_gnn.scaling.surfaces import PUBLISHED_SURFACES, UNIT_FREE_SURFACES
from dielectric_gnn.utils.errors import InputError

_RISING_STANDARD_ERRORS = 3.0
"""A loss is called rising if its slope is positive by more than this number of standard errors."""
_MIN_DRAWS = 10


@dataclass(frozen=True)
class FitOptions:
    """Options of an analysis.

    Args:
        laws: Laws in one variable to be compared; empty takes those whose fits do not depend on units, in the published
            mode those of the study. For runs that vary N and D, or epochs, all laws in these are compared.
        mode: Method of the fits.
        level: Probability of the intervals.
        draws: Number of bootstrap draws.
        target: Losses for which the required size is computed.
        budget: FLOPs of one training for which the best N and D are computed.
        cost: FLOPs of a training; None derives them from the runs.
        epochs: Number of epochs, for a cost of 6 FLOPs per parameter, datum and epoch, if the runs state no FLOPs; None
            if unknown.
        hold_out: Number of the largest sizes that are held out and predicted; 0 takes a fifth of them.
        sensitivity: Refit the followed law with single choices changed.

    Raises:
        InputError: A value is out of range.
    """

    laws: Sequence[Law] = ()
    mode: Mode = "robust"
    level: float = DEFAULT_LEVEL
    draws: int = 200
    target: Sequence[float] = ()
    budget: Sequence[float] = ()
    cost: Cost | None = None
    epochs: int | None = None
    hold_out: int = 0
    sensitivity: bool = False

    def laws_in(self, variables: Sequence[str]) -> Sequence[Law]:
        """The laws that are compared for runs that vary these variables."""
        published = self.mode == "published"
        if variables[-1] == EPOCHS:
            return REPEATS_IN_D if len(variables) == 2 else REPEATS_IN_BOTH
        if len(variables) == 2:
            return PUBLISHED_SURFACES if published else UNIT_FREE_SURFACES
        return self.laws or (tuple(CURVES.values()) if published else UNIT_FREE_CURVES)

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, get_args(Mode))
        if not 0 < self.level < 1:
            raise InputError(f"level is {self.level}, expected a number between 0 and 1, such as 0.9")
        if self.draws < _MIN_DRAWS:
            raise InputError(f"draws is {self.draws}, expected a whole number of at least {_MIN_DRAWS}")
        if self.hold_out < 0:
            raise InputError(f"hold_out is {self.hold_out}, expected 0 or more")
        if self.epochs is not None and self.epochs < 1:
            raise InputError(f"epochs is {self.epochs}, expected 1 or more")
        for name in ("target", "budget"):
            for value in getattr(self, name):
                check_positive(name, value)


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """Check that an option has one of a few values.

    Raises:
        InputError: It has another value.
    """
    if value not in choices:
        raise InputError(f"{name}: {value!r}, expected one of {', '.join(str(one) for one in choices if one)}")


def check_positive(name: str, value: float) -> None:
    """Check that an option is a finite positive number.

    Raises:
        InputError: It is not.
    """
    if not 0 < value < math.inf:
        raise InputError(f"{name} is {value}, expected a finite number greater than 0")


@dataclass(frozen=True)
class GroupAnalysis:
    """The results for one group of runs.

    Args:
        comparison: The compared laws.
        level: Probability of the intervals.
        draws: Parameters of bootstrap draws (draws, k), by the name of each plausible law.
        profiles: Intervals by profile likelihood of the plausible laws, by law and parameter.
        findings: Answers to the questions of the options, and breaks.
        remarks: Limits of the data, and runs that were left out.
        regimes: Regime of each run, for laws in N and D.
        sensitivity: Parameters of the followed law with single choices of its fit changed, if requested.
    """

    comparison: Comparison
    level: float
    draws: dict[str, FloatArray]
    profiles: dict[str, dict[str, Interval]]
    findings: list[Finding]
    remarks: list[str]
    regimes: list[dict[str, Any]] = field(default_factory=list)
    sensitivity: list[dict[str, Any]] = field(default_factory=list)

    @property
    def data(self) -> Points:
        """The runs."""
        return self.comparison.best.points

    @property
    def law(self) -> Fit:
        """The fitted law that the findings follow."""
        return self.comparison.best

    @property
    def verdict(self) -> str:
        """Which shape of law the data support, in a sentence; they may be undecided."""
        return self.comparison.verdict

    @cached_property
    def bootstraps(self) -> dict[str, dict[str, Interval]]:
        """Intervals by bootstrap, by law and parameter."""
        laws = [one.law for one in self.comparison.plausible]
        return {law.name: bootstrap_intervals(law, self.draws[law.name], self.level) for law in laws}

    @property
    def held_out(self) -> HoldOut | None:
        """Prediction of the largest sizes by laws that were fitted without them; None if there are too few sizes."""
        return self.comparison.held_out

    @property
    def title(self) -> str:
        """What the runs have in common, and what varies."""
        counts = sorted({losses.size for losses in self.data.losses_by_size})
        seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        return (
            f"{self.data.title}: loss against {' and '.join(self.data.variables)} ({len(self.data.sizes)} sizes, "
            f"{seeds} seed{'s' if counts[-1] > 1 else ''}, {len(self.data.runs)} runs)"
        )


def analyse(data: Points, options: FitOptions) -> GroupAnalysis:
    """Compare laws on one group of runs, and derive what follows from them.

    Raises:
        InputError: No law can be fitted.
    """
    if len(data.variables) == 1 and _is_rising(data):
        raise InputError(
            f"{data.title}: the loss rises with {data.variables[0]}, but scaling laws decrease; fit one minus a metric "
            "that grows to one (one_minus), or check the column or the metric"
        )
    comparison = compare(options.laws_in(data.variables), data, options.mode, options.hold_out, options.level)
    analysis = GroupAnalysis(
        comparison,
        options.level,
        {one.law.name: bootstrap(one, options.draws) for one in comparison.plausible},
        {one.law.name: profile_intervals(one, options.level) for one in comparison.plausible},
        [],
        remarks(comparison, bool(options.target), bool(options.budget)),
        regimes(comparison.best) if data.in_both else [],
        sensitivity(comparison.best) if options.sensitivity else [],
    )
    breaks = find_breaks(comparison, analysis.profiles, analysis.bootstraps)
    analysis.findings.extend([breaks] if breaks else [])
    if data.has_repeats:
        analysis.findings.append(find_value_of_repeats(comparison, analysis.profiles))
    elif data.in_both:
        analysis.findings.extend(_surface_findings(analysis, options))
    else:
        for target in options.target:
            analysis.findings.append(find_size(comparison, target, analysis.draws, options.level))
    return analysis


def _surface_findings(analysis: GroupAnalysis, options: FitOptions) -> list[Finding]:
    limited = sum(row["regime"] == "data-limited" for row in analysis.regimes)
    findings = [Finding(f"{limited} of {len(analysis.regimes)} runs are data-limited, the others model-limited.")]
    for budget in options.budget:
        cost = _cost(analysis.data, options)
        findings.append(find_optimum(analysis.comparison, budget, cost, analysis.draws, options.level))
    return findings


def _cost(data: Points, options: FitOptions) -> Cost:
    """The cost of a training: as stated, of the runs, or by the number of epochs.

    Raises:
        InputError: It is unknown.
    """
    cost = options.cost or training_cost(data)
    if cost is None and options.epochs is not None:
        cost = Cost(6.0 * options.epochs)
    if cost is None:
        raise InputError(
            f"{data.title}: a budget requires the FLOPs of a training, and the runs state none; give epochs (6 FLOPs "
            "per parameter, datum and epoch; 1 if D counts what was processed), flops_per_parameter_and_datum, or a "
            "column flops"
        )
    return cost


def _is_rising(data: Points) -> bool:
    """Whether the losses grow beyond their scatter."""
    x, y = data.logs[:, 0] - data.logs[:, 0].mean(), data.log_loss - data.log_loss.mean()
    slope = float(x @ y / (x @ x))
    error = float(np.sqrt(((y - slope * x) ** 2).sum() / max(y.size - 2, 1) / (x @ x)))
    return slope > _RISING_STANDARD_ERRORS * error
