"""Tables of losses: CSV files, whose messages name the line, and data frames."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dielectric_gnn.utils.csv_cells import unguard_cell
from dielectric_gnn.utils.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Args:
        where: File and line, for messages.
        cells: Texts by column; empty cells are left out.
        decimal_comma: Whether a comma in a loss is a decimal comma: the delimiter is another character.
    """

    where: str
    cells: dict[str, str]
    decimal_comma: bool = False

    def number(self, column: str) -> float:
        """The number in a column.

        Raises:
            InputError: The cell is empty or not a number.
        """
        try:
            return float(_plain_number(self.cells[column], self.decimal_comma and column == "loss"))
        except (KeyError, ValueError) as error:
            raise InputError(f"{self.where}: {column} is {self.cells.get(column, '')!r}, expected a number") from error

    def integer(self, column: str) -> int:
        """The integer in a column; 3.0 is accepted, because some programs write integers so.

        Raises:
            InputError: The cell is empty or not an integer.
        """
        number = self.number(column)
        if not number.is_integer():
            raise InputError(f"{self.where}: {column} is {self.cells[column]!r}, expected a whole number, or nothing")
        return int(number)


@dataclass(frozen=True)
class Table:
    """The known columns of a table.

    Args:
        name: File, for messages.
        columns: The known columns that it has.
        header: All columns that it has.
        rows: Its rows, to be read once. A row with too few or too many cells raises an InputError when it is reached,
            so that missing columns are reported first.
        remarks: Columns that are not used.
    """

    name: str
    columns: list[str]
    header: list[str]
    rows: Iterator[Row]
    remarks: list[str]


_DELIMITERS = (",", ";", "\t", "|")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")


def _plain_number(text: str, decimal_comma: bool) -> str:
    """A number without separators of thousands, and with a decimal point."""
    text = re.sub(r"(?<=\d)[ '\u00a0\u202f](?=\d{3})", "", text)
    if _THOUSANDS.fullmatch(text) and not decimal_comma:
        return text.replace(",", "")
    return text.replace(",", ".") if text.count(",") == 1 and "." not in text else text


def read_csv(path: Path, known: Sequence[str], names: Mapping[str, str] | None = None) -> Table:
    """Read the known columns of a CSV; lines that begin with # are comments, names of columns may be in any case.

    The delimiter is a comma, a semicolon, a tab or a vertical bar: the one that is most frequent in the header.

    Args:
        path: The file.
        known: Names of the known columns.
        names: Names in the file by known name, where they differ.

    Not `pandas.read_csv`: that drops the numbers of the lines, and fills short rows silently.

    Raises:
        InputError: The file cannot be read, has no rows, or names a column twice.
    """
    numbers: list[int] = []
    try:
        # Excel begins a file with a byte order mark, which is not part of the first name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(_without_comments(file, numbers))
            delimiter = max(_DELIMITERS, key=next(filter(str.strip, lines), "").count)
            reader = csv.reader(lines, delimiter=delimiter)
            cells = [(numbers[reader.line_num - 1], row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV ({error})") from error
    if not cells:
        raise InputError(f"{path}: it is empty; expected a header and a row per run")
    header = _canonical_header(str(path), cells[0][1], known, names or {})
    if len(cells) == 1:
        raise InputError(f"{path}: no rows below the header; expected one per run")
    return _table(str(path), header, known, _csv_rows(path, header, cells[1:], delimiter != ","))


def table_from_dataframe(frame: pd.DataFrame, known: Sequence[str], names: Mapping[str, str] | None = None) -> Table:
    """The known columns of a data frame; missing values are empty cells.

    Args:
        frame: The data frame.
        known: Names of the known columns.
        names: Names in the frame by known name, where they differ.

    Raises:
        InputError: It has no rows, or a column twice.
    """
    name = "the data frame"
    header = _canonical_header(name, [str(column) for column in frame.columns], known, names or {})
    if frame.empty:
        raise InputError(f"{name} has no rows; expected one per run")
    texts = frame.astype(object).where(frame.notna(), "").to_numpy().tolist()
    rows = (
        Row(f"{name}, row {label}", {key: str(cell) for key, cell in zip(header, row, strict=True) if str(cell)})
        for label, row in zip(frame.index, texts, strict=True)
    )
    return _table(name, header, known, rows)


def _table(name: str, header: Sequence[str], known: Sequence[str], rows: Iterator[Row]) -> Table:
    unused = [column for column in header if column and column not in known]
    remarks = [f"{name}: not used: {', '.join(unused)}; known columns are {', '.join(known)}"] if unused else []
    return Table(name, [column for column in known if column in header], list(header), rows, remarks)


def _canonical_header(name: str, given: Sequence[str], known: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """The names of the columns, known ones in their canonical case.

    A column that `names` states takes the place of one that has the known name itself.
    """
    found = {column.strip().lower() for column in given}
    for column, stated in names.items():
        if column not in known:
            raise InputError(f"column {column}={stated}: expected one of {', '.join(known)} before the =")
        if stated.strip().lower() not in found:
            raise InputError(f"{name}: no column {stated!r}; the columns are {', '.join(c.strip() for c in given)}")
    canonical = {column.lower(): column for column in known if column not in names}
    canonical |= {stated.strip().lower(): column for column, stated in names.items()}
    header = [canonical.get(column.strip().lower(), column.strip()) for column in given]
    if twice := sorted({column for column in header if column and header.count(column) > 1}):
        shown = ", ".join(column.strip() for column in given)
        raise InputError(f"{name}: the column {twice[0]!r} occurs twice ({shown}); keep one of them")
    return header


def _csv_rows(
    path: Path, header: Sequence[str], cells: Sequence[tuple[int, list[str]]], decimal_comma: bool
) -> Iterator[Row]:
    for number, row in cells:
        if len(row) != len(header):
            raise InputError(f"{path}, line {number}: it has {len(row)} cells, expected {len(header)}, as the header")
        yield Row(
            f"{path}, line {number}",
            {name: unguard_cell(cell.strip()) for name, cell in zip(header, row, strict=True) if cell.strip()},
            decimal_comma,
        )


def _without_comments(file: Iterator[str], numbers: list[int]) -> Iterator[str]:
    """The lines that are not comments; their numbers in the file are appended to `numbers`."""
    for number, line in enumerate(file, start=1):
        if not line.startswith("#"):
            numbers.append(number)
            yield line
