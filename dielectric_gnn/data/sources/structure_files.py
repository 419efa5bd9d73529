"""Structures without labels, in any format that pymatgen reads: what `predict` is asked about."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.base import OnError, RecordSource, existing_path
from dielectric_gnn.data.sources.json_files import json_suffix, load_json
from dielectric_gnn.data.sources.structure_dict import parse_structure
from dielectric_gnn.errors import InputError, RecordError


class StructureFiles(RecordSource):
    """Crystal structures from files (CIF, POSCAR, pymatgen JSON, …) and folders of them.

    Args:
        paths: Files and folders; folders are searched one level deep for visible files.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__()
        self.paths = list(paths)

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """Read the files in the order given, folders in the order of names."""
        return self._read_each(self._files(), read_structure, on_error)

    def size(self) -> int:
        """How many files there are."""
        return len(self._files())

    def _files(self) -> list[Path]:
        files: list[Path] = []
        for path in map(existing_path, self.paths):
            found = sorted(f for f in path.iterdir() if f.is_file() and f.name[0] != ".") if path.is_dir() else [path]
            if not found:
                raise InputError(f"{path}: the folder holds no files")
            files += found
        return files


def read_structure(path: Path) -> CrystalRecord:
    """Read one crystal; the file name without its ending becomes the material id.

    Raises:
        RecordError: The file cannot be read, or the structure is disordered or unusable.
    """
    source = str(path)
    if json_suffix(path.name):
        content = load_json(path)
        lattice, numbers, positions = parse_structure(content.get("structure", content), source)
    else:
        lattice, numbers, positions = _read_with_pymatgen(path)
    return CrystalRecord(_material_id(path), lattice, numbers, positions, source=source)


def _read_with_pymatgen(
    path: Path,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    from pymatgen.core import Structure

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rounding of CIF coordinates and the like
            structure = Structure.from_file(path)
    except Exception as error:  # pymatgen raises many types for files it cannot read
        reason = str(error).strip().split("\n")[0]
        raise RecordError(str(path), f"pymatgen cannot read a crystal structure from it ({reason})") from error
    if not structure.is_ordered:
        raise RecordError(str(path), "the structure is disordered; models need one element per site")
    return (
        np.asarray(structure.lattice.matrix, dtype=np.float64),
        np.asarray(structure.atomic_numbers, dtype=np.int64),
        np.asarray(structure.cart_coords, dtype=np.float64).reshape(-1, 3),
    )


def _material_id(path: Path) -> str:
    if path.name in ("POSCAR", "CONTCAR"):  # the folder tells such files apart
        return f"{path.resolve().parent.name}-{path.name}"
    suffix = json_suffix(path.name) or path.suffix
    return path.name.removesuffix(suffix)
