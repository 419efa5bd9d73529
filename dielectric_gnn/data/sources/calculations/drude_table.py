"""Drude frequencies from a CSV file, for codes that write none."""

from __future__ import annotations

import csv

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.record import MAX_DRUDE_EV
from dielectric_gnn.data.sources.base import existing_path
from dielectric_gnn.data.sources.text_files import read_text
from dielectric_gnn.utils.csv_cells import unguard_cell
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.limits import METADATA_MB

DIAGONAL = ("drude_x", "drude_y", "drude_z")
OFF_DIAGONAL = ("drude_yz", "drude_xz", "drude_xy")


def read_drude_table(path: str) -> dict[str, NDArray[np.float64]]:
    """Drude frequencies in eV by material id.

    Args:
        path: CSV with the columns `mat_id`, `drude_x`, `drude_y`, `drude_z`; with `drude_yz`, `drude_xz`, `drude_xy`
            the six components of the root of the tensor ω_D². Empty cells mean that the frequency is not known.

    Returns:
        (3,) or (6,) for each material.

    Raises:
        InputError: A column is missing, an id occurs twice, or a value is not a frequency.
    """
    file = existing_path(path)
    lines = [line for line in read_text(file, METADATA_MB).splitlines() if line.strip() and not line.startswith("#")]
    rows = csv.DictReader(lines, skipinitialspace=True)
    header = [name.strip() for name in rows.fieldnames or ()]
    rows.fieldnames = header
    needed = ("mat_id", *DIAGONAL)
    has_tensors = any(name in header for name in OFF_DIAGONAL)
    columns = DIAGONAL + OFF_DIAGONAL if has_tensors else DIAGONAL
    for name in needed + columns:
        if name not in header:
            raise InputError(
                f"{file}: column {name} is missing, expected {', '.join(needed)} (and, for tensors, "
                f"{', '.join(OFF_DIAGONAL)})"
            )
    table: dict[str, NDArray[np.float64]] = {}
    for place, row in enumerate(rows, start=1):
        material_id = unguard_cell(row["mat_id"] or "")
        if not material_id or material_id in table:
            problem = "has no mat_id" if not material_id else f"repeats mat_id {material_id!r}"
            raise InputError(f"{file}: row {place} {problem}; give each material once")
        cells = [(row[name] or "").strip() for name in columns]
        if any(cells):
            table[material_id] = _frequencies(cells, f"{file}: row {place} ({material_id})")
    return table


def _frequencies(cells: list[str], where: str) -> NDArray[np.float64]:
    try:
        values = np.array([float(cell) for cell in cells])
    except ValueError:
        raise InputError(f"{where} holds {cells}, expected numbers in eV, or empty cells for all") from None
    if not (np.abs(values) <= MAX_DRUDE_EV).all() or (values[:3] < 0).any():
        raise InputError(f"{where} holds {cells}, expected Drude frequencies of 0 to {MAX_DRUDE_EV:g} eV")
    return values
