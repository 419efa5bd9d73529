"""An unfinished store, from which an interrupted or killed build is continued.

It is a folder `.NAME.partial` beside the store. `store/` contains the growing arrays. `journal.jsonl` has one line for
every chunk of materials in them, written after the arrays, with their lengths and checksums so far. `plan.json` states
source and options. Whenever a build ends, the arrays up to the last valid line are intact: this is verified by the
checksums when it is continued, and the rest is truncated.
"""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from dielectric_gnn.data.label_options import LargestResamplingError
from dielectric_gnn.data.store.appendable import AppendableArray, count_valid_states
from dielectric_gnn.data.store.descriptions import SetKind
from dielectric_gnn.data.store.rows import Chunk, Column, Recipe, columns
from dielectric_gnn.utils.errors import InputError, RecordError
from dielectric_gnn.utils.files import write_text
from dielectric_gnn.utils.locks import lock_folder
from dielectric_gnn.utils.sealed_lines import parse_sealed_line, sealed_line

Plan = Mapping[str, Any]
"""Everything that the content of the arrays depends on, as plain values by name."""

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def partial_folder(target: Path) -> Path:
    """Folder of the unfinished store of `target`."""
    return target.with_name(f".{target.name}.partial")


class StoreBuilder:
    """Appends chunks of materials to an unfinished store; a context manager that holds a lock on its folder.

    On entry, `num_items` is the number of items of the source that are already in the store.

    Args:
        target: Folder of the finished store.
        recipe: How materials become rows.
        plan: Source and options of this build.
        restart: Discard an interrupted build.

    Raises:
        InputError: Another process is building this store, or the interrupted build has another plan.
    """

    def __init__(self, target: Path, recipe: Recipe, plan: Plan, restart: bool = False) -> None:
        self.target = target
        self.folder = partial_folder(target)
        self.arrays_folder = self.folder / "store"
        self.recipe = recipe
        self.plan = json.loads(json.dumps(plan))
        self.restart = restart
        self.num_items = 0
        self.kind: SetKind | None = None
        self.ids: list[str] = []
        self.formulas: list[str] = []
        self.rejects: list[RecordError] = []
        self.resampling = LargestResamplingError()
        self.arrays: dict[str, AppendableArray] = {}
        self._columns: dict[str, Column] = {}
        self._seen: dict[str, str] = {}
        self._journal = self.folder / "journal.jsonl"

    def __enter__(self) -> StoreBuilder:
        self._lock = lock_folder(self.folder, "the build of this store")
        try:
            self._continue_or_begin()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for array in self.arrays.values():
            array.abandon()
        self._lock.release()

    def add(self, chunk: Chunk) -> None:
        """Append the usable materials of a chunk; those with a repeated identifier become rejects.

        Raises:
            InputError: The materials are inconsistent with those before (`SetKind`), or the disk is full.
        """
        if chunk.kind is not None:
            self._check_kind(chunk.kind)
        chunk = chunk.without(self._repeated(chunk), self._columns)
        with disk_full_as_input_error(self.folder, len(self.ids)):
            for name, rows in chunk.arrays.items():
                self.arrays[name].append(rows)
            for array in self.arrays.values():
                array.flush()
            self._account(chunk)
            with self._journal.open("a", encoding="utf-8") as file:
                file.write(sealed_line(self._line(chunk)))

    def discard(self) -> None:
        """Delete the unfinished store."""
        for array in self.arrays.values():
            array.abandon()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _continue_or_begin(self) -> None:
        plan_file = self.folder / "plan.json"
        if plan_file.is_file() and not self.restart:
            self._check_plan(plan_file)
            self._replay()
            return
        self._journal.unlink(missing_ok=True)
        shutil.rmtree(self.arrays_folder, ignore_errors=True)
        self.arrays_folder.mkdir()
        write_text(plan_file, json.dumps(self.plan, indent=1) + "\n")

    def _check_plan(self, plan_file: Path) -> None:
        try:
            found = dict(json.loads(plan_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            found = {}
        for key in sorted({*found, *self.plan}):
            if found.get(key) != self.plan.get(key):
                raise InputError(
                    f"{self.folder}: contains an unfinished build with {key} {found.get(key)!r}, not "
                    f"{self.plan.get(key)!r}; repeat the command that started it, or discard it with --restart"
                )

    def _replay(self) -> None:
        """Restore the state after the last chunk in the journal that is consistent with the arrays on disk."""
        lines = list(_lines(self._journal))
        kind = next((SetKind(**line["kind"]) for line, _ in lines if line["kind"] is not None), None)
        good = len(lines)
        if kind is not None:
            self._set_kind(_with_grid(kind))
            for name, column in self._columns.items():
                size = AppendableArray.size_of_rows(column.dtype, column.row_shape)
                ends = [tuple(line["ends"].get(name, (0, 0))) for line, _ in lines]
                good = min(good, count_valid_states(self.arrays_folder / f"{name}.npy", size, ends))
        for line, _ in lines[:good]:
            known = {key: line[key] for key in ("num_items", "ids", "formulas", "sources", "rejects")}
            self._account(Chunk(**known, resampling=LargestResamplingError(*line.get("resampling", ()))))
        if self._journal.exists():
            with self._journal.open("r+b") as file:
                file.truncate(lines[good - 1][1] if good else 0)
        self.arrays_folder.mkdir(exist_ok=True)
        if good and lines[good - 1][0]["ends"]:
            self._open(lines[good - 1][0]["ends"])
        else:
            self.kind, self._columns = None, {}

    def _check_kind(self, kind: SetKind) -> None:
        if self.kind is None:
            self._set_kind(kind)
            self._open({})
        else:
            self.kind.check(kind)

    def _set_kind(self, kind: SetKind) -> None:
        self.kind = kind
        self._columns = columns(self.recipe, None if kind.grid is None else kind.grid[2])

    def _open(self, ends: Mapping[str, tuple[int, int]]) -> None:
        with disk_full_as_input_error(self.folder, len(self.ids)):
            for name, column in self._columns.items():
                path = self.arrays_folder / f"{name}.npy"
                self.arrays[name] = AppendableArray(path, column.dtype, column.row_shape, *ends.get(name, (0, 0)))

    def _repeated(self, chunk: Chunk) -> list[tuple[int, str]]:
        """Rows of usable materials whose identifier occurred before, and a description of the problem."""
        bad = []
        fresh: dict[str, str] = {}
        for row, (material_id, source) in enumerate(zip(chunk.ids, chunk.sources, strict=True)):
            first = self._seen.get(material_id, fresh.get(material_id))
            if first is not None:
                bad.append((row, f"material id {material_id!r} was read from {first} already"))
            fresh.setdefault(material_id, source)
        return bad

    def _account(self, chunk: Chunk) -> None:
        self.num_items += chunk.num_items
        self.ids += chunk.ids
        self.formulas += chunk.formulas
        self._seen.update(zip(chunk.ids, chunk.sources, strict=True))
        self.rejects += [RecordError(source, problem) for _, source, problem in chunk.rejects]
        self.resampling = max(self.resampling, chunk.resampling)

    def _line(self, chunk: Chunk) -> dict[str, Any]:
        return {
            "num_items": chunk.num_items,
            "kind": None if self.kind is None else asdict(self.kind),
            "ids": chunk.ids,
            "formulas": chunk.formulas,
            "sources": chunk.sources,
            "rejects": chunk.rejects,
            "resampling": chunk.resampling,
            "ends": {name: (array.num_rows, array.checksum) for name, array in self.arrays.items()},
        }


@contextmanager
def disk_full_as_input_error(folder: Path, num_materials: int) -> Iterator[None]:
    """Converts the error of a full disk to an InputError that states what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        raise InputError(
            f"{folder}: no space is left on the disk after {num_materials} materials ({error.strerror}); free space "
            "and repeat the command to continue, or delete this folder"
        ) from error


def _lines(journal: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """The lines of a journal and the position of their ends, up to the first incomplete or damaged line."""
    end = 0
    if not journal.is_file():
        return
    with journal.open("rb") as file:
        for raw in file:
            end += len(raw)
            line = parse_sealed_line(raw) if raw.endswith(b"\n") else None
            if line is None:
                return
            yield line, end


def _with_grid(kind: SetKind) -> SetKind:
    """The kind with its grid as a tuple, which JSON stores as a list."""
    if kind.grid is None:
        return kind
    start, stop, num = kind.grid
    return replace(kind, grid=(start, stop, num))
