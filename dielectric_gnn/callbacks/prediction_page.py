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
  .scroll { overflow-x: auto; margin-top: .8rem; }
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
<span id="count"></span>
<div class="scroll"><table>
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
function show() {
  const words = document.getElementById("filter").value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every(word => text.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  document.getElementById("count").textContent = shown + " of " + rows.length + " materials";
}
function sortBy(header, place) {
  const descending = header.ariaSort === "descending" ? false : header.ariaSort === "ascending" ? true
    : header.dataset.kind === "number";
  const number = row => { const v = row.cells[place].dataset.value; return v === "" ? NaN : Number(v); };
  const text = row => row.cells[place].textContent;
  rows.sort((one, other) => {
    if (header.dataset.kind !== "number") return (descending ? -1 : 1) * text(one).localeCompare(text(other));
    const [a, b] = [number(one), number(other)];
    if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b);   // unknown values last, either way
    return descending ? b - a : a - b;
  });
  headers.forEach(other => other.removeAttribute("aria-sort"));
  header.ariaSort = descending ? "descending" : "ascending";
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
    sorted_by: str | None = None,
) -> str:
    """The page as text.

    Args:
        title: Heading.
        subtitle: A line below it.
        columns: Key, heading and unit of each column; the unit `colour` makes a swatch of a `#rrggbb` value.
        rows: One mapping per material, in the order to be shown; numbers are shown with four digits.
        sorted_by: Key of the column that the rows are in the order of, largest first.
    """
    numeric = {key for key, _, _ in columns if any(isinstance(row.get(key), float) for row in rows)}
    head = "".join(_header(*column, column[0] in numeric, column[0] == sorted_by) for column in columns)
    body = "\n".join("<tr>" + "".join(_cell(row.get(key), unit, key in numeric) for key, _, unit in columns) + "</tr>"
                     for row in rows)  # fmt: skip
    return PAGE.substitute(title=escape(title), subtitle=escape(subtitle), head=head, body=body)


def _header(key: str, heading: str, unit: str, numeric: bool, sorted_by: bool) -> str:
    kind = ("number", "") if numeric else ("text", ' class="text"')
    small = f"<small>{escape(unit)}</small>" if unit and unit != "colour" else ""
    state = ' aria-sort="descending"' if sorted_by else ""
    button = f'<button type="button" title="sort by {escape(key)}">{escape(heading)}</button>'
    return f'<th scope="col" data-kind="{kind[0]}"{kind[1]}{state}>{button}{small}</th>'


def _cell(value: Any, unit: str, numeric: bool) -> str:
    if numeric:
        known = isinstance(value, float) and math.isfinite(value)
        return f'<td data-value="{value:.8g}">{value:.4g}</td>' if known else '<td data-value="">–</td>'
    text = escape(str(value or ""))
    swatch = f'<span class="swatch" style="background:{text}"></span>' if unit == "colour" and text else ""
    return f'<td class="text">{swatch}{text}</td>'
