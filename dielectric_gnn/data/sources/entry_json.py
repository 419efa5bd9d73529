"""The published format: one pymatgen `ComputedStructureEntry` as JSON per material, plain, gzip or bzip2.

The JSON is read as plain data: no class that a file names is ever imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.option_values import check_positive
from dielectric_gnn.data.record import CrystalRecord, OpticalLabels, require_drude, require_real
from dielectric_gnn.data.sources.archives import (
    JsonDocument,
    archive_documents,
    count_members,
    is_archive,
    is_shadow,
)
from dielectric_gnn.data.sources.base import OnError, RecordSource, Tasks, existing_path, file_stamps
from dielectric_gnn.data.sources.json_files import JSON_SUFFIXES, json_suffix, load_document
from dielectric_gnn.data.sources.parallel import read_parallel
from dielectric_gnn.data.sources.structure_dict import parse_structure, plain_array
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.resampling import RESAMPLING_ERROR, resample
from dielectric_gnn.utils.errors import InputError, RecordError
from dielectric_gnn.utils.ids import id_problem
from dielectric_gnn.utils.limits import MATERIAL_MB

_AXES = 3
_TABLES = ("eps_inter_re", "eps_inter_im")
"""The large arrays that are read; others take more than half of a published file."""

_LABELS = {*_TABLES, "drude_freq", "mat_id"}
_MAX_METADATA_VALUES = 64
"""Metadata with more values, or texts with more than 16 times as many characters, are not kept."""


class EntryJson(RecordSource):
    """JSON files of the published data set (arXiv:2602.05702), one material each.

    `drude_freq` or `eps_inter_re` may be null, where it is not known. Spectra are expected on the published grid; with
    a grid of the data set (`use_grid`), at any rising energies that cover it.

    Args:
        path: A file (.json, .json.gz, .json.bz2, .json.xz); a folder searched for such files, subfolders included; or
            an archive of them (.zip, .tar, .tar.gz, .tgz, .tar.bz2, .tar.xz), which is read without unpacking it.
        broadening_ev: Broadening Γ (eV) of the spectra; null reads `parameters.broadening_ev` of each file.
        workers: Number of reading processes; the records and their order do not depend on it.
        max_mb: Largest document (MB) after decompression; a larger one is rejected without being read to its end.
    """

    def __init__(
        self, path: str, broadening_ev: float | None = None, workers: int = 1, max_mb: float = MATERIAL_MB
    ) -> None:
        super().__init__()
        check_positive(max_mb=max_mb)
        if workers < 1:
            raise InputError(f"workers is {workers}, expected at least 1")
        if broadening_ev is not None:
            check_positive(broadening_ev=broadening_ev)
        self.path = path
        self.broadening_ev = broadening_ev
        self.workers = workers
        self.max_mb = max_mb

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """Read the files in the order of their names; members of a tar archive in their order in the archive."""
        read, documents = self._reader(), self._documents()
        if self.workers == 1:
            return self.read_each(documents, read, on_error)
        return self._accept(read_parallel(documents, read, self.workers), on_error)

    def tasks(self) -> Tasks:
        """One JSON document each."""
        path = existing_path(self.path)
        files = [path] if is_archive(path) else self._files(path)
        fingerprint = f"JSON entries {path.resolve()}, broadening {self.broadening_ev}, {file_stamps(files)}"
        if self.max_mb != MATERIAL_MB:
            fingerprint += f", up to {self.max_mb:g} MB"
        if self.grid is not None:
            fingerprint += f", {self.grid}"
        return Tasks(self._documents(), self._reader(), fingerprint)

    def size(self) -> int | None:
        """The number of files; None for a tar archive."""
        path = existing_path(self.path)
        return count_members(path, JSON_SUFFIXES) if is_archive(path) else len(self._files(path))

    def _reader(self) -> partial[CrystalRecord]:
        return partial(_read_document, broadening_ev=self.broadening_ev, max_mb=self.max_mb, grid=self.grid)

    def _documents(self) -> Iterator[JsonDocument]:
        path = existing_path(self.path)
        if path.is_dir() or not is_archive(path):
            yield from (JsonDocument(str(file), file) for file in self._files(path))
            return
        empty = True
        for document in archive_documents(path, JSON_SUFFIXES, self.max_mb):
            empty = False
            yield document
        if empty:
            raise InputError(f"{path}: the archive holds no {', '.join(JSON_SUFFIXES)} files")

    @staticmethod
    def _files(path: Path) -> list[Path]:
        if path.is_file():
            return [path]
        found = (file for file in path.rglob("*") if json_suffix(file.name) and not file.is_dir())
        files = sorted(file for file in found if not is_shadow(file.name))
        if not files:
            raise InputError(f"{path}: the folder holds no {', '.join(JSON_SUFFIXES)} files")
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


def _read_document(
    document: JsonDocument,
    broadening_ev: float | None,
    max_mb: float = MATERIAL_MB,
    grid: EnergyGrid | None = None,
) -> CrystalRecord:
    source = document.source
    entry = load_document(document, _TABLES, max_mb)
    data = _get(entry, "data", source)
    try:
        parameters = entry.get("parameters") or {}
        if broadening_ev is None:
            broadening_ev = _broadening(parameters.get("broadening_ev"), source)
        labels, resampling = _labels(data, broadening_ev, grid, source)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(source, f"not a ComputedStructureEntry of the published format ({error!r})") from error
    lattice, numbers, positions = parse_structure(_get(entry, "structure", source), source)
    return CrystalRecord(
        material_id=_identifier(_get(data, "mat_id", source), source),
        lattice=lattice,
        atomic_numbers=numbers,
        positions=positions,
        labels=labels,
        metadata=_small_values({key: value for key, value in data.items() if key not in _LABELS})
        | {"parameters": _small_values(parameters)}
        | resampling,
        source=source,
    )


def _identifier(value: Any, source: str) -> str:
    if problem := id_problem(value, "mat_id"):
        raise RecordError(source, problem)
    return str(value)


def _broadening(stated: Any, source: str) -> float | None:
    """Broadening Γ (eV) stated by the file."""
    if stated is None:
        return None
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        raise RecordError(source, f"parameters.broadening_ev is {stated!r}, expected a number in eV, or null")
    return float(stated)


def _small_values(values: dict[str, Any]) -> dict[str, Any]:
    """Metadata that are kept: numbers, texts, and short lists and dictionaries of them."""
    return {key: value for key, value in values.items() if value != {} and _count(value) <= _MAX_METADATA_VALUES}


def _count(value: Any) -> int:
    """Number of values in nested lists and dictionaries; a text counts by its length."""
    if isinstance(value, dict):
        return sum(map(_count, value.values()))
    if isinstance(value, list):
        return sum(map(_count, value)) + 1
    return 1 + (len(value) // 16 if isinstance(value, str) else 0)


def _get(mapping: dict[str, Any], key: str, source: str) -> Any:
    if key not in mapping:
        raise RecordError(source, f"field {key!r} is missing")
    return mapping[key]


def _table(data: dict[str, Any], key: str, source: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One (V, 1 + 3) table → energies (V,) and the three axes (3, V)."""
    table = plain_array(_get(data, key, source))
    if table.ndim != 2 or table.shape[1] != 1 + _AXES:
        raise RecordError(source, f"{key} has shape {table.shape}, expected (number of energies, {1 + _AXES})")
    return table[:, 0], table[:, 1:].T


def _check_published_grid(energies: NDArray[np.float64], key: str, source: str) -> None:
    grid = EnergyGrid()
    if not grid.matches(energies):
        span = f" from {energies[0]:g} to {energies[-1]:g} eV" if energies.size else ""
        raise RecordError(
            source,
            f"{key} is given at {energies.size} energies{span}, expected {grid}; for other energies, give the grid of "
            "the data set (data.grid), onto which spectra are resampled",
        )


def _real_part(
    data: dict[str, Any], energies: NDArray[np.float64], grid: EnergyGrid | None, source: str
) -> NDArray[np.float64]:
    """Re ε (3, V), at the energies of Im ε."""
    others, real = _table(data, _TABLES[0], source)
    if grid is None:
        _check_published_grid(others, _TABLES[0], source)
    elif not np.array_equal(energies, others):
        raise RecordError(source, f"{' and '.join(_TABLES)} are given at different energies, expected the same")
    return require_real(real, source)


def _labels(
    data: dict[str, Any], broadening_ev: float | None, grid: EnergyGrid | None, source: str
) -> tuple[OpticalLabels, dict[str, float]]:
    """The labels, and the error of resampling if a grid is given, as metadata.

    null in place of Re ε or the Drude frequency means that it is not known.
    """
    key_re, key_im = _TABLES
    energies, imaginary = _table(data, key_im, source)
    if grid is None:
        _check_published_grid(energies, key_im, source)
    if _get(data, key_re, source) is None:
        real = np.full_like(imaginary, np.nan)
    else:
        real = _real_part(data, energies, grid, source)
    with np.errstate(invalid="ignore"):  # the record refuses what is not finite
        eps = real + 1j * imaginary
    stated = _get(data, "drude_freq", source)
    drude = np.full(_AXES, np.nan) if stated is None else require_drude(plain_array(stated), source)
    if grid is None:
        return OpticalLabels(eps, drude, EnergyGrid(), broadening_ev), {}
    try:
        resampled = resample(energies, eps, grid)
    except InputError as error:
        raise RecordError(source, str(error)) from error
    return OpticalLabels(resampled.values, drude, grid, broadening_ev), {RESAMPLING_ERROR: resampled.error}
