"""What `predict` has finished, on disk, so that the same command goes on where an earlier one stopped."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from dielectric_gnn.utils.sealed_lines import sealed_line, unsealed

log = logging.getLogger(__name__)

Row = dict[str, Any]
"""One line of the summary: plain values by column."""

_PATTERN = "finished-{}.jsonl"
_LAUNCH = "launch"


class PredictionJournal:
    """One file per process: a line that says what is being predicted, then a line of JSON per finished material.

    Lines of another model or other options do not count, nor do damaged ones: every line has a checksum. Materials
    without a line are predicted again. A line is written after the material's own files.

    Args:
        folder: Where the predictions go.
        identity: What the predictions depend on: model and options, in words.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder
        self.identity = sealed_line({key: identity[key] for key in sorted(identity)}).rstrip("\n")
        self._file: TextIO | None = None
        self._launch = 1 + max((row[_LAUNCH] for row in self.rows().values()), default=0)

    def rows(self) -> dict[str, Row]:
        """The finished materials by their ids, whichever process wrote them; of the latest launch that did."""
        found: dict[str, Row] = {}
        for path in sorted(self.folder.glob(_PATTERN.format("*"))):
            for row in self._read(path):
                known = found.get(row["material_id"])
                # A later launch of fewer processes leaves files of the others behind, with rows that it wrote anew.
                if known is None or row[_LAUNCH] >= known[_LAUNCH]:
                    found[row["material_id"]] = row
        return found

    def append(self, rows: Iterable[Row], rank: int) -> None:
        """Add finished materials and force them to disk."""
        if self._file is None:
            self._file = self._open(self.folder / _PATTERN.format(rank))
        self._file.writelines(sealed_line({**row, _LAUNCH: self._launch}) for row in rows)
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file of this process."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, path: Path) -> TextIO:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = self._read(path)
        # Written anew: a line may have been torn by a kill, and stale lines would hide fresh ones.
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join([self.identity, "\n", *map(sealed_line, rows)]), encoding="utf-8")
        temporary.replace(path)
        return path.open("a", encoding="utf-8")

    def _read(self, path: Path) -> list[Row]:
        """The whole lines of a file, if it belongs to this journal."""
        if not path.is_file():
            return []
        first, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        if first != self.identity:
            return []
        # What follows the last line break is a torn line, or nothing.
        rows = [row for row in map(unsealed, lines[:-1]) if row is not None and _is_row(row)]
        if len(rows) < len(lines) - 1:
            log.warning(
                "%s: %d lines are damaged; those materials are predicted again", path, len(lines) - 1 - len(rows)
            )
        return rows


def _is_row(row: Row) -> bool:
    return isinstance(row.get("material_id"), str) and isinstance(row.get(_LAUNCH), int)
