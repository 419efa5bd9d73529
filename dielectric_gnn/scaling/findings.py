"""What the fits of one group of runs imply, as sentences and as plain values: breaks, sizes, budgets, regimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dielectric_gnn.scaling.comparison import Comparison
from dielectric_gnn.scaling.derived import required_size, required_sizes
from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.intervals import Interval, profile_interval, quantile_interval, reaches
from dielectric_gnn.scaling.laws import FloatArray
from dielectric_gnn.utils.errors import InputError

_EXPONENTS = ("a1", "a2", "aD1", "aD2")
"""Names of the exponents before and after a break."""
_NEVER = "never reached"
Intervals = Mapping[str, Mapping[str, Interval]]
"""Intervals by law and parameter."""
Draws = Mapping[str, FloatArray]
"""Parameters of bootstrap draws (draws, k) by the name of the law."""


@dataclass(frozen=True)
class Finding:
    """One result.

    Args:
        text: The result in a sentence.
        details: The result of each plausible law as plain values; first that of the law which the text follows.
    """

    text: str
    details: list[dict[str, Any]] = field(default_factory=list)


def format_number(value: float) -> str:
    """Four digits; absolute values below 1e-9 are shown as zero."""
    if abs(value) < 1e-9:
        return "0"
    if not np.isfinite(value):
        return "–" if np.isnan(value) else "∞" if value > 0 else "-∞"
    return f"{value:.4g}"


def find_breaks(comparison: Comparison, profiles: Intervals, bootstraps: Intervals) -> Finding | None:
    """Where the exponent changes, by every plausible law that has a break; None if there is no such law.

    Args:
        comparison: The compared laws.
        profiles: Intervals of the parameters of plausible laws by profile likelihood.
        bootstraps: The same by bootstrap.
    """
    broken = [one for one in comparison.plausible if one.law.breaks]
    if not broken:
        return None
    details = [_break_details(comparison, one, profiles, bootstraps) for one in broken]
    first, *others = (_breaks_in_words(own, with_interval=own is details[0]) for own in details)
    start = "The exponent changes" if comparison.shape == "broken" else "If there is a break, it lies"
    given = f"given {broken[0].law.name}"
    if broken[0] is not comparison.best:
        given += f", {aicc_distance(comparison, broken[0])}"
    if exponents := [value for name, value in broken[0].parameters.items() if name in _EXPONENTS]:
        given += f" with the exponents {format_number(exponents[0])} and {format_number(exponents[1])}"
    text = f"{start} around {details[0][0]['variable']} = {_with_condition(first, given)}"
    for one, words in zip(broken[1:], others, strict=True):
        text += f"; {one.law.name}, {aicc_distance(comparison, one)}, gives {words}"
    return Finding(text + ".", [row for own in details for row in own])


def _break_details(
    comparison: Comparison, one: Fit, profiles: Intervals, bootstraps: Intervals
) -> list[dict[str, Any]]:
    """The breaks of one law."""
    low, high = one.points.sizes[:, -1].min(), one.points.sizes[:, -1].max()
    rows = []
    for name in one.law.breaks:
        bootstrap = bootstraps.get(one.law.name, {}).get(name)
        rows.append(
            {
                "question": "break",
                "variable": one.points.variables[-1],
                **law_details(comparison, one),
                "parameter": name,
                "value": one.parameters[name],
                **interval_details(profiles[one.law.name][name], "profile likelihood"),
                "bootstrap": interval_details(bootstrap, "bootstrap") if bootstrap else None,
                "within_runs": bool(low <= one.parameters[name] <= high),
            }
        )
    return rows


def _breaks_in_words(rows: Sequence[Mapping[str, Any]], with_interval: bool) -> str:
    """Values of the breaks of one law, such as `5157 (149 to 2.58e+04)`."""
    texts = []
    for row in rows:
        notes = [str(Interval(row["low"], row["high"], row["level"]))] if with_interval else []
        notes += [] if row["within_runs"] else ["outside the runs"]
        texts.append(format_number(row["value"]) + (f" ({', '.join(notes)})" if notes else ""))
    return " and ".join(texts)


def find_size(comparison: Comparison, target: float, draws: Draws, level: float) -> Finding:
    """The size that a loss requires, by every plausible law."""
    variable = comparison.best.points.variables[0]
    details, texts = [], []
    for one in comparison.plausible:
        value, reason = _required_size_or_reason(one, target)
        interval = _interval_of_size(one, target, value, reason, draws[one.law.name], level)
        details.append(
            {
                "question": "size for a loss",
                "target": target,
                "variable": variable,
                **law_details(comparison, one),
                "reached": bool(np.isfinite(value)),
                "reason": reason,
                "value": value,
                **(interval_details(interval, "profile likelihood" if not reason else "bootstrap") if interval else {}),
            }
        )
        texts.append(_size_in_words(value, reason, interval))
    requires = f"requires {variable} = " if details[0]["reached"] else ""
    text = f"A loss of {target:g} {requires}{_with_condition(texts[0], f'given {comparison.best.law.name}')}"
    for one, words in zip(comparison.plausible[1:], texts[1:], strict=True):
        law = f"{one.law.name}, {aicc_distance(comparison, one)},"
        text += f"; {law} gives {words}" if words[0].isdigit() else f"; by {law} it {words}"
    return Finding(text + ".", details)


def aicc_distance(comparison: Comparison, one: Fit) -> str:
    """Difference in AICc between a law and the best, in words."""
    delta = comparison.delta_aicc(one)
    return f"{abs(delta):.1f} {'behind' if delta >= 0 else 'ahead'} in AICc"


def law_details(comparison: Comparison, one: Fit) -> dict[str, Any]:
    """Name of a law and its distance from the best, as plain values."""
    return {"law": one.law.name, "aicc_behind": comparison.delta_aicc(one)}


def interval_details(interval: Interval, method: str) -> dict[str, Any]:
    """An interval as plain values."""
    return {"low": interval.low, "high": interval.high, "level": interval.level, "method": method}


def _interval_of_size(
    fitted: Fit, target: float, value: float, reason: str, draws: FloatArray, level: float
) -> Interval | None:
    """By profile likelihood where the loss is reached, by bootstrap where it is not; None if it has no size."""
    if not reason:
        return profile_interval(fitted, reaches(fitted.law, target), float(np.log(value)), level).exp()
    if reason != _NEVER:
        return None
    sizes = fitted.points.sizes[:, 0]
    return quantile_interval(required_sizes(fitted.law, draws, target, sizes.min(), sizes.max()), level)


def _required_size_or_reason(fitted: Fit, target: float) -> tuple[float, str]:
    """The size, infinite or NaN if there is none, and then the reason."""
    try:
        value = required_size(fitted, target)
    except InputError as error:
        return float("nan"), str(error)
    return value, "" if np.isfinite(value) else _NEVER


def _size_in_words(value: float, reason: str, interval: Interval | None) -> str:
    if reason == _NEVER:
        finite = interval is not None and np.isfinite(interval.low)
        return "is never reached" + (f" (in some draws from {interval.low:.3g} on)" if interval and finite else "")
    if reason:
        return f"has no required size: {reason}"
    return format_number(value) + (f" ({interval})" if interval else "")


def _with_condition(words: str, condition: str) -> str:
    """The words with the condition, inside the parentheses at their end or in new ones."""
    return f"{words[:-1]}, {condition})" if words.endswith(")") else f"{words} ({condition})"
