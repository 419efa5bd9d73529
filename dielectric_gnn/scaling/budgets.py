"""Findings of laws in N and D: the best use of a budget of FLOPs, and the regimes of the runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from dielectric_gnn.scaling.comparison import Comparison
from dielectric_gnn.scaling.compute import (
    Cost,
    compute_optimal,
    log_product,
    optimal_exponent,
    optimal_log_n,
    regime,
)
from dielectric_gnn.scaling.findings import (
    Draws,
    Finding,
    aicc_distance,
    format_number,
    interval_details,
    law_details,
)
from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.intervals import Interval, minimises, profile_interval, quantile_interval
from dielectric_gnn.scaling.laws import FloatArray


def find_optimum(comparison: Comparison, budget: float, cost: Cost, draws: Draws, level: float) -> Finding:
    """N and D of the lowest loss for a budget of FLOPs, by every plausible law."""
    best = comparison.best
    rows = [_optimum_details(comparison, one, budget, cost, draws[one.law.name], level) for one in comparison.plausible]
    n, d, loss, ratio = (_in_words(rows[0][name]) for name in ("N", "D", "loss", "data_per_parameter"))
    text = (
        f"{budget:g} FLOPs (at {cost}) are best spent on N = {n} and D = {d}, {ratio} data per parameter: loss {loss}, "
        f"given {best.law.name}."
    )
    text += f" There N grows as C^{_in_words(rows[0]['exponent_N'])} and D as C^{_in_words(rows[0]['exponent_D'])}."
    for name in rows[0]["outside_runs"]:
        column = best.points.values[:, "ND".index(name)]
        low, high = column.min(), column.max()
        text += f" This {name} is outside the runs ({low:g} to {high:g}): an extrapolation."
    for one, row in zip(comparison.plausible[1:], rows[1:], strict=True):
        text += (
            f" {one.law.name}, {aicc_distance(comparison, one)}, gives N = {_in_words(row['N'])} and D = "
            f"{_in_words(row['D'])}."
        )
    return Finding(text, rows)


def _optimum_details(
    comparison: Comparison, fitted: Fit, budget: float, cost: Cost, draws: FloatArray, level: float
) -> dict[str, Any]:
    """The optimum of one law, with the profile interval of N, from which that of D follows."""
    product, beta = log_product(budget, cost), cost.exponent
    optimum = compute_optimal(fitted, budget, cost)
    log_n = float(np.log(optimum.num_parameters))
    interval = profile_interval(fitted, minimises(fitted.law, product, beta), log_n, level, step=0.1)
    with np.errstate(over="ignore"):
        data, ratio = (
            Interval(float(np.exp(product - p * interval.high)), float(np.exp(product - p * interval.low)), level)
            for p in (beta, beta + 1.0)
        )
    slope = optimal_exponent(fitted.law, np.concatenate([fitted.theta[None], draws]), product, beta)
    sizes = fitted.points.sizes
    values = {"N": optimum.num_parameters, "D": optimum.num_data}
    return {
        "question": "best use of a budget",
        "flops": budget,
        "cost": {**cost._asdict(), "formula": "coefficient N^exponent D"},
        **law_details(comparison, fitted),
        "N": _with_interval(values["N"], interval.exp(), "profile likelihood"),
        "D": _with_interval(values["D"], data, "profile likelihood"),
        "data_per_parameter": _with_interval(values["D"] / values["N"], ratio, "profile likelihood"),
        "loss": _with_interval(optimum.loss, _interval_of_loss(fitted, draws, product, beta, level), "bootstrap"),
        "exponent_N": _with_interval(float(slope[0]), quantile_interval(slope[1:], level), "bootstrap"),
        "exponent_D": _with_interval(
            float(1.0 - beta * slope[0]), quantile_interval(1.0 - beta * slope[1:], level), "bootstrap"
        ),
        "outside_runs": [
            name for name, column in zip("ND", sizes.T, strict=True) if not column.min() <= values[name] <= column.max()
        ],
    }


def _interval_of_loss(fitted: Fit, draws: FloatArray, product: float, beta: float, level: float) -> Interval:
    log_n = optimal_log_n(fitted.law, draws, product, beta)
    pairs = zip(draws, log_n, strict=True)
    losses = [fitted.law.log_loss(one, np.array([[n, product - beta * n]]))[0] for one, n in pairs]
    return quantile_interval(np.exp(losses), level)


def _with_interval(value: float, interval: Interval, method: str) -> dict[str, Any]:
    return {"value": value, **interval_details(interval, method)}


def _in_words(row: dict[str, Any]) -> str:
    return f"{format_number(row['value'])} ({Interval(row['low'], row['high'], row['level'])})"


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
