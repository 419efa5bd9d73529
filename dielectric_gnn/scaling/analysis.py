"""Analysis of one group of runs: laws compared, intervals of their parameters, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import numpy as np

from dielectric_gnn.scaling.comparison import LACK_OF_FIT_P, Comparison, compare, describe_outlier, lack_of_fit
from dielectric_gnn.scaling.findings import Finding, find_breaks, find_optimum, find_size, regimes
from dielectric_gnn.scaling.fitting import Fit, Mode, has_seeds
from dielectric_gnn.scaling.intervals import DEFAULT_LEVEL, Interval, bootstrap, bootstrap_intervals, profile_intervals
from dielectric_gnn.scaling.laws import Law
from dielectric_gnn.scaling.points import Points
from dielectric_gnn.scaling.surfaces import SURFACES, Cost, training_cost
from dielectric_gnn.utils.errors import InputError

_RISING_STANDARD_ERRORS = 3.0
"""A loss is called rising if its slope is positive by more than this number of standard errors."""
_MIN_DRAWS = 10


@dataclass(frozen=True)
class FitOptions:
    """Options of an analysis.

    Args:
        laws: Laws in one variable to be compared; for runs that vary N and D, all laws in both are compared.
        mode: Method of the fits.
        level: Probability of the intervals.
        draws: Number of bootstrap draws.
        target: Losses for which the required size is computed.
        budget: FLOPs of one training for which the best N and D are computed.
        cost: FLOPs of a training; None derives them from the runs.
        epochs: Number of epochs, for a cost of 6 FLOPs per parameter, datum and epoch, if the runs state no FLOPs.

    Raises:
        InputError: A value is out of range.
    """

    laws: Sequence[Law]
    mode: Mode = "robust"
    level: float = DEFAULT_LEVEL
    draws: int = 200
    target: Sequence[float] = ()
    budget: Sequence[float] = ()
    cost: Cost | None = None
    epochs: int = 500

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, get_args(Mode))
        if not 0 < self.level < 1:
            raise InputError(f"level is {self.level}, expected a number between 0 and 1, such as 0.9")
        if self.draws < _MIN_DRAWS:
            raise InputError(f"draws is {self.draws}, expected a whole number of at least {_MIN_DRAWS}")
        if self.epochs < 1:
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
        draws: Fits to bootstrap draws, by the name of each plausible law; empty lists without seeds.
        profiles: Intervals by profile likelihood of the plausible laws, by law and parameter.
        findings: Answers to the questions of the options, and breaks.
        remarks: Limits of the data, and runs that were left out.
        regimes: Regime of each run, for laws in N and D.
    """

    comparison: Comparison
    level: float
    draws: dict[str, list[Fit]]
    profiles: dict[str, dict[str, Interval]]
    findings: list[Finding]
    remarks: list[str]
    regimes: list[dict[str, Any]] = field(default_factory=list)

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
        """Intervals by bootstrap over seeds, by law and parameter."""
        return {law: bootstrap_intervals(fits, self.level) for law, fits in self.draws.items()}

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
    in_both = len(data.variables) == 2
    comparison = compare(list(SURFACES.values()) if in_both else options.laws, data, options.mode)
    seeded = has_seeds(comparison.best.points)
    analysis = GroupAnalysis(
        comparison,
        options.level,
        {one.law.name: bootstrap(one, options.draws) if seeded else [] for one in comparison.plausible},
        {one.law.name: profile_intervals(one, options.level) for one in comparison.plausible},
        [],
        _remarks(comparison, options),
        regimes(comparison.best) if in_both else [],
    )
    breaks = find_breaks(comparison, analysis.profiles, analysis.bootstraps)
    analysis.findings.extend([breaks] if breaks else [])
    if in_both:
        analysis.findings.extend(_surface_findings(analysis, options))
    else:
        for target in options.target:
            analysis.findings.append(find_size(comparison, target, analysis.draws, options.level))
    return analysis


def _surface_findings(analysis: GroupAnalysis, options: FitOptions) -> list[Finding]:
    limited = sum(row["regime"] == "data-limited" for row in analysis.regimes)
    findings = [Finding(f"{limited} of {len(analysis.regimes)} runs are data-limited, the others model-limited.")]
    best = analysis.comparison.best
    cost = options.cost or training_cost(best.points) or Cost(6.0 * options.epochs)
    for budget in options.budget:
        findings.append(find_optimum(best, budget, cost, analysis.draws[best.law.name], options.level))
    return findings


def _remarks(comparison: Comparison, options: FitOptions) -> list[str]:
    """Limits of the data, and runs and laws that were left out."""
    data = comparison.best.points
    remarks = [describe_outlier(run, predicted) for run, predicted in comparison.outliers]
    remarks += [f"left out: {remark}." for remark in comparison.remarks]
    remarks += _remarks_on_seeds(data)
    misfit = lack_of_fit(comparison.best)
    if misfit and misfit.probability < LACK_OF_FIT_P and all(_has_lack_of_fit(one) for one in comparison.fits):
        remarks.append(
            f"No law here describes these data within the noise of the seeds: {comparison.best.law.name} deviates from "
            f"the sizes by {misfit.ratio:.1f} times what the seeds explain (F test, p = {misfit.probability:.1g}). "
            "Intervals and the verdict account for the noise of the seeds only."
        )
    for one in comparison.plausible:
        if one.at_bounds:
            remarks.append(f"{one.law.name}: {', '.join(one.at_bounds)} is at a bound of the search.")
    if len(data.variables) == 1 and _is_rising(data):
        remarks.append(f"The loss rises with {data.variables[0]}; check that lower values of it are better.")
    if options.budget and len(data.variables) == 1:
        remarks.append(f"A budget requires runs that vary N and D; these vary {data.variables[0]} only.")
    if options.target and len(data.variables) == 2:
        remarks.append("A target requires a law in one variable; choose it with the axis D or N.")
    return remarks


def _remarks_on_seeds(data: Points) -> list[str]:
    if not has_seeds(data):
        return ["One seed per size: the noise is estimated from the residuals only, and no bootstrap is possible."]
    single = [size for size, losses in zip(data.sizes, data.losses_by_size, strict=True) if losses.size == 1]
    where = "; ".join(" ".join(f"{k} = {v:g}" for k, v in zip(data.variables, s, strict=True)) for s in single)
    return [f"One seed at {where}: its scatter is unknown, and the bootstrap does not vary it."] if single else []


def _is_rising(data: Points) -> bool:
    """Whether the losses grow beyond their scatter."""
    x, y = data.logs[:, 0] - data.logs[:, 0].mean(), data.log_loss - data.log_loss.mean()
    slope = float(x @ y / (x @ x))
    error = float(np.sqrt(((y - slope * x) ** 2).sum() / max(y.size - 2, 1) / (x @ x)))
    return slope > _RISING_STANDARD_ERRORS * error


def _has_lack_of_fit(one: Fit) -> bool:
    misfit = lack_of_fit(one)
    return misfit is not None and misfit.probability < LACK_OF_FIT_P
