"""Predictions of the held-out sizes as tables: rows for the terminal, CSV and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dielectric_gnn.scaling.analysis import GroupAnalysis
from dielectric_gnn.scaling.findings import format_number
from dielectric_gnn.scaling.intervals import Interval
from dielectric_gnn.utils.csv_cells import csv_row

_COLUMNS = ("group", "law", "weight", "rmsle", "N", "D", "x", "measured", "predicted", "low", "high", "level")


def hold_out_header(analysis: GroupAnalysis) -> tuple[str, ...]:
    """Header of the table of predictions; empty without held-out sizes."""
    held = analysis.held_out
    if held is None:
        return ()
    sizes = "size" if len(held.sizes) == 1 else f"{len(held.sizes)} sizes"
    largest = " ".join(
        f"{name} = {value:g}" for name, value in zip(analysis.data.variables, held.sizes[-1], strict=True)
    )
    return (
        f"fitted without the largest {sizes}",
        "weight",
        "error",
        f"inside the {100 * held.level:g} % band",
        f"loss at {largest} (measured {format_number(float(held.measured[-1]))})",
    )


def hold_out_rows(analysis: GroupAnalysis) -> list[list[str]]:
    """One row per law and one for their average, with the header of `hold_out_header`."""
    held = analysis.held_out
    if held is None:
        return []
    return [
        [
            one.law,
            f"{one.weight:.2f}",
            format_number(one.error),
            f"{held.inside(one)} of {len(held.sizes)}",
            f"{format_number(float(one.losses[-1]))} ({Interval(float(one.low[-1]), float(one.high[-1]), held.level)})",
        ]
        for one in held.predictions
    ]


def hold_out_details(analysis: GroupAnalysis) -> list[dict[str, Any]]:
    """One row per law and held-out size, as plain values."""
    held = analysis.held_out
    if held is None:
        return []
    return [
        {
            "law": one.law,
            "weight": one.weight,
            "rmsle": one.error,
            **dict(zip(analysis.data.variables, map(float, size), strict=True)),
            "measured": float(held.measured[place]),
            "predicted": float(one.losses[place]),
            "low": float(one.low[place]),
            "high": float(one.high[place]),
            "level": held.level,
        }
        for one in held.predictions
        for place, size in enumerate(held.sizes)
    ]


def hold_out_csv(analyses: Sequence[GroupAnalysis]) -> str:
    """The details of all groups as CSV."""
    rows = [{"group": analysis.data.title, **row} for analysis in analyses for row in hold_out_details(analysis)]
    used = [column for column in _COLUMNS if any(column in row for row in rows)]
    return csv_row(used) + "".join(csv_row([row.get(column) for column in used]) for row in rows)
