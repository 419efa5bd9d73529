"""Analyses as tables: for the terminal, CSV, Markdown and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dielectric_gnn import __version__
from dielectric_gnn.scaling.analysis import Analysis
from dielectric_gnn.scaling.comparison import LackOfFit, lack_of_fit
from dielectric_gnn.scaling.findings import number
from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.intervals import Interval
from dielectric_gnn.utils.csv_cells import csv_row

LAWS = ("law", "AICc", "BIC", "error beyond", "lack of fit")
"""Of the table of laws: the fourth is RMSLE at the largest size, fitted without it, the last the p of its F test."""
REGIMES = ("run", "N", "D", "seed", "regime")


def law_rows(analysis: Analysis) -> list[list[str]]:
    """One line per law."""
    rows = []
    for one in analysis.comparison.fits:
        misfit = lack_of_fit(one)
        beyond = analysis.comparison.extrapolation[one.law.name]
        p = f"p = {misfit.probability:.2g}" if misfit else "–"
        rows.append([one.law.name, number(one.aicc), number(one.bic), number(beyond), p])
    return rows


def parameter_header(analysis: Analysis) -> tuple[str, ...]:
    """Of the table of parameters."""
    return ("law", "parameter", "value", *(f"{100 * analysis.level:g} % by {how}" for how in ("profile", "bootstrap")))


def parameter_rows(analysis: Analysis) -> list[list[str]]:
    """One line per law and parameter; intervals for laws within reach."""
    rows = []
    for one in analysis.comparison.fits:
        for name, value in one.parameters.items():
            intervals = [known.get(one.law.name, {}).get(name) for known in (analysis.profiles, analysis.bootstraps)]
            rows.append([one.law.name, name, number(value), *("–" if i is None else str(i) for i in intervals)])
    return rows


def regime_rows(analysis: Analysis) -> list[list[str]]:
    """One line per run."""
    return [["" if row[key] is None else _cell(row[key]) for key in REGIMES] for row in analysis.regimes]


def markdown(analyses: Sequence[Analysis]) -> str:
    """Everything for people."""
    parts = []
    for analysis in analyses:
        lines = [f"## {analysis.title}", "", *_table(LAWS, law_rows(analysis)), ""]
        lines += [f"**Verdict.** {analysis.comparison.verdict}.", ""]
        lines += [f"- {line}" for line in spoken(analysis)]
        lines += ["", *_table(parameter_header(analysis), parameter_rows(analysis))]
        lines += ["", *_table(REGIMES, regime_rows(analysis))] if analysis.regimes else []
        parts.append("\n".join(lines).rstrip() + "\n")
    return "\n".join(parts)


def spoken(analysis: Analysis) -> list[str]:
    """Answers and remarks, a sentence each."""
    return [*(finding.text for finding in analysis.findings), *analysis.remarks]


def comma_separated(analyses: Sequence[Analysis]) -> str:
    """One line per law and parameter."""
    ends = ("low", "high", "level", "bootstrap_low", "bootstrap_high", "at_bound")
    of_law = ("aicc", "bic", "extrapolation_rmsle", "lack_of_fit_p")
    rows: list[list[Any]] = [["group", "law", "parameter", "value", *ends, *of_law]]
    for analysis in analyses:
        for one in analysis.comparison.fits:
            law = one.law.name
            misfit = lack_of_fit(one)
            scores = [one.aicc, one.bic, analysis.comparison.extrapolation[law], misfit.probability if misfit else ""]
            for name, value in one.parameters.items():
                profile, drawn = (k.get(law, {}).get(name) for k in (analysis.profiles, analysis.bootstraps))
                cells: list[Any] = [profile.low, profile.high, profile.level] if profile else [""] * 3
                cells += [drawn.low, drawn.high] if drawn else [""] * 2
                rows.append([analysis.data.title, law, name, value, *cells, int(name in one.at_bounds), *scores])
    return _lines(rows)


def regimes_table(analyses: Sequence[Analysis]) -> str:
    """One line per run of the groups in N and D."""
    rows = [[a.data.title, *(row[key] for key in REGIMES)] for a in analyses for row in a.regimes]
    return _lines([["group", *REGIMES], *rows])


def as_json(analyses: Sequence[Analysis], metric: str, options: Mapping[str, Any]) -> str:
    """Everything for programs; infinite numbers are "inf" and "-inf", and what is unknown is null."""
    plain = {
        "version": __version__,
        "metric": metric,
        "options": dict(options),
        "groups": [_group(analysis) for analysis in analyses],
    }
    return json.dumps(_plain(plain), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _group(analysis: Analysis) -> dict[str, Any]:
    comparison = analysis.comparison
    return {
        "group": analysis.data.title,
        "variables": analysis.data.variables,
        "runs": len(analysis.data.runs),
        "sizes": len(analysis.data.sizes),
        "verdict": comparison.verdict,
        "shape": comparison.chosen,
        "best": comparison.best.law.name,
        "laws": [_law(analysis, one) for one in comparison.fits],
        "left_out": [{"run": run.name, "loss": run.loss, "predicted": value} for run, value in comparison.outliers],
        "answers": [finding.text for finding in analysis.findings],
        "facts": [fact for finding in analysis.findings for fact in finding.facts],
        "remarks": analysis.remarks,
        "regimes": analysis.regimes,
    }


def _law(analysis: Analysis, one: Fit) -> dict[str, Any]:
    misfit: LackOfFit | None = lack_of_fit(one)
    known = {"profile": analysis.profiles, "bootstrap": analysis.bootstraps}
    intervals = {how: found[one.law.name] for how, found in known.items() if found.get(one.law.name)}
    return {
        "law": one.law.name,
        "formula": one.law.formula,
        "mode": one.mode,
        "parameters": one.parameters,
        "at_bounds": one.at_bounds,
        "intervals": intervals,
        "aicc": one.aicc,
        "bic": one.bic,
        "extrapolation_rmsle": analysis.comparison.extrapolation[one.law.name],
        "lack_of_fit": misfit and {"F": misfit.ratio, "df": [misfit.between, misfit.within], "p": misfit.probability},
    }


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]


def _cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _lines(rows: Sequence[Sequence[Any]]) -> str:
    return "".join(map(csv_row, rows))


def _plain(value: Any) -> Any:
    if isinstance(value, Interval):
        return {"low": _plain(value.low), "high": _plain(value.high), "level": value.level}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(value) if math.isfinite(value) else "inf" if value > 0 else "-inf"
    return value
