"""Results as tables: rows for the terminal, data frame, CSV, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dielectric_gnn import __version__
from dielectric_gnn.scaling.analysis import GroupAnalysis
from dielectric_gnn.scaling.findings import format_number
from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.holdout_report import hold_out_details, hold_out_header, hold_out_rows
from dielectric_gnn.scaling.lack_of_fit import LackOfFit, lack_of_fit
from dielectric_gnn.scaling.sensitivity import sensitivity_header
from dielectric_gnn.utils.csv_cells import csv_row
from dielectric_gnn.utils.json_values import json_value

LAWS = ("law", "AICc", "BIC", "error beyond", "lack of fit")
"""Header of the table of laws. `error beyond` is the RMSLE at the held-out largest sizes, fitted without them; `lack of
fit` is the p-value of the F test."""
REGIMES = ("run", "N", "D", "seed", "regime")
"""Header of the table of regimes."""


def law_rows(analysis: GroupAnalysis) -> list[list[str]]:
    """One row per law, with the header `LAWS`."""
    rows = []
    for one in analysis.comparison.fits:
        misfit = lack_of_fit(one)
        beyond = analysis.comparison.extrapolation[one.law.name]
        p = f"p = {misfit.probability:.2g}" if misfit else "–"
        rows.append([one.law.name, format_number(one.aicc), format_number(one.bic), format_number(beyond), p])
    return rows


def parameter_header(analysis: GroupAnalysis) -> tuple[str, ...]:
    """Header of the table of parameters."""
    return ("law", "parameter", "value", *(f"{100 * analysis.level:g} % by {how}" for how in ("profile", "bootstrap")))


def parameter_rows(analysis: GroupAnalysis) -> list[list[str]]:
    """One row per law and parameter, with intervals of plausible laws."""
    rows = []
    for one in analysis.comparison.fits:
        for name, value in one.parameters.items():
            intervals = [known.get(one.law.name, {}).get(name) for known in (analysis.profiles, analysis.bootstraps)]
            rows.append([one.law.name, name, format_number(value), *("–" if i is None else str(i) for i in intervals)])
    return rows


def regime_rows(analysis: GroupAnalysis) -> list[list[str]]:
    """One row per run, with the header `REGIMES`."""
    return [["" if row[key] is None else _cell(row[key]) for key in REGIMES] for row in analysis.regimes]


def markdown(analyses: Sequence[GroupAnalysis]) -> str:
    """The report: all tables, verdicts, findings and remarks."""
    parts = []
    for analysis in analyses:
        lines = [f"## {analysis.title}", "", *_table(LAWS, law_rows(analysis)), ""]
        lines += [f"**Verdict.** {analysis.verdict}.", ""]
        lines += [f"- {line}" for line in findings_and_remarks(analysis)]
        lines += ["", *_table(parameter_header(analysis), parameter_rows(analysis))]
        lines += ["", *_table(hold_out_header(analysis), hold_out_rows(analysis))] if analysis.held_out else []
        if analysis.sensitivity:
            lines += ["", *_table(sensitivity_header(analysis.sensitivity), sensitivity_rows(analysis))]
        lines += ["", *_table(REGIMES, regime_rows(analysis))] if analysis.regimes else []
        parts.append("\n".join(lines).rstrip() + "\n")
    return "\n".join(parts)


def sensitivity_rows(analysis: GroupAnalysis) -> list[list[str]]:
    """One row per choice, with the header of `sensitivity_header`."""
    rows = analysis.sensitivity
    values = ([v for name, v in row.items() if name != "choice"] for row in rows)
    return [[row["choice"], *map(format_number, own)] for row, own in zip(rows, values, strict=True)]


def findings_and_remarks(analysis: GroupAnalysis) -> list[str]:
    """Findings and remarks, one sentence each."""
    return [*(finding.text for finding in analysis.findings), *analysis.remarks]


def fit_rows(analyses: Sequence[GroupAnalysis]) -> list[dict[str, Any]]:
    """One row per group, law and parameter, as plain values; None where there is no value."""
    return [
        {"group": analysis.data.title, "law": one.law.name, **parameter, **_scores(analysis, one)}
        for analysis in analyses
        for one in analysis.comparison.fits
        for parameter in _parameters(analysis, one)
    ]


def _parameters(analysis: GroupAnalysis, one: Fit) -> list[dict[str, Any]]:
    profiles, bootstraps = (known.get(one.law.name, {}) for known in (analysis.profiles, analysis.bootstraps))
    rows = []
    for name, value in one.parameters.items():
        profile, bootstrap = profiles.get(name), bootstraps.get(name)
        rows.append(
            {
                "parameter": name,
                "value": value,
                "low": profile and profile.low,
                "high": profile and profile.high,
                "level": profile and profile.level,
                "bootstrap_low": bootstrap and bootstrap.low,
                "bootstrap_high": bootstrap and bootstrap.high,
                "at_bound": int(name in one.at_bounds),
            }
        )
    return rows


def _scores(analysis: GroupAnalysis, one: Fit) -> dict[str, float | None]:
    misfit = lack_of_fit(one)
    return {
        "aicc": one.aicc,
        "bic": one.bic,
        "extrapolation_rmsle": analysis.comparison.extrapolation[one.law.name],
        "lack_of_fit_p": misfit.probability if misfit else None,
    }


def fits_csv(analyses: Sequence[GroupAnalysis]) -> str:
    """The `fit_rows` as CSV."""
    rows = fit_rows(analyses)
    return "".join(map(csv_row, [list(rows[0]), *(row.values() for row in rows)]))


def regimes_csv(analyses: Sequence[GroupAnalysis]) -> str:
    """One row per run of the groups in N and D, as CSV."""
    rows = [[a.data.title, *(row[key] for key in REGIMES)] for a in analyses for row in a.regimes]
    return "".join(map(csv_row, [["group", *REGIMES], *rows]))


def to_json(analyses: Sequence[GroupAnalysis], metric: str, options: Mapping[str, Any]) -> str:
    """All results as JSON; infinite numbers are "inf" and "-inf", and NaN is null."""
    content = {
        "version": __version__,
        "metric": metric,
        "options": dict(options),
        "groups": [_group(analysis) for analysis in analyses],
    }
    return json.dumps(json_value(content, keep_infinities=True), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _group(analysis: GroupAnalysis) -> dict[str, Any]:
    comparison = analysis.comparison
    return {
        "group": analysis.data.title,
        "variables": analysis.data.variables,
        "runs": len(analysis.data.runs),
        "sizes": len(analysis.data.sizes),
        "verdict": comparison.verdict,
        "shape": comparison.shape,
        "best": comparison.best.law.name,
        "laws": [_law(analysis, one) for one in comparison.fits],
        "left_out": [{"run": run.name, "loss": run.loss, "predicted": value} for run, value in comparison.outliers],
        "answers": [finding.text for finding in analysis.findings],
        "details": [row for finding in analysis.findings for row in finding.details],
        "remarks": analysis.remarks,
        "hold_out": hold_out_details(analysis),
        "sensitivity": analysis.sensitivity,
        "regimes": analysis.regimes,
    }


def _law(analysis: GroupAnalysis, one: Fit) -> dict[str, Any]:
    misfit: LackOfFit | None = lack_of_fit(one)
    known = {"profile": analysis.profiles, "bootstrap": analysis.bootstraps}
    intervals = {
        how: {name: asdict(interval) for name, interval in found[one.law.name].items()}
        for how, found in known.items()
        if found.get(one.law.name)
    }
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
