"""All that is asked of one group of runs: laws compared, intervals, and what follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from dielectric_gnn.scaling.comparison import POOR, Comparison, compare, describe_outlier, lack_of_fit
from dielectric_gnn.scaling.findings import Finding, find_breaks, find_optimum, find_size, regimes
from dielectric_gnn.scaling.fitting import Fit, Mode, has_seeds
from dielectric_gnn.scaling.intervals import LEVEL, Interval, bootstrap, bootstrap_intervals, profile_intervals
from dielectric_gnn.scaling.laws import Law
from dielectric_gnn.scaling.points import Points
from dielectric_gnn.scaling.surfaces import SURFACES, Cost, training_cost

_BEYOND_SCATTER = 3.0
"""Standard errors by which a slope must be above zero to be called rising."""


@dataclass(frozen=True)
class Request:
    """What is asked.

    Args:
        laws: In one variable; laws in N and D are always all compared.
        mode: Of the fits.
        level: Of the intervals.
        draws: Of the bootstrap.
        targets: Losses whose size is sought.
        budgets: FLOPs whose best use is sought.
        cost: FLOPs of a training; None: as the runs counted.
        epochs: For 6 FLOPs per parameter, datum and epoch, where they counted none.
    """

    laws: Sequence[Law]
    mode: Mode = "robust"
    level: float = LEVEL
    draws: int = 200
    targets: Sequence[float] = ()
    budgets: Sequence[float] = ()
    cost: Cost | None = None
    epochs: int = 500


@dataclass(frozen=True)
class Analysis:
    """All that is said of one group of runs.

    Args:
        comparison: Of the laws.
        level: Of the intervals.
        draws: Fits to bootstrap draws, by law within reach; empty lists without seeds.
        profiles: Intervals by profile likelihood of the laws within reach, by law and parameter.
        findings: Answers.
        remarks: What cannot be told, and what was left out.
        regimes: Of each run, for laws in N and D.
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

    @cached_property
    def bootstraps(self) -> dict[str, dict[str, Interval]]:
        """Intervals by bootstrap over seeds, by law and parameter."""
        return {law: bootstrap_intervals(fits, self.level) for law, fits in self.draws.items()}

    @property
    def title(self) -> str:
        """What the runs have in common, and what varies."""
        seeds = sorted({losses.size for losses in self.data.members})
        several = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        return (
            f"{self.data.title}: loss against {' and '.join(self.data.variables)} ({len(self.data.sizes)} sizes, "
            f"{several} seed{'s' if seeds[-1] > 1 else ''}, {len(self.data.runs)} runs)"
        )


def analyse(data: Points, request: Request) -> Analysis:
    """Compare laws on one group of runs, and answer.

    Raises:
        InputError: No law can be fitted.
    """
    surface = len(data.variables) == 2
    comparison = compare(list(SURFACES.values()) if surface else request.laws, data, request.mode)
    seeded = has_seeds(comparison.best.points)
    reach = comparison.within_reach
    analysis = Analysis(
        comparison,
        request.level,
        {one.law.name: bootstrap(one, request.draws) if seeded else [] for one in reach},
        {one.law.name: profile_intervals(one, request.level) for one in reach},
        [],
        _remarks(comparison, request),
        regimes(comparison.best) if surface else [],
    )
    found = find_breaks(comparison, analysis.profiles, analysis.bootstraps)
    analysis.findings.extend([found] if found else [])
    if surface:
        analysis.findings.extend(_surface_findings(analysis, request))
    else:
        for target in request.targets:
            analysis.findings.append(find_size(comparison, target, analysis.draws, request.level))
    return analysis


def _surface_findings(analysis: Analysis, request: Request) -> list[Finding]:
    limited = sum(row["regime"] == "data-limited" for row in analysis.regimes)
    total = len(analysis.regimes)
    found = [Finding(f"{limited} of {total} runs are data-limited, the others model-limited.")]
    best = analysis.comparison.best
    cost = request.cost or training_cost(best.points) or Cost(6.0 * request.epochs)
    for budget in request.budgets:
        found.append(find_optimum(best, budget, cost, analysis.draws[best.law.name], request.level))
    return found


def _remarks(comparison: Comparison, request: Request) -> list[str]:
    """What cannot be told from these runs, and what is odd about them."""
    data = comparison.best.points
    remarks = [describe_outlier(run, predicted) for run, predicted in comparison.outliers]
    remarks += [f"left out: {remark}." for remark in comparison.remarks]
    single = [size for size, losses in zip(data.sizes, data.members, strict=True) if losses.size == 1]
    if not has_seeds(data):
        remarks.append("One seed per size: the noise is told from the fit alone, and nothing can be drawn from seeds.")
    elif single:
        where = "; ".join(" ".join(f"{k} = {v:g}" for k, v in zip(data.variables, s, strict=True)) for s in single)
        remarks.append(f"One seed at {where}: its spread is unknown, and the bootstrap keeps it as it is.")
    misfit = lack_of_fit(comparison.best)
    if misfit and misfit.probability < POOR and all(_poor(one) for one in comparison.fits):
        remarks.append(
            f"No law here describes these data within the noise of the seeds: {comparison.best.law.name} misses the "
            f"sizes by {misfit.ratio:.1f} times what the seeds explain (F test, p = {misfit.probability:.1g}). "
            "Intervals and the verdict know the noise of the seeds only."
        )
    for one in comparison.within_reach:
        if one.at_bounds:
            remarks.append(f"{one.law.name}: {', '.join(one.at_bounds)} stands where the search ends.")
    if len(data.variables) == 1 and _rises(data):
        remarks.append(f"The loss rises with {data.variables[0]}: is a lower value of it the better one?")
    if request.budgets and len(data.variables) == 1:
        remarks.append(f"--budget asks for runs that vary N and D; these vary {data.variables[0]} only.")
    if request.targets and len(data.variables) == 2:
        remarks.append("--target asks for a law in one variable; choose it with --axis D or --axis N.")
    return remarks


def _rises(data: Points) -> bool:
    """Whether the losses grow beyond their scatter."""
    x, y = data.logs[:, 0] - data.logs[:, 0].mean(), data.log_loss - data.log_loss.mean()
    slope = float(x @ y / (x @ x))
    error = float(np.sqrt(((y - slope * x) ** 2).sum() / max(y.size - 2, 1) / (x @ x)))
    return slope > _BEYOND_SCATTER * error


def _poor(one: Fit) -> bool:
    misfit = lack_of_fit(one)
    return misfit is not None and misfit.probability < POOR
