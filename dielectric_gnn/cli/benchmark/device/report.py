"""Tables of measurements: one plain line for each row at once, and Markdown and JSON at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dielectric_gnn.utils.text import on_one_line

Value = str | float | bool
Row = dict[str, Value]

_MESSAGE_LENGTH = 160


@dataclass
class Report:
    """Tables in the order of their first rows.

    Args:
        header: What was measured on what, in both files.
        minutes: Rows that would begin later are left out and listed.
    """

    header: Mapping[str, Value]
    minutes: float
    tables: dict[str, list[Row]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def add(self, table: str, key: Mapping[str, Value], measure: Callable[[], Mapping[str, Value]]) -> None:
        """Measure a row and print it; an error becomes its last cell, so that the other rows are still measured.

        Args:
            table: Title of the table.
            key: First cells of the row.
            measure: Gives the other cells.
        """
        name = f"{table}: {' '.join(map(_text, key.values()))}"
        if time.monotonic() - self.started > 60 * self.minutes:
            if not self.left_out:
                print("the time is over: the other rows are left out", flush=True)
            self.left_out.append(name)
            return
        try:
            cells = dict(measure())
        except Exception as error:  # out of memory, or a kernel or compiler that is missing: part of the result
            cells = {"failed": f"{type(error).__name__}: {on_one_line(str(error))[:_MESSAGE_LENGTH]}"}
        self.tables.setdefault(table, []).append({**key, **cells})
        print(f"{name}: {', '.join(f'{title} {_text(value)}' for title, value in cells.items())}", flush=True)

    @property
    def unequal(self) -> list[str]:
        """Rows in which results that should be equal are not."""
        rows = [(table, row) for table, rows in self.tables.items() for row in rows]
        return [f"{table}: {' '.join(map(_text, row.values()))}" for table, row in rows if row.get("equal") is False]

    @property
    def failed(self) -> list[str]:
        """Rows that could not be measured."""
        rows = [(table, row) for table, rows in self.tables.items() for row in rows]
        return [f"{table}: {' '.join(map(_text, row.values()))}" for table, row in rows if "failed" in row]

    def markdown(self) -> str:
        """All tables, each below its title."""
        lines = [f"{title}: {_text(value)}  " for title, value in self.header.items()]
        for table, rows in self.tables.items():
            titles = list(dict.fromkeys(title for row in rows for title in row))
            lines += ["", f"## {table}", "", _line(titles), _line(["---"] * len(titles))]
            lines += [_line([_text(row.get(title, "–")).replace("|", "\\|") for title in titles]) for row in rows]
        lines += ["", *(f"- left out: {name}" for name in self.left_out)]
        return "\n".join(lines).rstrip() + "\n"

    def to_json(self) -> str:
        """The same with all digits."""
        return json.dumps({"header": self.header, "tables": self.tables, "left_out": self.left_out}, indent=1) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
