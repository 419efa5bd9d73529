"""Base class of data sources: iteration, an optional fixed split, and the handling of unusable materials."""

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
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError, RecordError
from dielectric_gnn.utils.files import write_csv

OnError = Literal["raise", "skip"]
Outcome = CrystalRecord | RecordError
"""Result of reading one material: the record, or the reason why it is unusable."""

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tasks:
    """The materials of a source as independent tasks, which any process can do in any order.

    Args:
        items: One per material, usable or not, always in the same order; can be pickled.
        read: Reads one item, or raises RecordError; can be pickled.
        fingerprint: Text that changes whenever the items or their content may have changed; an interrupted build of a
            store is continued only if it is the same.
    """

    items: Iterable[Any]
    read: Callable[[Any], CrystalRecord]
    fingerprint: str


class RecordSource(ABC):
    """The materials of one data set, in one format; subclasses implement `records`.

    Attributes:
        rejects: After reading, the unusable materials that were skipped.
        grid: Photon energies of the data set; None until they are known. A source whose files may state any energies
            resamples its spectra onto them (`targets.resampling`); spectra of other sources are resampled afterwards.
        fidelity_weights: Weights in training of the fidelities that the source joins, the highest first; see
            `Fidelities`.
    """

    grid: EnergyGrid | None = None
    fidelity_weights: tuple[float, ...] = (1.0,)

    def __init__(self) -> None:
        self.rejects: list[RecordError] = []

    @abstractmethod
    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """Read the materials one by one.

        Args:
            on_error: `raise` stops at the first unusable material; `skip` adds it to `rejects` and continues.

        Raises:
            RecordError: A material is unusable, and `on_error` is `raise`.
            InputError: There is nothing to read.
        """

    def size(self) -> int | None:
        """Number of materials, usable or not; None if it is unknown before reading."""
        return None

    def split(self) -> dict[str, list[str]] | None:
        """Material ids of `train`, `val` and `test` if the data set fixes the split; None if it is drawn."""
        return None

    def tasks(self) -> Tasks | None:
        """The same materials as independent tasks, for several processes; None if only `records` can read them."""
        return None

    def highest_fidelity(self) -> RecordSource:
        """The source of the materials with the best labels: this one, unless it joins several."""
        return self

    def use_grid(self, grid: EnergyGrid | None) -> None:
        """Set the grid of the data set, before `records` or `tasks`; None leaves the source as it is.

        Raises:
            InputError: The source has another grid already.
        """
        if grid is not None and self.grid is not None and self.grid != grid:
            raise InputError(
                f"the grid of the data set is {grid}, but that of the source {type(self).__name__} is {self.grid}; "
                "give one of them"
            )
        self.grid = grid or self.grid

    def read_each(
        self, items: Iterable[T], read: Callable[[T], CrystalRecord], on_error: OnError
    ) -> Iterator[CrystalRecord]:
        """Read every item; repeated identifiers and errors are handled according to `on_error`."""
        return self._accept((read_or_reject(read, item) for item in items), on_error)

    def _accept(self, outcomes: Generator[Outcome, None, None], on_error: OnError) -> Iterator[CrystalRecord]:
        """The records among `outcomes`; the others are handled according to `on_error`."""
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

    def apply_to_records(
        self, change: Callable[[CrystalRecord], CrystalRecord], records: Iterable[CrystalRecord], on_error: OnError
    ) -> Iterator[CrystalRecord]:
        """`change` applied to every record; a RecordError that it raises is handled according to `on_error`."""
        for record in records:
            try:
                yield change(record)
            except RecordError as error:
                if on_error == "raise":
                    raise
                self.rejects.append(error)

    def report_rejects(self, path: Path) -> None:
        """Write the rejected materials of the last reading as CSV; see the function `report_rejects`."""
        report_rejects(self.rejects, path)


def report_rejects(rejects: Sequence[RecordError], path: Path) -> None:
    """Write rejected materials as CSV (source, problem) and log their number; without any, an old file is removed."""
    if not rejects:
        path.unlink(missing_ok=True)
        return
    write_csv(path, ["source", "problem"], ([r.source, r.problem] for r in rejects))
    log.warning("%d materials were rejected and skipped; they are listed in %s", len(rejects), path)


def read_or_reject(read: Callable[[T], R], item: T) -> R | RecordError:
    """`read(item)`, or the RecordError that it raised; other exceptions, but InputError, become a RecordError."""
    try:
        return read(item)
    except RecordError as error:
        return error
    except InputError:  # concerns the source, not one material
        raise
    except Exception as error:
        return unexpected_error(str(getattr(item, "source", item)), error)


def unexpected_error(source: str, error: Exception) -> RecordError:
    """A RecordError for an exception that the reader of a format does not handle."""
    reason = str(error).strip().split("\n")[0]
    return RecordError(source, f"cannot be read ({type(error).__name__}{': ' if reason else ''}{reason})")


def file_stamps(paths: Iterable[Path]) -> str:
    """A text that changes when one of the files is replaced, changed, added or removed."""
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
