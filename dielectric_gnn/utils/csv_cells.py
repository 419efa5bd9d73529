"""Rows of CSV that programs read back unchanged, and that spreadsheets do not evaluate as formulas."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORMULA_START = re.compile("'*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""The beginning of a formula in spreadsheets (full-width forms included), after any apostrophes."""

_NEEDS_QUOTES = re.compile('[,"\r\n]')


def csv_row(cells: Iterable[object]) -> str:
    """Return a line of CSV with its line break.

    Texts that a spreadsheet would evaluate as a formula get a leading apostrophe, as OWASP recommends ("CSV
    injection"); numbers are unchanged. `unguard_cell` removes the apostrophe. `csv.writer` does not quote a lone
    carriage return if lines end in a newline, so that readers see two lines; here it is quoted.
    """
    texts = [guard_cell(cell) if isinstance(cell, str) else "" if cell is None else str(cell) for cell in cells]
    row = ",".join('"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text for text in texts)
    if row.startswith("#") or texts == [""]:  # it would be read as a comment, or as an empty line
        row = f'"{texts[0]}"{row[len(texts[0]) :]}'
    return f"{row}\n"


def guard_cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet evaluates.

    Example:
        >>> guard_cell("=1+1"), guard_cell("-1.5"), guard_cell("Cu")
        ("'=1+1", '-1.5', 'Cu')
    """
    return f"'{text}" if _FORMULA_START.match(text) and not _is_number(text) else text


def unguard_cell(cell: str) -> str:
    """Return the original text of a cell from `guard_cell`.

    Example:
        >>> unguard_cell("'=1+1"), unguard_cell("'quoted'")
        ('=1+1', "'quoted'")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA_START.match(cell) else cell


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)", text) is not None
