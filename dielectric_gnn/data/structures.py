"""Conversion of pymatgen structures, ASE atoms and structure files to `CrystalRecord`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.structure_files import read_structure
from dielectric_gnn.utils.errors import InputError


def to_record(structure: Any, material_id: str | None = None) -> CrystalRecord:
    """A material without labels from any supported representation of a crystal structure.

    Args:
        structure: A `CrystalRecord`, a path of a structure file, a pymatgen `Structure`, or ASE `Atoms`.
        material_id: Name of the material; None takes the name of the file, or the formula.

    Raises:
        InputError: The structure is of another type, disordered, not periodic, or otherwise unusable.
    """
    if isinstance(structure, CrystalRecord):
        return structure
    if isinstance(structure, str | os.PathLike):
        return read_structure(Path(structure).expanduser())
    if hasattr(structure, "lattice") and hasattr(structure, "is_ordered"):
        if not structure.is_ordered:
            raise InputError(
                f"{structure.formula}: its sites are partly occupied, expected an ordered structure; create one with "
                "pymatgen's OrderDisorderedStructureTransformation"
            )
        numbers = [site.specie.Z for site in structure]
        return _record(
            material_id or structure.reduced_formula, structure.lattice.matrix, numbers, structure.cart_coords
        )
    if hasattr(structure, "get_atomic_numbers") and hasattr(structure, "pbc"):
        name = material_id or structure.get_chemical_formula(empirical=True)
        if not all(structure.pbc):
            raise InputError(f"{name}: pbc is {list(structure.pbc)}, expected a crystal, periodic in all directions")
        return _record(name, np.asarray(structure.cell), structure.get_atomic_numbers(), structure.positions)
    raise InputError(
        f"a structure is of type {type(structure).__name__}, expected a path, a pymatgen Structure or ASE Atoms"
    )


def _record(material_id: str, lattice: Any, numbers: Any, positions: Any) -> CrystalRecord:
    return CrystalRecord(
        material_id,
        np.array(lattice, dtype=np.float64),
        np.array(numbers, dtype=np.int64),
        np.array(positions, dtype=np.float64),
    )
