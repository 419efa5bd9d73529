"""What every source of records shares: iteration, an optional fixed split, and the handling of bad materials."""

from __future__ import annotations

import logging
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.utils.errors import InputError, RecordError
from dielectric_gnn.utils.files import write_csv

OnError = Literal["raise", "skip"]
Outcome = CrystalRecord | RecordError
"""What reading one material gives: the record, or why there is none."""

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tasks:
    """The work of reading a source, in pieces that any process can do, in any order.

    Args:
        items: One per material, good or bad, always in the same order; can be pickled.
        read: Reads one item, or raises RecordError; can be pickled.
        fingerprint: Another text whenever the items or what they hold may have changed; it tells whether a build of a
            store that was interrupted can go on.
    """

    items: Iterable[Any]
    read: Callable[[Any], CrystalRecord]
    fingerprint: str


class RecordSource(ABC):
    """The materials of one data set, in one format.

    After reading, `rejects` holds the bad materials that were skipped.
    """

    def __init__(self) -> None:
        self.rejects: list[RecordError] = []

    @abstractmethod
    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """Read the materials one by one.

        Args:
            on_error: `raise` stops at the first bad material; `skip` goes on and keeps it in `rejects`.

        Raises:
            RecordError: A material cannot be used, under `raise`.
            InputError: There is nothing to read.
        """

    def size(self) -> int | None:
        """How many materials there are to read, good and bad; None where only reading tells."""
        return None

    def split(self) -> dict[str, list[str]] | None:
        """Material ids of `train`, `val` and `test` where the data set fixes them; None: they are drawn."""
        return None

    def tasks(self) -> Tasks | None:
        """The same materials as independent pieces of work; None: only `records` reads them, in one process."""
        return None

    def read_each(
        self, items: Iterable[T], read: Callable[[T], CrystalRecord], on_error: OnError
    ) -> Iterator[CrystalRecord]:
        """Read every item, refusing identifiers seen before, and treat bad ones as `on_error` says."""
        return self._accept((attempt(read, item) for item in items), on_error)

    def _accept(self, outcomes: Generator[Outcome, None, None], on_error: OnError) -> Iterator[CrystalRecord]:
        """The records among `outcomes`; the rest is treated as `on_error` says."""
        self.rejects = []
        seen: dict[str, str] = {}
        with closing(outcomes):
            for outcome in outcomes:
                if isinstance(outcome, CrystalRecord) and outcome.material_id in seen:
                    first = seen[outcome.material_id]
                    problem = f"material id {outcome.material_id!r} was read from {first} already"
                    outcome = RecordError(outcome.source, problem)
                if isinstance(outcome, CrystalRecord):
                    seen[outcome.material_id] = outcome.source
                    yield outcome
                elif on_error == "raise":
                    raise outcome
                else:
                    self.rejects.append(outcome)

    def filtered(
        self, change: Callable[[CrystalRecord], CrystalRecord], records: Iterable[CrystalRecord], on_error: OnError
    ) -> Iterator[CrystalRecord]:
        """Records of this source after `change`; one that it refuses is treated as `on_error` says."""
        for record in records:
            try:
                yield change(record)
            except RecordError as error:
                if on_error == "raise":
                    raise
                self.rejects.append(error)

    def report_rejects(self, path: Path) -> None:
        """Write the rejected materials of the last reading; see the function of this name."""
        report_rejects(self.rejects, path)


def report_rejects(rejects: Sequence[RecordError], path: Path) -> None:
    """Write rejected materials as CSV (source, problem) and log how many there are; none leave no file."""
    if not rejects:
        path.unlink(missing_ok=True)
        return
    write_csv(path, ["source", "problem"], ([r.source, r.problem] for r in rejects))
    log.warning("%d materials were rejected and skipped; they are listed in %s", len(rejects), path)


def attempt(read: Callable[[T], R], item: T) -> R | RecordError:
    """`read(item)`, or the RecordError that it raised; whatever else goes wrong with one material becomes one."""
    try:
        return read(item)
    except RecordError as error:
        return error
    except InputError:  # of the whole source
        raise
    except Exception as error:
        return unreadable(str(getattr(item, "source", item)), error)


def unreadable(source: str, error: Exception) -> RecordError:
    """A reject for an exception that no reader foresaw."""
    reason = str(error).strip().split("\n")[0]
    return RecordError(source, f"cannot be read ({type(error).__name__}{': ' if reason else ''}{reason})")


def stamps(paths: Iterable[Path]) -> str:
    """A text that changes when one of the files is replaced, changed, added or taken away."""
    digest = 0
    for path in paths:
        status = path.stat()
        digest = zlib.crc32(f"{path.name} {status.st_size} {status.st_mtime_ns};".encode(), digest)
    return f"{digest:08x}"


def existing_path(path: str | Path) -> Path:
    """`path` with `~` expanded; raises InputError if nothing is there."""
    resolved = Path(path).expanduser()
    if not resolved.exists():
        raise InputError(f"{resolved}: no such file or folder")
    return resolved
