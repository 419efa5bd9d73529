"""Progress of long jobs on stderr: a bar on a terminal, otherwise a plain line at intervals."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dielectric_gnn.utils.text import printable

_SECONDS_BETWEEN_LINES = 10.0


class ProgressReporter:
    """Reports the progress of a job; use it as a context manager.

    Args:
        title: Name of the job.
        total: Amount at which it is complete; None if that is unknown.
        describe: Formats an amount, for example as `12 materials`.
        done: Amount that is complete at the start.
    """

    def __init__(self, title: str, total: int | None, describe: Callable[[int], str], done: int = 0) -> None:
        self.title = printable(title)
        self.total = total
        self.done = done
        self._describe = describe
        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
        self._bar = Progress(*columns, TimeRemainingColumn(), console=self._console)
        self._task = self._bar.add_task(escape(self.title), total=total, completed=done, text=self._text())
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    def __enter__(self) -> ProgressReporter:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()
        elif kind is None:
            self._line()

    def advance(self, amount: int = 1) -> None:
        """Count `amount` more as done."""
        self.done += amount
        if self._console.is_terminal:
            self._bar.update(self._task, completed=self.done, text=self._text())
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            self._line()

    def _text(self) -> str:
        return self._describe(self.done) + (f" of {self._describe(self.total)}" if self.total is not None else "")

    def _line(self) -> None:
        self._console.print(f"{self.title}: {self._text()}", highlight=False, markup=False, soft_wrap=True)
