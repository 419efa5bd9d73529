"""Random intermetallic crystals: common structure types with random elements.

Types are named by their Strukturbericht symbols. Free coordinates have the values of the prototype; axial ratios are
random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_STRAIN = 0.1
"""Largest relative change of an axial ratio."""

DENSITIES = (0.97, 1.06)
"""Lattice constants as a share of those at which atoms take the volume that they have in close packing, …"""

SHORTEST = 0.82
"""… unless two atoms came closer to each other than this share of the sum of their radii."""

_ROOT = 3**0.5 / 2
_FCC = ((0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
_BCC = ((-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5))
_CUBIC = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
_HEXAGONAL = ((1, 0, 0), (-0.5, _ROOT, 0), (0, 0, 1))
_IMAGES = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)

Rows = tuple[tuple[float, float, float], ...]


class Element(NamedTuple):
    """Smooth descriptors of a metal: place in the periodic table and metallic radius in Å."""

    atomic_number: int
    group: int
    period: int
    radius: float


METALS: dict[int, Element] = {
    z: Element(z, group, period, radius)
    for period, first, group, radii in (
        (2, 3, 1, (1.52, 1.12)),
        (3, 11, 1, (1.86, 1.60)),
        (3, 13, 13, (1.43,)),
        (4, 19, 1, (2.27, 1.97, 1.62, 1.47, 1.34, 1.28, 1.27, 1.26, 1.25, 1.24, 1.28, 1.34, 1.35)),
        (5, 37, 1, (2.48, 2.15, 1.80, 1.60, 1.46, 1.39, 1.36, 1.34, 1.34, 1.37, 1.44, 1.51, 1.67, 1.58)),
        (6, 56, 2, (2.22, 1.87)),
        (6, 72, 4, (1.59, 1.46, 1.39, 1.37, 1.35, 1.36, 1.39, 1.44, 1.51, 1.70, 1.75, 1.82)),
    )
    for z, group, radius in zip(range(first, 84), range(group, 19), radii, strict=False)
}
"""The elements that crystals are made of, by atomic number; radii for twelve neighbours. Cs is too large."""

_NUMBERS = np.array(sorted(METALS))


@dataclass(frozen=True)
class Prototype:
    """A structure type.

    Args:
        name: Strukturbericht symbol and name giver.
        lattice: Rows are lattice vectors, in units of the first lattice constant.
        sites: Fractional coordinates.
        species: Which of the elements sits on each site.
        free_axes: 0 for cubic crystals; 1 if the length of z can change, 2 if that of y too.
    """

    name: str
    lattice: Rows
    sites: Rows
    species: tuple[int, ...]
    free_axes: int = 0


def _along_z(lattice: Rows, ratio: float) -> Rows:
    """The lattice with z stretched to the axial ratio c/a."""
    return tuple((x, y, z * ratio) for x, y, z in lattice)


def _laves_h(x: float) -> Rows:
    """The six places of 6h (x, 2x, 1/4) in P6_3/mmc."""
    plane = ((x, 2 * x), (-2 * x, -x), (x, -x))
    return tuple((s * u, s * v, h) for s, h in ((1, 0.25), (-1, 0.75)) for u, v in plane)


_O, _C = (0, 0, 0), (0.5, 0.5, 0.5)
_FACES: Rows = ((0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5))
_HCP: Rows = ((1 / 3, 2 / 3, 0.25), (2 / 3, 1 / 3, 0.75))
_HONEYCOMB: Rows = ((1 / 3, 2 / 3, 0.5), (2 / 3, 1 / 3, 0.5))
_Q, _T = (0.25, 0.25, 0.25), (0.75, 0.75, 0.75)
_CHAINS: Rows = ((0.25, 0.5, 0), (0.75, 0.5, 0), (0, 0.25, 0.5), (0, 0.75, 0.5), (0.5, 0, 0.25), (0.5, 0, 0.75))
_LAYER: Rows = ((0.75, 0.25, 0.5), (0.25, 0.75, 0.5))
_MG: Rows = ((1 / 3, 2 / 3, 0.062), (2 / 3, 1 / 3, 0.562), (2 / 3, 1 / 3, -0.062), (1 / 3, 2 / 3, 0.438))
_CU5: Rows = ((1 / 3, 2 / 3, 0), (2 / 3, 1 / 3, 0), (0.5, 0, 0.5), (0, 0.5, 0.5), (0.5, 0.5, 0.5))
_AUCD: Rows = ((0.25, 0, 0.31), (0.75, 0, 0.69), (0.25, 0.5, 0.81), (0.75, 0.5, 0.19))

PROTOTYPES = (
    Prototype("A1 Cu", _FCC, (_O,), (0,)),
    Prototype("A2 W", _BCC, (_O,), (0,)),
    Prototype("A6 In", _along_z(_BCC, 1.52), (_O,), (0,), 1),
    Prototype("A3 Mg", _along_z(_HEXAGONAL, 1.633), _HCP, (0, 0), 1),
    Prototype("A3' La", _along_z(_HEXAGONAL, 3.266), (_O, (0, 0, 0.5), *_HCP), (0, 0, 0, 0), 1),
    Prototype("B1 NaCl", _FCC, (_O, _C), (0, 1)),
    Prototype("B2 CsCl", _CUBIC, (_O, _C), (0, 1)),
    Prototype("L1_0 AuCu", _along_z(_CUBIC, 1.38), (_O, _C), (0, 1), 1),
    Prototype("B8_1 NiAs", _along_z(_HEXAGONAL, 1.39), (_O, (0, 0, 0.5), *_HCP), (0, 0, 1, 1), 1),
    Prototype("B19 AuCd", ((1, 0, 0), (0, 0.66, 0), (0, 0, 1.02)), _AUCD, (0, 0, 1, 1), 2),
    Prototype("L1_2 AuCu3", _CUBIC, (_O, *_FACES), (0, 1, 1, 1)),
    Prototype("D0_19 Ni3Sn", _along_z(_HEXAGONAL, 0.8), (*_HCP, *_laves_h(0.833)), (0, 0, 1, 1, 1, 1, 1, 1), 1),
    Prototype("D0_22 TiAl3", _along_z(_BCC, 2.2), (_O, (0.5, 0.5, 0), *_LAYER), (0, 1, 1, 1), 1),
    Prototype("A15 Cr3Si", _CUBIC, (_O, _C, *_CHAINS), (0, 0, 1, 1, 1, 1, 1, 1)),
    Prototype("C32 AlB2", _along_z(_HEXAGONAL, 1.08), (_O, *_HONEYCOMB), (0, 1, 1), 1),
    Prototype("C11_b MoSi2", _along_z(_BCC, 2.45), (_O, (1 / 3, 1 / 3, 0), (2 / 3, 2 / 3, 0)), (0, 1, 1), 1),
    Prototype("C15 MgCu2", _FCC, ((0.125,) * 3, (0.875,) * 3, _C, *_FACES), (0, 0, 1, 1, 1, 1)),
    Prototype(
        "C14 MgZn2", _along_z(_HEXAGONAL, 1.633), (*_MG, _O, (0, 0, 0.5), *_laves_h(0.83)), (0,) * 4 + (1,) * 8, 1
    ),
    Prototype("D2_d CaCu5", _along_z(_HEXAGONAL, 0.8), (_O, *_CU5), (0, 1, 1, 1, 1, 1), 1),
    Prototype("C1_b MgAgAs", _FCC, (_O, _C, _Q), (0, 1, 2)),
    Prototype("L2_1 Cu2MnAl", _FCC, (_Q, _T, _O, _C), (0, 0, 1, 2)),
    Prototype("E2_1 CaTiO3", _CUBIC, (_O, _C, *_FACES), (0, 1, 2, 2, 2)),
    Prototype(
        "D1_3 ThCr2Si2", _along_z(_BCC, 2.5), (_O, *_LAYER, (0.375, 0.375, 0), (0.625, 0.625, 0)), (0, 1, 1, 2, 2), 1
    ),
)


class Structure(NamedTuple):
    """A crystal: lattice vectors (3, 3) and positions (n, 3) in Å, atomic numbers (n,), and its type."""

    lattice: NDArray[np.float64]
    atomic_numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    prototype: str


def random_structure(rng: np.random.Generator, rattle: float = 0.0) -> Structure:
    """Draw a structure type, its elements, axial ratios and density; strain keeps the symmetry, rattling breaks it.

    Args:
        rng: What everything is drawn from.
        rattle: Standard deviation of a random shift of every coordinate in Å.
    """
    prototype = PROTOTYPES[rng.integers(len(PROTOTYPES))]
    elements = rng.choice(_NUMBERS, size=max(prototype.species) + 1, replace=False)
    strain, density = 1 + MAX_STRAIN * rng.uniform(-1, 1, size=2), rng.uniform(*DENSITIES)
    shifts = rng.standard_normal((len(prototype.sites), 3))
    stretch = np.array([1, strain[1] if prototype.free_axes == 2 else 1, strain[0] if prototype.free_axes else 1])
    lattice = np.array(prototype.lattice, dtype=np.float64) * stretch
    numbers = elements[list(prototype.species)].astype(np.int64)
    positions = np.mod(prototype.sites, 1.0) @ lattice
    radii = np.array([METALS[int(z)].radius for z in numbers])
    packed = (4 * np.sqrt(2) * (radii**3).sum() / abs(np.linalg.det(lattice))) ** (1 / 3)
    scale = max(density * packed, SHORTEST / _closest(lattice, positions, radii))
    return Structure(scale * lattice, numbers, scale * positions + rattle * shifts, prototype.name)


def _closest(lattice: NDArray[np.float64], positions: NDArray[np.float64], radii: NDArray[np.float64]) -> float:
    """Smallest ratio, over all pairs of atoms, of their distance to the sum of their radii."""
    between = (positions[:, None] - positions)[:, :, None] + _IMAGES @ lattice
    squares = (between**2).sum(axis=-1) / ((radii[:, None] + radii) ** 2)[:, :, None]
    return float(np.sqrt(squares[squares > 1e-12].min()))
