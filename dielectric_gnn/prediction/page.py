"""The ranked table of predictions as one self-contained HTML file: a click sorts it, typing filters it.

The layout is `templates/page.html.jinja`; every text is escaped there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_NOTES = "warnings"
"""Key of the column of reasons to doubt a row, which colour it."""
_COLOUR = "colour"
"""The unit of a column of `#rrggbb` values."""


@dataclass(frozen=True)
class _Column:
    key: str
    heading: str
    unit: str
    kind: str
    order: str

    @property
    def is_colour(self) -> bool:
        return self.unit == _COLOUR


@dataclass(frozen=True)
class _Cell:
    text: str
    value: str = ""
    is_number: bool = False
    is_colour: bool = False
    is_note: bool = False


def prediction_page(
    title: str,
    subtitle: str,
    columns: Sequence[tuple[str, str, str]],
    rows: Sequence[Mapping[str, Any]],
    sorted_by: str | None = "material_id",
    descending: bool = False,
) -> str:
    """Return the page as text.

    Args:
        title: Heading.
        subtitle: A line below it.
        columns: Key, heading and unit of each column; the unit `colour` adds a swatch to `#rrggbb` values.
        rows: One mapping per material, in the order of the page; numbers have four digits.
        sorted_by: Key of the column by which the rows are sorted.
        descending: Whether the largest value of that column comes first.
    """
    numeric = {key for key, _, _ in columns if any(isinstance(row.get(key), float) for row in rows)}
    orders = {sorted_by: "descending" if descending else "ascending"}
    head = [
        _Column(key, heading, unit, "number" if key in numeric else "text", orders.get(key, ""))
        for key, heading, unit in columns
    ]
    environment = Environment(
        loader=PackageLoader("dielectric_gnn.prediction"), autoescape=True, undefined=StrictUndefined
    )
    template = environment.get_template("page.html.jinja")
    return template.render(title=title, subtitle=subtitle, columns=head, rows=[_row(row, head) for row in rows])


def _row(row: Mapping[str, Any], columns: Sequence[_Column]) -> dict[str, Any]:
    formula = str(row.get("formula") or "")
    return {
        "name": f"{row.get('material_id')} {formula}".lower(),
        "formula": formula,
        "is_doubtful": bool(row.get(_NOTES)),
        "cells": [_cell(row.get(column.key), column) for column in columns],
    }


def _cell(value: Any, column: _Column) -> _Cell:
    if column.kind == "text":
        return _Cell(str(value or ""), is_colour=column.is_colour, is_note=column.key == _NOTES)
    if isinstance(value, float) and math.isfinite(value):
        return _Cell(f"{value:.4g}", f"{value:.8g}", is_number=True)
    return _Cell("–", is_number=True)
