"""The published data set prepared for learning: `train.h5`, `val.h5` and `test.h5`, one group per material."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.download.md5_lists import check_listed
from dielectric_gnn.data.option_values import check_positive
from dielectric_gnn.data.record import CrystalRecord, OpticalLabels, require_drude, require_real
from dielectric_gnn.data.sources.base import OnError, RecordSource, Tasks, existing_path, file_stamps
from dielectric_gnn.data.sources.hdf5_datasets import read_datasets
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError, RecordError, first_line
from dielectric_gnn.utils.limits import MATERIAL_MB, TooLargeError

if TYPE_CHECKING:
    import h5py

HDF5_FILES = {"train": "train.h5", "val": "val.h5", "test": "test.h5"}
_KINDS = {"real": ("f", np.float64), "complex": ("c", np.complex128), "integer": ("iu", np.int64)}
_REQUIRED = ("mat_id", "lattice", "atomic_number", "position", "drude", "eps")
_OPTIONAL = ("composition", "e_above_hull")
_DAMAGE_ERRORS = (OSError, RuntimeError, KeyError, TypeError, ValueError)


class PreparedHDF5(RecordSource):
    """The prepared files of the published data set (arXiv:2602.05702), whose three files are the split.

    The files contain the orientation average (one component) on the published grid, which they do not state.

    Args:
        folder: Folder of train.h5, val.h5 and test.h5.
        broadening_ev: Broadening Γ (eV) of the spectra; the files do not state it, the published one is 0.1 eV.
        max_mb: Largest size (MB) of the datasets of one material in memory; a larger one is rejected unread.
    """

    def __init__(self, folder: str, broadening_ev: float = 0.1, max_mb: float = MATERIAL_MB) -> None:
        super().__init__()
        check_positive(max_mb=max_mb)
        self.folder = folder
        self.broadening_ev = broadening_ev
        self.max_mb = max_mb

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """Read train, val and test one after another, each in the order of its group names."""
        check_listed(self._paths().values())
        return self.read_each(self._groups(), _Reader(self.broadening_ev, self.max_mb), on_error)

    def tasks(self) -> Tasks:
        """One group each."""
        folder = existing_path(self.folder).resolve()
        fingerprint = f"prepared HDF5 {folder}, broadening {self.broadening_ev}, {file_stamps(self._paths().values())}"
        if self.max_mb != MATERIAL_MB:
            fingerprint += f", up to {self.max_mb:g} MB"
        check_listed(self._paths().values())
        return Tasks(self._groups(), _Reader(self.broadening_ev, self.max_mb), fingerprint)

    def size(self) -> int:
        """The number of groups."""
        return sum(len(names) for names in self.split().values())

    def split(self) -> dict[str, list[str]]:
        """The published split: the materials of the three files."""
        split = {}
        for name, path in self._paths().items():
            with _open(path) as file:
                split[name] = _group_names(file, path)
        return split

    def _paths(self) -> dict[str, Path]:
        folder = existing_path(self.folder)
        paths = {name: folder / file for name, file in HDF5_FILES.items()}
        for path in paths.values():
            if not path.is_file():
                raise InputError(f"{path}: no such file; the folder needs {', '.join(HDF5_FILES.values())}")
        return paths

    def _groups(self) -> Iterator[tuple[Path, str]]:
        for path in self._paths().values():
            with _open(path) as file:
                names = _group_names(file, path)
            yield from ((path, name) for name in names)


class _Reader:
    """Reads groups; keeps the file of the last one open, except when it is pickled for another process."""

    def __init__(self, broadening_ev: float, max_mb: float) -> None:
        self.broadening_ev = broadening_ev
        self.max_mb = max_mb
        self._path: Path | None = None
        self._file: h5py.File | None = None

    def __reduce__(self) -> tuple[type[_Reader], tuple[float, float]]:
        return type(self), (self.broadening_ev, self.max_mb)

    def __call__(self, item: tuple[Path, str]) -> CrystalRecord:
        path, name = item
        if self._path != path:
            self._file, self._path = _open(path), path
        group = _Group(self._file, name, f"{path}:{name}")
        values = group.values(self.max_mb)
        stated = _text(values["mat_id"])
        if stated != group.name:
            raise RecordError(group.source, f"mat_id is {stated!r}, expected the name of the group")
        eps, drude = group.array(values, "eps", "complex", 1), group.array(values, "drude", "real", 0)
        return CrystalRecord(
            material_id=group.name,
            lattice=group.array(values, "lattice", "real", 2),
            atomic_numbers=group.array(values, "atomic_number", "integer", 1),
            positions=group.array(values, "position", "real", 2),
            labels=OpticalLabels(
                require_real(eps[None], group.source),
                require_drude(drude[None], group.source),
                EnergyGrid(),
                self.broadening_ev,
            ),
            metadata=group.metadata(values),
            source=group.source,
        )


class _Group(NamedTuple):
    """One material of an open file."""

    file: h5py.File
    name: str
    source: str

    def values(self, max_mb: float) -> dict[str, Any]:
        """The datasets of the group that are used, read, unless they take more than `max_mb` together."""
        try:
            values = read_datasets(self.file, self.name, (*_REQUIRED, *_OPTIONAL), max_mb)
        except TooLargeError as error:
            raise RecordError(self.source, f"{error}; a source reads more if its max_mb is set higher") from error
        except (*_DAMAGE_ERRORS, AttributeError) as error:
            raise RecordError(self.source, f"the group cannot be read, damaged? ({first_line(error)})") from error
        for key in _REQUIRED:
            if key not in values:
                raise RecordError(self.source, f"dataset {key!r} is missing")
        return values

    def array(self, values: dict[str, Any], key: str, kind: str, ndim: int) -> NDArray[Any]:
        """The dataset `key` in double precision; raises RecordError unless it has the kind and number of dimensions."""
        array = np.asarray(values[key])
        dtype_kinds, dtype = _KINDS[kind]
        if array.dtype.kind not in dtype_kinds or array.ndim != ndim:
            problem = f"{key} is {array.dtype} of shape {array.shape}, expected {kind} numbers in {ndim} dimensions"
            raise RecordError(self.source, problem)
        with np.errstate(invalid="ignore"):  # the record refuses NaN, with a better message
            return array.astype(dtype)

    def metadata(self, values: dict[str, Any]) -> dict[str, Any]:
        """Reduced formula and energy above the convex hull (eV/atom), if the file has them."""
        metadata: dict[str, Any] = {}
        if "composition" in values:
            metadata["composition"] = _text(values["composition"])
        if "e_above_hull" in values:
            metadata["e_above_hull"] = float(self.array(values, "e_above_hull", "real", 0))
        return metadata


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _open(path: Path) -> h5py.File:
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: not a readable HDF5 file, truncated? ({first_line(error)})") from error


def _group_names(file: h5py.File, path: Path) -> list[str]:
    try:
        return list(file)
    except _DAMAGE_ERRORS as error:
        raise InputError(f"{path}: not a readable HDF5 file, damaged? ({first_line(error)})") from error
