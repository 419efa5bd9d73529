"""Journal of finished predictions on disk, from which the same command resumes an interrupted screening."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from dielectric_gnn.utils.sealed_lines import parse_sealed_line, sealed_line

log = logging.getLogger(__name__)

Row = dict[str, Any]
"""One row of the summary: plain values by column."""

_FILE_NAME = "finished-{}.jsonl"
_LAUNCH_KEY = "launch"


class PredictionJournal:
    """One file per process: a line with model and options, then one line of JSON per finished material.

    Lines of another model, of other options, or with a wrong checksum are ignored, and materials without a line are
    predicted again. The line of a material is written after its files.

    Args:
        folder: Folder of the predictions.
        identity: Model and options, on which the predictions depend.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.identity = sealed_line({key: identity[key] for key in sorted(identity)}).rstrip("\n")
        self._file: TextIO | None = None
        self._launch = 1 + max((row[_LAUNCH_KEY] for row in self.rows().values()), default=0)

    def rows(self) -> dict[str, Row]:
        """Return the rows of all finished materials by id, from all processes; the latest launch wins."""
        found: dict[str, Row] = {}
        for path in sorted(self.folder.glob(_FILE_NAME.format("*"))):
            for row in self._read_rows(path):
                earlier = found.get(row["material_id"])
                # A launch of fewer processes leaves old files of the others, with rows that it has written again.
                if earlier is None or row[_LAUNCH_KEY] >= earlier[_LAUNCH_KEY]:
                    found[row["material_id"]] = row
        return found

    def append(self, rows: Iterable[Row], rank: int) -> None:
        """Append finished materials and force them to the disk."""
        if self._file is None:
            self._file = self._open(self.folder / _FILE_NAME.format(rank))
        self._file.writelines(sealed_line({**row, _LAUNCH_KEY: self._launch}) for row in rows)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file of this process."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, path: Path) -> TextIO:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = self._read_rows(path)
        # Rewritten: a kill may have truncated a line, and the file may belong to another model.
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join([self.identity, "\n", *map(sealed_line, rows)]), encoding="utf-8")
        temporary.replace(path)
        return path.open("a", encoding="utf-8")

    def _read_rows(self, path: Path) -> list[Row]:
        """Return the intact rows of a file, if it belongs to this journal."""
        if not path.is_file():
            return []
        first, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        if first != self.identity:
            return []
        # After the last line break there is a truncated line, or nothing.
        rows = [row for row in map(parse_sealed_line, lines[:-1]) if row is not None and _is_row(row)]
        if len(rows) < len(lines) - 1:
            log.warning(
                "%s: %d lines are damaged; those materials are predicted again", path, len(lines) - 1 - len(rows)
            )
        return rows


def _is_row(row: Row) -> bool:
    return isinstance(row.get("material_id"), str) and isinstance(row.get(_LAUNCH_KEY), int)
