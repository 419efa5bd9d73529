"""Rows of CSV that programs read back unchanged, and that spreadsheets do not take for formulas."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORMULA = re.compile("'*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""What spreadsheets take for the beginning of a formula (the full-width forms included), behind any apostrophes."""

_QUOTED = re.compile('[,"\r\n]')


def csv_row(cells: Iterable[object]) -> str:
    """A line of CSV, with its line break.

    Texts that a spreadsheet would take for a formula begin with an apostrophe, as OWASP recommends ("CSV injection");
    numbers are written as they are. `unguarded` takes the apostrophe away. `csv.writer` does not quote a lone carriage
    return if lines end in a newline, so that its readers see two lines; here it is quoted.
    """
    texts = [guarded(cell) if isinstance(cell, str) else "" if cell is None else str(cell) for cell in cells]
    row = ",".join('"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text for text in texts)
    if row.startswith("#") or texts == [""]:  # would be a comment, or no row
        row = f'"{texts[0]}"{row[len(texts[0]) :]}'
    return f"{row}\n"


def guarded(text: str) -> str:
    """A text as a cell that no spreadsheet evaluates.

    Example:
        >>> guarded("=1+1"), guarded("-1.5"), guarded("Cu")
        ("'=1+1", '-1.5', 'Cu')
    """
    return f"'{text}" if _FORMULA.match(text) and not _is_number(text) else text


def unguarded(cell: str) -> str:
    """The text that `guarded` made a cell of.

    Example:
        >>> unguarded("'=1+1"), unguarded("'quoted'")
        ('=1+1', "'quoted'")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|nan)", text) is not None
