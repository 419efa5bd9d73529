"""Remarks on unusual structures: not necessarily wrong, but outside of what models were trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.elements import atomic_volumes
from dielectric_gnn.data.record import element_symbol

USUAL_VOLUME = (4.0, 200.0)
"""Volumes per atom (Å³) of solids: from below diamond (5.7) and beryllium (8.1) to well above caesium (117)."""

USUAL_PACKING = (0.6, 1.6)
"""Volume of the cell over the sum of the atomic volumes of its elements: of 3,316 real metals, all are between."""


def structure_remarks(
    atomic_numbers: Sequence[int] | NDArray[np.integer],
    num_neighbours: NDArray[np.integer],
    volume: float,
    cutoff: float,
) -> list[str]:
    """Remarks on isolated atoms and on cells of unusual volume, for example because of a wrong unit.

    Args:
        atomic_numbers: (n,).
        num_neighbours: Number of neighbours of each atom within `cutoff`, (n,).
        volume: Cell volume in Å³.
        cutoff: Neighbour cutoff in Å.
    """
    remarks = []
    isolated = np.flatnonzero(np.asarray(num_neighbours) == 0).tolist()
    if isolated:
        shown = ", ".join(f"{place} ({element_symbol(int(atomic_numbers[place]))})" for place in isolated[:3])
        more = f" and {len(isolated) - 3} others" if len(isolated) > 3 else ""
        remarks.append(f"no neighbour within {cutoff:g} Å of atom {shown}{more}")
    per_atom, (least, most) = volume / len(atomic_numbers), USUAL_VOLUME
    if not least <= per_atom <= most:
        remarks.append(f"{per_atom:.4g} Å³ per atom, expected {least:g} to {most:g}; check the units")
    packing = volume / float(atomic_volumes(atomic_numbers).sum())
    least, most = USUAL_PACKING
    if not least <= packing <= most:
        remarks.append(
            f"the volume is {packing:.3g} times that of the elements, expected {least:g} to {most:g} in a metal; check "
            "the lattice"
        )
    return remarks
