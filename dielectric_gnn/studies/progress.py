"""Progress of a study: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dielectric_gnn.studies.execute import Outcome, State, find_record, state_of
from dielectric_gnn.studies.plan import PlannedRun
from dielectric_gnn.training.run_record import RunRecord
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.text import printable

_NUM_LIVE_ROWS = 20
_COLUMNS_WITHOUT_TERMINAL = 140
_SECONDS_BETWEEN_LINES = 30.0
_ORDER: tuple[State, ...] = ("finished", "trained", "running", "interrupted", "failed", "damaged", "waiting")


class Progress:
    """Shows the state of every run; use it as a context manager.

    Args:
        title: Name of the study.
        runs: Its runs.
        interval: Seconds between two updates.
    """

    def __init__(self, title: str, runs: Sequence[PlannedRun], interval: float = 1.0) -> None:
        self.title = title
        self.interval = interval
        self._runs = {run.name: run for run in runs}
        self._states: dict[str, State] = {run.name: self._idle(state_of(run)) for run in runs}
        self._reasons: dict[str, str] = {}
        self._console = Console(soft_wrap=True)
        if not self._console.is_terminal:
            self._console.width = _COLUMNS_WITHOUT_TERMINAL
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    def __enter__(self) -> Progress:
        self._print(f"study {self.title}: {len(self._runs)} runs, {self._counts()}")
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if kind is None:
            self._console.print(self.table(len(self._runs)))

    def begin(self, name: str) -> None:
        """Mark a run as started."""
        self._states[name] = "running"
        self._line(f"{name}: started")

    def end(self, name: str, outcome: Outcome) -> None:
        """Mark a run as ended."""
        self._states[name] = outcome.state
        if outcome.reason:
            self._reasons[name] = outcome.reason
        attempts = f" after {outcome.attempts} attempts" if outcome.attempts > 1 else ""
        loss = _loss(_record(self._runs[name]))
        self._line(
            f"{name}: {outcome.state}{attempts}{f', validation loss {loss}' if loss else ''}"
            f"{f' ({outcome.reason})' if outcome.reason else ''}; {self._counts()}"
        )

    def show(self) -> None:
        """Update the table; without a terminal, print a line every 30 seconds."""
        if self._console.is_terminal:
            self._live.update(self.table(_NUM_LIVE_ROWS), refresh=True)
        elif time.monotonic() >= self._next_line:
            self._line(f"study {self.title}: {self._counts()}")

    def table(self, rows: int) -> Table:
        """Table of the runs; if there are more than `rows`, active, failed and interrupted runs come first."""
        table = Table(title=f"{self.title}: {self._counts()}", title_justify="left")
        for heading in ("run", "state", "D", "N", "epochs", "validation loss", "test loss", "CPU h", "GPU h"):
            table.add_column(heading, justify="left" if heading in ("run", "state") else "right", no_wrap=True)
        names = list(self._runs)
        if len(names) > rows:
            first: tuple[State, ...] = ("running", "failed", "damaged", "interrupted")
            names.sort(key=lambda name: first.index(state) if (state := self._states[name]) in first else len(first))
        for name in names[:rows]:
            cells = (Text(printable(cell)) for cell in _cells(_record(self._runs[name])))
            table.add_row(name, self._states[name], *cells)
        if len(names) > rows:
            table.add_row(f"… {len(names) - rows} more", *[""] * 8)
        return table

    def failures(self) -> dict[str, str]:
        """Reasons of failures by name of the run."""
        return dict(self._reasons)

    def _counts(self) -> str:
        counts = Counter(self._states.values())
        return ", ".join(f"{counts[state]} {state}" for state in _ORDER if counts[state])

    def _line(self, text: str) -> None:
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        if not self._console.is_terminal:
            self._print(text)

    def _print(self, text: str) -> None:
        self._console.print(printable(text), highlight=False, markup=False)

    @staticmethod
    def _idle(state: State) -> State:
        # This study has not started any run yet, so a `running` one was killed.
        return "interrupted" if state == "running" else state


def _record(run: PlannedRun) -> RunRecord | None:
    try:
        return find_record(run)
    except InputError:
        return None


def _loss(record: RunRecord | None) -> str:
    return "" if record is None or record.best_validation_loss is None else f"{record.best_validation_loss:.4f}"


def _cells(record: RunRecord | None) -> list[str]:
    if record is None:
        return [""] * 7
    test = record.metrics.get("test/loss")
    cpu, gpu = (float(record.cost.get(f"{kind}_seconds", 0.0)) / 3600 for kind in ("cpu", "gpu"))
    return [
        f"{record.num_train:,}",
        f"{record.num_parameters:,}",
        f"{record.epochs}/{record.settings.get('max_epochs', '?')}",
        _loss(record),
        "" if test is None else f"{test:.4f}",
        f"{cpu:.2f}",
        f"{gpu:.2f}" if gpu else "",
    ]
