"""Prototype crystals of known symmetry, axis c along z, as unlabelled records."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Lattice, Structure

from dielectric_gnn.data.record import CrystalRecord

FACE_CENTRED = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
BODY_CENTRED = np.array([[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]])

Sites = list[tuple[str, tuple[float, float, float]]]

CUBIC: dict[str, tuple[str, float, Sites]] = {
    "fcc": ("Fm-3m", 3.61, [("Cu", (0, 0, 0))]),
    "B2": ("Pm-3m", 2.89, [("Ni", (0, 0, 0)), ("Al", (0.5, 0.5, 0.5))]),
    "A15": ("Pm-3n", 5.29, [("Sn", (0, 0, 0)), ("Nb", (0.25, 0, 0.5))]),
    "C15": ("Fd-3m", 7.03, [("Mg", (1 / 8, 1 / 8, 1 / 8)), ("Cu", (0.5, 0.5, 0.5))]),
    "half-Heusler": ("F-43m", 5.95, [("Ti", (0, 0, 0)), ("Sn", (0.5, 0.5, 0.5)), ("Ni", (0.25, 0.25, 0.25))]),
    "B20": ("P2_13", 4.49, [("Fe", (0.1358,) * 3), ("Si", (0.8440,) * 3)]),
}

_CHALCOPYRITE: Sites = [("Cu", (0, 0, 0)), ("Fe", (0, 0, 0.5)), ("S", (0.2574, 0.25, 0.125))]
_CADMIUM_GALLIUM: Sites = [("Cd", (0, 0, 0)), ("Ga", (0, 0, 0.5)), ("Ga", (0, 0.5, 0.25)), ("S", (0.27, 0.26, 0.14))]
_CALCIUM_COPPER: Sites = [("Ca", (0, 0, 0)), ("Cu", (1 / 3, 2 / 3, 0)), ("Cu", (0.5, 0, 0.5))]
_LEAD_TITANATE: Sites = [("Pb", (0, 0, 0)), ("Ti", (0.5, 0.5, 0.54)), ("O", (0.5, 0.5, 0.11)), ("O", (0.5, 0, 0.62))]

HEXAGONAL: dict[str, tuple[str, float, float, Sites]] = {
    "hcp": ("P6_3/mmc", 3.21, 5.11, [("Mg", (1 / 3, 2 / 3, 0.25))]),
    "CaCu5": ("P6/mmm", 5.08, 4.09, _CALCIUM_COPPER),
    "Te": ("P3_121", 4.456, 5.921, [("Te", (0.2633, 0, 1 / 3))]),
    "Te-mirrored": ("P3_221", 4.456, 5.921, [("Te", (0.2633, 0, 2 / 3))]),
}
TETRAGONAL: dict[str, tuple[str, float, float, Sites]] = {
    "L1_0": ("P4/mmm", 2.80, 3.67, [("Au", (0, 0, 0)), ("Cu", (0.5, 0.5, 0.5))]),
    "P4mm": ("P4mm", 3.90, 4.15, _LEAD_TITANATE),
    "chalcopyrite": ("I-42d", 5.29, 10.42, _CHALCOPYRITE),
    "I-4": ("I-4", 5.55, 10.17, _CADMIUM_GALLIUM),
}
UNIAXIAL = [*HEXAGONAL, *TETRAGONAL]

_LOW: dict[str, tuple[str, Lattice, Sites]] = {
    "Pmm2": (
        "Pmm2",
        Lattice.orthorhombic(3.7, 4.3, 5.1),
        [("Zn", (0, 0, 0.02)), ("S", (0.5, 0.5, 0.31)), ("O", (0, 0.5, 0.63)), ("Cu", (0.5, 0, 0.71))],
    ),
    # The mirror plane is normal to b, which is y.
    "Pm": (
        "Pm",
        Lattice.monoclinic(4.1, 3.6, 5.2, 102),
        [("Zn", (0.03, 0, 0.02)), ("S", (0.46, 0.5, 0.31)), ("O", (0.11, 0.5, 0.63)), ("Cu", (0.58, 0, 0.74))],
    ),
}


def prototype(name: str) -> CrystalRecord:
    """The conventional cell of a prototype."""
    if name in CUBIC:
        group, a, sites = CUBIC[name]
        lattice = Lattice.cubic(a)
    elif name in HEXAGONAL:
        group, a, c, sites = HEXAGONAL[name]
        lattice = Lattice.hexagonal(a, c)
    elif name in TETRAGONAL:
        group, a, c, sites = TETRAGONAL[name]
        lattice = Lattice.tetragonal(a, c)
    else:
        group, lattice, sites = _LOW[name]
    structure = Structure.from_spacegroup(group, lattice, [s for s, _ in sites], [xyz for _, xyz in sites])
    # pymatgen rounds thirds to ten digits, which is not enough for symmetry to 1e-12.
    thirds = np.round(3 * structure.frac_coords) / 3
    fractional = np.where(np.abs(structure.frac_coords - thirds) < 1e-8, thirds, structure.frac_coords)
    return CrystalRecord(name, lattice.matrix, np.array(structure.atomic_numbers), fractional @ lattice.matrix)


def primitive(record: CrystalRecord, centring: NDArray[np.float64]) -> CrystalRecord:
    """The same crystal, in the same frame, with the lattice vectors `centring` @ those of the record."""
    lattice = centring @ record.lattice
    fractional = np.linalg.solve(lattice.T, record.positions.T).T
    # Rounded only to compare atoms, since 1 − 1e-16 is the same place as 0.
    _, kept = np.unique(np.round(fractional % 1, 6) % 1, axis=0, return_index=True)
    return CrystalRecord(record.material_id, lattice, record.atomic_numbers[kept], record.positions[kept])
