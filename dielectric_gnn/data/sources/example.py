"""The embedded data set: ab initio spectra of metals and intermetallics, shipped inside the package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.base import OnError, RecordSource
from dielectric_gnn.data.sources.shards import PART_NAME, material_ids, read_shard
from dielectric_gnn.utils.errors import InputError

_FOLDER = resources.files("dielectric_gnn.data") / "example"
_SPLIT = "split.json"


class ExampleMetals(RecordSource):
    """The embedded metals (GPAW, PBE, independent-particle approximation, Γ = 0.3 eV; CC0).

    `data/example/README.md` in the package describes the calculations. The split into training, validation and test
    is fixed by material id, and all materials of one composition are in the same part of it.
    """

    def __init__(self, parts: int | None = None) -> None:
        """Choose how much of the set is used.

        Args:
            parts: Number of files that are read, from the first on; the default is all. The first holds 102
                materials, which suit tests and first steps, each further one up to 100.

        Raises:
            InputError: There are fewer files.
        """
        super().__init__()
        self.parts = parts
        if parts is not None and not 1 <= parts <= num_parts():
            raise InputError(
                f"data.source.parts is {parts}, expected 1 to {num_parts()}, the files of the embedded set"
            )

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """All materials, with the response along each axis; one file is held at a time."""
        for path in self._files():
            yield from read_shard(path, source="embedded metals")

    def split(self) -> dict[str, list[str]]:
        """The fixed split."""
        split: dict[str, list[str]] = json.loads((_FOLDER / _SPLIT).read_text(encoding="utf-8"))
        if self.parts is None:
            return split
        used = {material_id for path in self._files() for material_id in material_ids(path)}
        return {name: [material_id for material_id in ids if material_id in used] for name, ids in split.items()}

    def _files(self) -> Iterator[Path]:
        for part in range(num_parts() if self.parts is None else self.parts):
            with resources.as_file(_FOLDER / PART_NAME.format(part)) as path:
                yield path


def num_parts() -> int:
    """Number of files of the embedded set."""
    names = {item.name for item in _FOLDER.iterdir()}
    return next(part for part in range(len(names) + 1) if PART_NAME.format(part) not in names)
