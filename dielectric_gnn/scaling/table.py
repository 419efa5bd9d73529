"""Reading a CSV: its known columns, each cell with the line of the file that it stands in."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dielectric_gnn.utils.csv_cells import unguard_cell
from dielectric_gnn.utils.errors import InputError


@dataclass(frozen=True)
class Row:
    """A row of a CSV.

    Args:
        where: File and line, for messages.
        cells: By column; one that is empty is left out.
    """

    where: str
    cells: dict[str, str]

    def number(self, column: str) -> float:
        """The number in a column.

        Raises:
            InputError: There is none.
        """
        try:
            return float(self.cells[column])
        except (KeyError, ValueError) as error:
            raise InputError(f"{self.where}: {column} is {self.cells.get(column, '')!r}, expected a number") from error

    def whole(self, column: str) -> int:
        """The whole number in a column; 3.0 is one, too: some programs write it so.

        Raises:
            InputError: There is none.
        """
        number = self.number(column)
        if not number.is_integer():
            raise InputError(f"{self.where}: {column} is {self.cells[column]!r}, expected a whole number, or nothing")
        return int(number)


def read_rows(path: Path, known: Sequence[str]) -> tuple[list[str], Iterator[Row], list[str]]:
    """Read the known columns of a CSV; lines that begin with # are comments, the case of a column's name is no matter.

    Returns:
        The columns that it has of those known, its rows, and a remark if others are not used. A row whose cells are not
        as many as the columns raises an InputError when it is reached, so that the columns can be judged before.

    Raises:
        InputError: It cannot be read, has no rows, or names a column twice.
    """
    numbers: list[int] = []
    try:
        # Excel begins a file with a mark that is no part of the first name.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(_numbered(file, numbers))
            cells = [(numbers[reader.line_num - 1], row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV ({error})") from error
    if not cells:
        raise InputError(f"{path}: it is empty; expected a header and a row per run")
    canonical = {name.lower(): name for name in known}
    given = [name.strip() for name in cells[0][1]]
    header = [canonical.get(name.lower(), name) for name in given]
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise InputError(f"{path}: the column {twice[0]!r} occurs twice ({', '.join(given)}); keep one of them")
    if len(cells) == 1:
        raise InputError(f"{path}: no rows below the header; expected one per run")
    unused = [name for name in header if name and name not in known]
    remarks = [f"{path}: not used: {', '.join(unused)}; known columns are {', '.join(known)}"] if unused else []
    return [name for name in known if name in header], _rows(path, header, cells[1:]), remarks


def _rows(path: Path, header: Sequence[str], cells: Sequence[tuple[int, list[str]]]) -> Iterator[Row]:
    for number, row in cells:
        if len(row) != len(header):
            raise InputError(f"{path}, line {number}: it has {len(row)} cells, expected {len(header)}, as the header")
        yield Row(
            f"{path}, line {number}",
            {name: unguard_cell(cell.strip()) for name, cell in zip(header, row, strict=True) if cell.strip()},
        )


def _numbered(file: Iterator[str], numbers: list[int]) -> Iterator[str]:
    """The lines that are no comments; their numbers in the file are noted."""
    for number, line in enumerate(file, start=1):
        if not line.startswith("#"):
            numbers.append(number)
            yield line
