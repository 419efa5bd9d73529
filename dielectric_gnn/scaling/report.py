"""Fits as tables: for the terminal, CSV, Markdown, LaTeX and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dielectric_gnn.scaling.comparison import Comparison
from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.intervals import Interval

HEADER = ("law", "parameters", "AICc", "BIC", "error beyond")
"""Of the table of one comparison; the last is RMSLE at the largest size, fitted without it."""


@dataclass
class Report:
    """All that is said of one group of runs.

    Args:
        comparison: Of the laws.
        intervals: Of the parameters of the best law.
        answers: Questions and their answers, in words.
        facts: The same, and regimes of runs, as plain values.
    """

    comparison: Comparison
    intervals: dict[str, Interval] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the runs have in common, and what varies."""
        data = self.comparison.best.points
        seeds = sorted({losses.size for losses in data.members})
        several = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
        return f"{data.title}: loss against {' and '.join(data.variables)} ({len(data.sizes)} sizes, {several} seeds)"

    def rows(self) -> list[list[str]]:
        """One line per law."""
        return [
            [
                one.law.name,
                self._parameters(one),
                number(one.aicc),
                number(one.bic),
                number(self.comparison.extrapolation[one.law.name]),
            ]
            for one in self.comparison.fits
        ]

    def _parameters(self, one: Fit) -> str:
        intervals = self.intervals if one is self.comparison.best else {}
        return ", ".join(
            f"{name} = {number(value)}" + (f" ({intervals[name]})" if name in intervals else "")
            for name, value in one.parameters.items()
        )


def number(value: float) -> str:
    """Four digits; what is a billion times smaller than any loss is zero."""
    if abs(value) < 1e-9:
        return "0"
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞"
    return f"{value:.4g}"


def markdown(reports: Sequence[Report]) -> str:
    """Everything for people."""
    parts = []
    for report in reports:
        lines = [f"## {report.title}", "", "| " + " | ".join(HEADER) + " |", "| --- " * len(HEADER) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in report.rows()]
        lines += ["", f"**Verdict.** {report.comparison.verdict}.", ""]
        lines += [f"- {answer}" for answer in report.answers]
        lines += [f"- Left out: {remark}" for remark in report.comparison.remarks]
        parts.append("\n".join(lines).rstrip() + "\n")
    return "\n".join(parts)


def latex(reports: Sequence[Report]) -> str:
    """A tabular for each group."""
    parts = []
    for report in reports:
        rows = [" & ".join(map(_tex, row)) + r" \\" for row in (list(HEADER), *report.rows())]
        body = "\n".join([rows[0], r"\hline", *rows[1:]])
        parts.append(f"% {report.title}\n\\begin{{tabular}}{{llrrr}}\n{body}\n\\end{{tabular}}\n")
    return "\n".join(parts)


def comma_separated(reports: Sequence[Report]) -> str:
    """One line per law and parameter."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["group", "law", "parameter", "value", "low", "high", "level", "aicc", "bic", "extrapolation_rmsle"]
    )
    for report in reports:
        for one in report.comparison.fits:
            known = report.intervals if one is report.comparison.best else {}
            for name, value in one.parameters.items():
                interval = known.get(name)
                ends = [interval.low, interval.high, interval.level] if interval else ["", "", ""]
                beyond = report.comparison.extrapolation[one.law.name]
                writer.writerow([one.points.title, one.law.name, name, value, *ends, one.aicc, one.bic, beyond])
    return text.getvalue()


def as_json(reports: Sequence[Report]) -> str:
    """Everything for programs; numbers that are not finite are null."""
    plain = [
        {
            "group": report.comparison.best.points.title,
            "variables": report.comparison.best.points.variables,
            "verdict": report.comparison.verdict,
            "shape": report.comparison.chosen,
            "laws": [
                {
                    "law": one.law.name,
                    "formula": one.law.formula,
                    "mode": one.mode,
                    "parameters": _finite(one.parameters),
                    "aicc": _finite(one.aicc),
                    "bic": _finite(one.bic),
                    "extrapolation_rmsle": _finite(report.comparison.extrapolation[one.law.name]),
                }
                for one in report.comparison.fits
            ],
            "intervals": {
                name: {"low": _finite(i.low), "high": _finite(i.high), "level": i.level}
                for name, i in report.intervals.items()
            },
            "remarks": report.comparison.remarks,
            "answers": report.answers,
            **_finite(report.facts),
        }
        for report in reports
    ]
    return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"


def _tex(text: str) -> str:
    for plain, escaped in (("_", r"\_"), ("*", r"$\cdot$"), ("∞", r"$\infty$"), ("–", "--"), ("^", r"\^{}")):
        text = text.replace(plain, escaped)
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
