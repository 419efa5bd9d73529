"""The ranked table of predictions as one HTML file that needs nothing else: sort by a click, filter by typing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any

PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>$title</title>
<style>
  body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 84rem; padding: 0 1rem; color: #1a1a1a; }
  h1 { font-size: 1.35rem; margin: 0 0 .3rem; }
  p { margin: .2rem 0 .8rem; color: #555; }
  input { font: inherit; padding: .35rem .6rem; width: 18rem; border: 1px solid #bbb; border-radius: .3rem; }
  .scroll { overflow: auto; max-height: max(20rem, calc(100vh - 12rem)); margin-top: .8rem; }
  caption { position: absolute; clip-path: inset(50%); }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
  th { background: #f2f2f2; position: sticky; top: 0; text-align: right; vertical-align: bottom; }
  th button { all: unset; cursor: pointer; font-weight: 600; }
  th button:focus-visible { outline: 2px solid #0072b2; }
  th[aria-sort=ascending] button::after { content: " ▲"; }
  th[aria-sort=descending] button::after { content: " ▼"; }
  th small { display: block; font-weight: 400; color: #666; }
  th, td { padding: .3rem .6rem; border-bottom: 1px solid #e3e3e3; }
  td { text-align: right; white-space: nowrap; }
  th.text, td.text { text-align: left; }
  .swatch { display: inline-block; width: 2.6rem; height: 1.1rem; border: 1px solid #888; border-radius: .2rem;
            vertical-align: middle; margin-right: .5rem; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$subtitle</p>
<label>Filter: <input id="filter" type="search" placeholder="formula, id or element"></label>
<span id="count" role="status"></span>
<div class="scroll" tabindex="0"><table>
<caption>$title</caption>
<thead><tr>$head</tr></thead>
<tbody>
$body
</tbody>
</table></div>
<script>
"use strict";
const body = document.querySelector("tbody");
const headers = [...document.querySelectorAll("th")];
const rows = [...body.rows];
const elements = new Map(rows.map(row => [row, new Set(row.dataset.formula.match(/[A-Z][a-z]?/g))]));
const symbol = /^[A-Z][a-z]?$$/;   // as written: Co is cobalt, co any text
function show() {
  const words = document.getElementById("filter").value.split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    row.hidden = !words.every(word =>
      symbol.test(word) ? elements.get(row).has(word) : row.dataset.name.includes(word.toLowerCase()));
    shown += row.hidden ? 0 : 1;
  }
  document.getElementById("count").textContent = shown + " of " + rows.length + " materials";
}
function sortBy(header, place) {
  const now = header.getAttribute("aria-sort");
  const descending = now === null ? header.dataset.kind === "number" : now === "ascending";
  const number = row => { const v = row.cells[place].dataset.value; return v === "" ? NaN : Number(v); };
  const text = row => row.cells[place].textContent;
  rows.sort((one, other) => {
    if (header.dataset.kind !== "number")
      return (descending ? -1 : 1) * text(one).localeCompare(text(other), "en", {numeric: true});
    const [a, b] = [number(one), number(other)];
    if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b);   // unknown values last, either way
    return descending ? b - a : a - b;
  });
  headers.forEach(other => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  body.append(...rows);
}
headers.forEach((header, place) =>
  header.querySelector("button").addEventListener("click", () => sortBy(header, place)));
document.getElementById("filter").addEventListener("input", show);
show();
</script>
</body>
</html>
"""
)


def prediction_page(
    title: str,
    subtitle: str,
    columns: Sequence[tuple[str, str, str]],
    rows: Sequence[Mapping[str, Any]],
    sorted_by: str | None = "material_id",
    descending: bool = False,
) -> str:
    """The page as text.

    Args:
        title: Heading.
        subtitle: A line below it.
        columns: Key, heading and unit of each column; the unit `colour` makes a swatch of a `#rrggbb` value.
        rows: One mapping per material, in the order to be shown; numbers are shown with four digits.
        sorted_by: Key of the column that the rows are in the order of.
        descending: Whether its largest value comes first.
    """
    numeric = {key for key, _, _ in columns if any(isinstance(row.get(key), float) for row in rows)}
    orders = {sorted_by: "descending" if descending else "ascending"}
    head = "".join(_header(*column, column[0] in numeric, orders.get(column[0], "")) for column in columns)
    body = "\n".join(_row(row, columns, numeric) for row in rows)
    return PAGE.substitute(title=escape(title), subtitle=escape(subtitle), head=head, body=body)


def _header(key: str, heading: str, unit: str, numeric: bool, order: str) -> str:
    kind = ("number", "") if numeric else ("text", ' class="text"')
    small = f"<small>{escape(unit)}</small>" if unit and unit != "colour" else ""
    state = f' aria-sort="{order}"' if order else ""
    button = f'<button type="button" title="sort by {escape(key)}">{escape(heading)}</button>'
    return f'<th scope="col" data-kind="{kind[0]}"{kind[1]}{state}>{button}{small}</th>'


def _row(row: Mapping[str, Any], columns: Sequence[tuple[str, str, str]], numeric: set[str]) -> str:
    formula = escape(str(row.get("formula") or ""))
    name = escape(f"{row.get('material_id')} {row.get('formula') or ''}".lower())
    cells = "".join(_cell(row.get(key), unit, key in numeric) for key, _, unit in columns)
    return f'<tr data-name="{name}" data-formula="{formula}">{cells}</tr>'


def _cell(value: Any, unit: str, numeric: bool) -> str:
    if numeric:
        known = isinstance(value, float) and math.isfinite(value)
        return f'<td data-value="{value:.8g}">{value:.4g}</td>' if known else '<td data-value="">–</td>'
    text = escape(str(value or ""))
    swatch = f'<span class="swatch" style="background:{text}"></span>' if unit == "colour" and text else ""
    return f'<td class="text">{swatch}{text}</td>'
