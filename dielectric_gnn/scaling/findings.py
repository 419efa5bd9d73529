"""What the fits of one group of runs imply, each as a sentence and as plain values: breaks, sizes, budgets, regimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dielectric_gnn.scaling.comparison import Comparison
from dielectric_gnn.scaling.derived import needed
from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.intervals import Interval, bootstrap_interval
from dielectric_gnn.scaling.surfaces import Cost, compute_optimal, regime
from dielectric_gnn.utils.errors import InputError

_EXPONENTS = ("a1", "a2", "aD1", "aD2")
"""Before and after a break."""
_NEVER = "never reached"
Intervals = Mapping[str, Mapping[str, Interval]]
"""By law and parameter."""
Draws = Mapping[str, Sequence[Fit]]
"""Fits to bootstrap draws by the name of the law; empty lists where nothing can be drawn."""


@dataclass(frozen=True)
class Finding:
    """One answer.

    Args:
        text: For people.
        facts: One for each law, as plain values; the first is that of the law which the text follows.
    """

    text: str
    facts: list[dict[str, Any]] = field(default_factory=list)


def number(value: float) -> str:
    """Four digits; what is a billion times smaller than any loss is zero."""
    if abs(value) < 1e-9:
        return "0"
    if not np.isfinite(value):
        return "–" if np.isnan(value) else "∞" if value > 0 else "-∞"
    return f"{value:.4g}"


def distance(comparison: Comparison, one: Fit) -> str:
    """How far a law is from the best, in words."""
    behind = comparison.behind(one)
    return f"{abs(behind):.1f} {'behind' if behind >= 0 else 'ahead'} in AICc"


def find_breaks(comparison: Comparison, profiles: Intervals, bootstraps: Intervals) -> Finding | None:
    """Where the exponent changes, by every law within reach that has a break.

    Args:
        comparison: Of the laws.
        profiles: Intervals of the parameters by profile likelihood, for laws within reach.
        bootstraps: The same by bootstrap over seeds, where there are seeds.
    """
    broken = [one for one in comparison.within_reach if one.law.breaks]
    if not broken:
        return None
    facts, places = [], []
    for one in broken:
        low, high = one.points.sizes[:, -1].min(), one.points.sizes[:, -1].max()
        where = []
        for name in one.law.breaks:
            value, profile = one.parameters[name], profiles[one.law.name][name]
            drawn = bootstraps.get(one.law.name, {}).get(name)
            inside = bool(low <= value <= high)
            facts.append(
                {
                    "question": "break",
                    "variable": one.points.variables[-1],
                    **_by(comparison, one),
                    "parameter": name,
                    "value": value,
                    **_ends(profile, "profile likelihood"),
                    "bootstrap": _ends(drawn, "bootstrap over seeds") if drawn else None,
                    "within_runs": inside,
                }
            )
            beside = str(profile) if one is broken[0] else ""
            beside += "" if inside else f"{', ' if beside else ''}outside the runs"
            where.append(number(value) + (f" ({beside})" if beside else ""))
        places.append(" and ".join(where))
    start = "The exponent changes" if comparison.chosen == "broken" else "If there is a break, it lies"
    given = f"given {broken[0].law.name}"
    if broken[0] is not comparison.best:
        given += f", {distance(comparison, broken[0])}"
    if exponents := [v for name, v in broken[0].parameters.items() if name in _EXPONENTS]:
        given += f" with the exponents {number(exponents[0])} and {number(exponents[1])}"
    text = f"{start} around {facts[0]['variable']} = {_within(places[0], given)}"
    for one, place in zip(broken[1:], places[1:], strict=True):
        text += f"; {one.law.name}, {distance(comparison, one)}, puts it at {place}"
    return Finding(text + ".", facts)


def find_size(comparison: Comparison, target: float, draws: Draws, level: float) -> Finding:
    """The size that a loss needs, by every law within reach."""
    variable = comparison.best.points.variables[0]
    facts, says = [], []
    for one in comparison.within_reach:
        interval = None
        try:
            value = needed(one, target)
        except InputError as error:
            value, reason = float("nan"), str(error)
        else:
            reason = "" if np.isfinite(value) else _NEVER
            if draws[one.law.name]:
                interval = bootstrap_interval(draws[one.law.name], lambda draw: _needed(draw, target), level)
        facts.append(
            {
                "question": "size for a loss",
                "target": target,
                "variable": variable,
                **_by(comparison, one),
                "reached": bool(np.isfinite(value)),
                "reason": reason,
                "value": value,
                **(_ends(interval, "bootstrap over seeds") if interval else {}),
            }
        )
        says.append(_size_in_words(value, reason, interval))
    needs = f"needs {variable} = " if facts[0]["reached"] else ""
    text = f"A loss of {target:g} {needs}{_within(says[0], f'given {comparison.best.law.name}')}"
    for one, words in zip(comparison.within_reach[1:], says[1:], strict=True):
        says_that = words if words[0].isdigit() else f"that it {words}"
        text += f"; {one.law.name}, {distance(comparison, one)}, says {says_that}"
    return Finding(text + ".", facts)


def find_optimum(fitted: Fit, budget: float, cost: Cost, draws: Sequence[Fit], level: float) -> Finding:
    """N and D on which a budget is best spent."""
    found = compute_optimal(fitted, budget, cost)
    sizes = fitted.points.sizes
    ranges = dict(zip("ND", zip(sizes.min(axis=0), sizes.max(axis=0), strict=True), strict=True))
    values = {"N": found.num_parameters, "D": found.num_data, "loss": found.loss}
    optima = [compute_optimal(draw, budget, cost) for draw in draws]
    intervals: dict[str, Interval] = {}
    for place, name in enumerate(values if draws else ()):
        low, high = np.quantile([one[place] for one in optima], [(1 - level) / 2, (1 + level) / 2])
        intervals[name] = Interval(float(low), float(high), level)
    outside = [name for name, (low, high) in ranges.items() if not low <= values[name] <= high]
    shown = {n: number(v) + (f" ({intervals[n]})" if n in intervals else "") for n, v in values.items()}
    text = (
        f"{budget:g} FLOPs (at {cost}) are best spent on N = {shown['N']} and D = {shown['D']}: loss {shown['loss']}, "
        f"given {fitted.law.name}."
    )
    for name in outside:
        low, high = ranges[name]
        text += f" This {name} is outside the runs ({low:g} to {high:g}): an extrapolation."
    fact = {
        "question": "best use of a budget",
        "flops": budget,
        "cost": {**cost._asdict(), "formula": "coefficient N^exponent D"},
        "law": fitted.law.name,
        **{
            name: {"value": value, **(_ends(intervals[name], "bootstrap over seeds") if name in intervals else {})}
            for name, value in values.items()
        },
        "outside_runs": outside,
    }
    return Finding(text, [fact])


def regimes(fitted: Fit) -> list[dict[str, Any]]:
    """For each run, whether more data or a larger model would lower its loss more."""
    return [
        {
            "run": run.name,
            "N": run.values["N"],
            "D": run.values["D"],
            "seed": run.seed,
            "regime": regime(fitted, run.values["N"], run.values["D"]),
        }
        for run in fitted.points.runs
    ]


def _by(comparison: Comparison, one: Fit) -> dict[str, Any]:
    return {"law": one.law.name, "aicc_behind": comparison.behind(one)}


def _ends(interval: Interval, method: str) -> dict[str, Any]:
    return {"low": interval.low, "high": interval.high, "level": interval.level, "method": method}


def _needed(draw: Fit, target: float) -> float:
    try:
        return needed(draw, target)
    except InputError:
        return float("nan")


def _size_in_words(value: float, reason: str, interval: Interval | None) -> str:
    if reason == _NEVER:
        lucky = f" (from {interval.low:.3g} on in some draws)" if interval and np.isfinite(interval.low) else ""
        return f"is never reached{lucky}"
    return f"is not answered: {reason}" if reason else number(value) + (f" ({interval})" if interval else "")


def _within(words: str, given: str) -> str:
    """With what is given, in the brackets that there are or in new ones."""
    return f"{words[:-1]}, {given})" if words.endswith(")") else f"{words} ({given})"
