"""The published format: one pymatgen `ComputedStructureEntry` as JSON per material, plain, gzip or bzip2.

The JSON is read as plain data: no class that a file names is ever imported.
"""

from __future__ import annotations

import bz2
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.record import CrystalRecord, OpticalLabels, atomic_number
from dielectric_gnn.data.sources.archives import (
    JsonDocument,
    archive_documents,
    count_members,
    is_archive,
    is_shadow,
)
from dielectric_gnn.data.sources.base import OnError, RecordSource, Tasks, existing_path, stamps
from dielectric_gnn.data.sources.parallel import read_parallel
from dielectric_gnn.errors import InputError, RecordError
from dielectric_gnn.grid import EnergyGrid

JSON_OPENERS: dict[str, Callable[[BinaryIO], BinaryIO | gzip.GzipFile | bz2.BZ2File]] = {
    ".json": lambda raw: raw,
    ".json.gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".json.bz2": bz2.BZ2File,
}
_SUFFIXES = tuple(JSON_OPENERS)
_AXES = 3


class EntryJson(RecordSource):
    """JSON files of the published data set (arXiv:2602.05702), one material each.

    Args:
        path: A file (.json, .json.gz, .json.bz2); a folder searched for such files, subfolders included; or an
            archive of them (.zip, .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz), which is read without unpacking it.
        broadening_ev: Broadening Γ (eV) of the spectra; null reads `parameters.broadening_ev` of each file.
        workers: Processes that read; the records and their order do not depend on it.
    """

    def __init__(self, path: str, broadening_ev: float | None = None, workers: int = 1) -> None:
        super().__init__()
        if workers < 1:
            raise InputError(f"workers is {workers}, expected at least 1")
        self.path = path
        self.broadening_ev = broadening_ev
        self.workers = workers

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """Read the files in the order of their names; those of a tar archive in the order in which it holds them."""
        read = partial(_read_document, broadening_ev=self.broadening_ev)
        documents = self._documents()
        if self.workers == 1:
            return self._read_each(documents, read, on_error)
        return self._accept(read_parallel(documents, read, self.workers), on_error)

    def tasks(self) -> Tasks:
        """One JSON document each."""
        path = existing_path(self.path)
        files = [path] if is_archive(path) else self._files(path)
        fingerprint = f"JSON entries {path.resolve()}, broadening {self.broadening_ev}, {stamps(files)}"
        return Tasks(self._documents(), partial(_read_document, broadening_ev=self.broadening_ev), fingerprint)

    def size(self) -> int | None:
        """The number of files; None for a tar archive."""
        path = existing_path(self.path)
        return count_members(path, _SUFFIXES) if is_archive(path) else len(self._files(path))

    def _documents(self) -> Iterator[JsonDocument]:
        path = existing_path(self.path)
        if path.is_dir() or not is_archive(path):
            yield from (JsonDocument(str(file), file) for file in self._files(path))
            return
        empty = True
        for document in archive_documents(path, _SUFFIXES):
            empty = False
            yield document
        if empty:
            raise InputError(f"{path}: the archive holds no {', '.join(_SUFFIXES)} files")

    @staticmethod
    def _files(path: Path) -> list[Path]:
        if path.is_file():
            return [path]
        found = (file for suffix in _SUFFIXES for file in path.rglob(f"*{suffix}"))
        files = sorted(file for file in found if not is_shadow(file.name))
        if not files:
            raise InputError(f"{path}: the folder holds no {', '.join(_SUFFIXES)} files")
        return files


def read_entry(path: Path, broadening_ev: float | None = None) -> CrystalRecord:
    """Read one material of the published format.

    Args:
        path: The file.
        broadening_ev: Overrides the broadening (eV) that the file states.

    Raises:
        RecordError: The file is truncated or not of the format, or the material is unusable.
    """
    return _read_document(JsonDocument(str(path), path), broadening_ev)


def _read_document(document: JsonDocument, broadening_ev: float | None) -> CrystalRecord:
    source = document.source
    entry = _load(document)
    data = _get(entry, "data", source)
    try:
        parameters = entry.get("parameters") or {}
        if broadening_ev is None:
            stated = parameters.get("broadening_ev")
            broadening_ev = None if stated is None else float(stated)
        labels = _labels(data, broadening_ev, source)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(source, f"not a ComputedStructureEntry of the published format ({error!r})") from error
    lattice, numbers, positions = parse_structure(_get(entry, "structure", source), source)
    arrays = {"eps_inter_re", "eps_inter_im", "drude_freq", "mat_id"}
    return CrystalRecord(
        material_id=str(_get(data, "mat_id", source)),
        lattice=lattice,
        atomic_numbers=numbers,
        positions=positions,
        labels=labels,
        metadata={key: value for key, value in data.items() if key not in arrays} | {"parameters": parameters},
        source=source,
    )


def load_json(path: Path) -> dict[str, Any]:
    """Read one JSON object from a plain, gzip or bzip2 file; raises RecordError if that is not what it holds."""
    return _load(JsonDocument(str(path), path))


def _load(document: JsonDocument) -> dict[str, Any]:
    source, content, problem = document
    if problem:
        raise RecordError(source, problem)
    suffix = next((suffix for suffix in JSON_OPENERS if source.endswith(suffix)), None)
    if suffix is None:
        raise RecordError(source, f"expected a name ending in {', '.join(JSON_OPENERS)}")
    try:
        raw = content.open("rb") if isinstance(content, Path) else BytesIO(content)
        with raw, JSON_OPENERS[suffix](raw) as file:
            entry = json.load(file)
    except (OSError, EOFError, ValueError, zlib.error, RecursionError) as error:
        raise RecordError(source, f"not readable JSON, truncated? ({error})") from error
    if not isinstance(entry, dict):
        raise RecordError(source, f"expected a JSON object, got a {type(entry).__name__}")
    return entry


def _get(mapping: dict[str, Any], key: str, source: str) -> Any:
    if key not in mapping:
        raise RecordError(source, f"field {key!r} is missing")
    return mapping[key]


def _array(value: Any) -> NDArray[np.float64]:
    """A plain nested list, or the monty encoding of a NumPy array."""
    if isinstance(value, dict):
        value = value["data"]
    return np.asarray(value, dtype=np.float64)


def _spectrum(data: dict[str, Any], key: str, grid: EnergyGrid, source: str) -> NDArray[np.float64]:
    """One (W, 1 + 3) table → the three axes (3, W); the energy column must be the grid."""
    table = _array(_get(data, key, source))
    if table.ndim != 2 or table.shape[1] != 1 + _AXES:
        raise RecordError(source, f"{key} has shape {table.shape}, expected ({grid.num}, {1 + _AXES})")
    if not grid.matches(table[:, 0]):
        energies = table[:, 0]
        raise RecordError(
            source,
            f"{key} is given at {energies.size} energies from {energies[0]:g} to {energies[-1]:g} eV, "
            f"expected {grid}; interpolate the spectrum onto that grid",
        )
    return table[:, 1:].T


def _labels(data: dict[str, Any], broadening_ev: float | None, source: str) -> OpticalLabels:
    grid = EnergyGrid()
    eps = _spectrum(data, "eps_inter_re", grid, source) + 1j * _spectrum(data, "eps_inter_im", grid, source)
    drude = _array(_get(data, "drude_freq", source))
    return OpticalLabels(eps, drude, grid, broadening_ev)


def parse_structure(
    structure: dict[str, Any], source: str
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Lattice (3, 3), atomic numbers (n,) and Cartesian positions (n, 3) of a pymatgen `Structure` dictionary.

    Raises:
        RecordError: A part is missing or malformed, a site is disordered, or an element is unknown.
    """
    try:
        lattice = _array(structure["lattice"]["matrix"])
        numbers, fractional = [], []
        for index, site in enumerate(structure["sites"]):
            species = site["species"]
            if len(species) != 1 or abs(species[0].get("occu", 1) - 1) > 1e-8:
                raise RecordError(source, f"site {index} is disordered; models need one element per site")
            numbers.append(atomic_number(species[0]["element"]))
            fractional.append(site["abc"])
        positions = np.asarray(fractional, dtype=np.float64).reshape(-1, 3) @ lattice
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(source, f"the structure is not a pymatgen Structure dictionary ({error!r})") from error
    return lattice, np.asarray(numbers, dtype=np.int64), positions
