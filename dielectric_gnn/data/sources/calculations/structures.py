"""The structure of a calculation: from an input or output of its code, or from a structure file beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.data.sources.other_formats import VASPRUN
from dielectric_gnn.data.sources.structure_files import read_structure
from dielectric_gnn.data.sources.structure_folders import is_cif, is_structure_file
from dielectric_gnn.data.sources.text_files import without_compression
from dielectric_gnn.utils.errors import RecordError

StructureReader = Callable[[Path], Atoms | None]
"""Reads a file of a code; None: the file is of another kind."""

_SAME_ANGSTROM = 1e-3
"""Structures of several files of one calculation agree to this."""

FRAME_REMARK = (
    "the structure is from a CIF file, which does not state the Cartesian frame; that of the tensors may be another"
)


def structure_beside(
    spectrum: Path, code: str, own: Sequence[tuple[str, StructureReader]], remarks: list[str]
) -> Atoms:
    """The structure of a calculation.

    Args:
        spectrum: A file of the calculation; its folder is searched.
        code: Name of the code, for errors.
        own: Patterns of names and readers of files of the code, the most reliable first.
        remarks: A CIF file is noted here.

    Raises:
        RecordError: There is none, or there are several different ones.
    """
    files = sorted(path for path in spectrum.parent.iterdir() if path.is_file() and not path.name.startswith("."))
    for pattern, read in own:
        named = [path for path in files if re.fullmatch(pattern, path.name, re.IGNORECASE)]
        found = [(path, atoms) for path in named if (atoms := read(path)) is not None]
        if found:
            return _only(found)
    others = [path for path in files if _is_structure(path)]
    if not others:
        names = ", ".join(pattern.replace("\\", "") for pattern, _ in own)
        raise RecordError(
            str(spectrum),
            f"no structure is in the folder of this {code} spectrum; put {names + ' or ' if names else ''}a POSCAR "
            f"into {spectrum.parent}, with the lattice in the Cartesian frame of the calculation",
        )
    records = [(path, read_structure(path)) for path in others]
    if any(is_cif(path) for path in others):
        remarks.append(FRAME_REMARK)
    return _only([(path, Atoms(r.lattice, r.atomic_numbers, r.positions)) for path, r in records])


def _is_structure(path: Path) -> bool:
    name = without_compression(path.name).lower()
    if name == VASPRUN or name.startswith(("chgcar", "locpot")):
        return False
    return is_structure_file(path) and (not name.endswith(".json") or "structure" in name)


def _only(found: Sequence[tuple[Path, Atoms]]) -> Atoms:
    first_path, first = found[0]
    for path, atoms in found[1:]:
        if not is_same(first, atoms):
            raise RecordError(
                str(path), f"its structure differs from that of {first_path.name}; keep only that of the spectrum"
            )
    return first


def is_same(first: Atoms, other: Atoms) -> bool:
    """Whether two files state the same structure."""
    if not np.array_equal(first.numbers, other.numbers):
        return False
    return np.allclose(first.lattice, other.lattice, atol=_SAME_ANGSTROM) and np.allclose(
        first.positions, other.positions, atol=_SAME_ANGSTROM
    )
