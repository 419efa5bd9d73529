"""Remarks on one group of runs: limits of the data, and what was left out or has no effect."""

from __future__ import annotations

from dielectric_gnn.scaling.comparison import Comparison, describe_outlier
from dielectric_gnn.scaling.lack_of_fit import does_not_describe, lack_of_fit
from dielectric_gnn.scaling.noise import has_seeds
from dielectric_gnn.scaling.points import Points
from dielectric_gnn.scaling.verdict import objection


def remarks(comparison: Comparison, has_target: bool, has_budget: bool) -> list[str]:
    """Limits of the data, runs and laws that were left out, and options without effect.

    Args:
        comparison: The compared laws.
        has_target: Whether a required size was requested.
        has_budget: Whether an optimum was requested.
    """
    data = comparison.best.points
    found = [describe_outlier(run, predicted) for run, predicted in comparison.outliers]
    found += [f"left out: {remark}." for remark in comparison.remarks]
    found += _remarks_on_seeds(data)
    misfit = lack_of_fit(comparison.best)
    if misfit and all(does_not_describe(one) for one in comparison.fits):
        found.append(
            f"No law here describes these data within the noise of the seeds: {comparison.best.law.name} deviates from "
            f"the sizes by {misfit.ratio:.1f} times what the seeds explain (F test, p = {misfit.probability:.1g}). "
            "Intervals account for this scatter between sizes, as of a subset that all seeds of a size share."
        )
    for one in comparison.plausible:
        if why := objection(one):
            found.append(f"{one.law.name}: {why}.")
    if has_budget and len(data.variables) == 1:
        found.append(f"A budget requires runs that vary N and D; these vary {data.variables[0]} only.")
    if has_budget and data.has_repeats:
        found.append("A budget requires a law in N and D; leave out repeats.")
    if has_target and len(data.variables) > 1:
        found.append("A target requires a law in one variable; choose it with the axis D or N.")
    return found


def _remarks_on_seeds(data: Points) -> list[str]:
    if not has_seeds(data):
        return ["One seed per size: the noise is estimated from the residuals only."]
    single = [size for size, losses in zip(data.sizes, data.losses_by_size, strict=True) if losses.size == 1]
    where = "; ".join(" ".join(f"{k} = {v:g}" for k, v in zip(data.variables, s, strict=True)) for s in single)
    return [f"One seed at {where}: its scatter is that of the other sizes."] if single else []
