"""The embedded data set: ab initio spectra of metals and intermetallics, shipped inside the package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.base import OnError, RecordSource
from dielectric_gnn.data.sources.shards import COARSE_NAME, PART_NAME, material_ids, read_shard
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
        return _files(PART_NAME, num_parts() if self.parts is None else self.parts)


class CoarseMetals(RecordSource):
    """Metals computed like those of `ExampleMetals`, but with coarse k meshes (20 instead of 38 Å per direction; CC0).

    Labels of a lower quality and a fraction of the cost, for the second place in `Fidelities`. Most of them are of
    compositions that `ExampleMetals` does not have; some are of its materials. There is no split.
    """

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """All materials, with the response along each axis; one file is held at a time."""
        for path in _files(COARSE_NAME, _count(COARSE_NAME)):
            yield from read_shard(path, source="embedded metals, coarse")

    def size(self) -> int:
        """Number of materials."""
        return sum(len(material_ids(path)) for path in _files(COARSE_NAME, _count(COARSE_NAME)))


def num_parts() -> int:
    """Number of files of the embedded set."""
    return _count(PART_NAME)


def _count(name: str) -> int:
    """Number of files of the numbered names."""
    names = {item.name for item in _FOLDER.iterdir()}
    return next(part for part in range(len(names) + 1) if name.format(part) not in names)


def _files(name: str, number: int) -> Iterator[Path]:
    for part in range(number):
        with resources.as_file(_FOLDER / name.format(part)) as path:
            yield path
