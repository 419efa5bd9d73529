"""The cell in which neighbours are searched: checked, and reduced if it is skew.

A search visits all images of a cell within the cutoff. A skew cell has many of them, whatever the crystal, and very
long lattice vectors overflow. Every record is therefore checked here, whatever its source, before any search.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MIN_DISTANCE = 0.5
"""Shortest accepted distance of two atoms (Å)."""

MAX_COMPONENT = 1e8
"""Largest stated component of lattice vectors and positions (Å); double precision then resolves about 1e-8 Å."""

MAX_LENGTH = 1000.0
"""Longest vector (Å) of the reduced cell. A cell in pm instead of Å is shorter, and gets a remark (`data.remarks`)."""

VOLUME_PER_ATOM = (1.0, 1e8)
"""Accepted volumes per atom in Å³. Solid hydrogen has more than 1 Å³ even at the highest pressures."""

MAX_ATOMS = 10_000
"""Largest number of atoms of a cell."""

MAX_EDGES = 5_000_000
"""Largest estimated number of neighbours within `_REFERENCE_CUTOFF`, from the local density."""

_REFERENCE_CUTOFF = 5.5
_NUM_ATOMS_UNCHECKED = 1000
"""Up to this number of atoms, a search takes at most a second at any density, so it is not checked."""

_MAX_SKEWNESS = 4.0
"""A cell is skew if the product of its lengths exceeds its volume by more than this factor. The ratio is at most 2 for
reduced cells, and at most 1.42 for the primitive cells of cubic crystals."""

_MAX_BOXES = 1e5
"""vesin sorts atoms into boxes as large as its cutoff. If there are more boxes than this, it divides their numbers
along all three axes by one factor, which may give 0 along an axis; it then divides by zero, and the process ends."""

_MAX_BOXES_PER_AXIS = 5000
"""Boxes along one axis; their total number is then far from an overflow."""

_MAX_REDUCTION_STEPS = 500
_NEIGHBOUR_STEPS = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], indexing="ij"), axis=-1).reshape(-1, 2)


class Cell(NamedTuple):
    """Lattice vectors as rows (3, 3) and Cartesian positions (n, 3) in Å."""

    lattice: Floats
    positions: Floats


def search_cell(lattice: Floats, positions: Floats) -> Cell:
    """A cell of the same crystal, in the same frame and with the atoms in the same order, with few images.

    A cell that is not skew is returned unchanged. Otherwise the lattice vectors are reduced, and the atoms translated
    by lattice vectors into the reduced cell. The vectors between atoms and images of atoms, which define the graph,
    do not change.

    Shapes:
        lattice (3, 3), rows are vectors; positions (n, 3). Both in Å, components up to `MAX_COMPONENT`.
    """
    if not _is_skew(lattice):
        return Cell(lattice, positions)
    reduced = reduced_lattice(lattice)
    if _volume(reduced) < MIN_DISTANCE**3:  # coplanar vectors; `cell_problem` refuses the cell
        return Cell(reduced, positions)
    return Cell(reduced, positions - np.floor(positions @ np.linalg.inv(reduced)) @ reduced)


def reduced_lattice(lattice: Floats) -> Floats:
    """The shortest vectors that span a lattice (Minkowski reduction), sorted by length.

    Integer multiples of vectors are subtracted from longer ones until none becomes shorter. Source: I. Semaev, LNCS
    2146, 181 (2001), doi:10.1007/3-540-44670-2_13.

    Shapes:
        (3, 3) → (3, 3), rows are vectors.
    """
    rows = lattice.astype(np.float64)
    for _ in range(_MAX_REDUCTION_STEPS):
        rows = rows[(rows**2).sum(axis=1).argsort(kind="stable")]
        first, second, third = rows
        if first @ first < MIN_DISTANCE**2 * 1e-6:  # coplanar vectors
            return rows
        shorter = second - np.rint(first @ second / (first @ first)) * first
        if _is_shorter(shorter, second):
            rows[1] = shorter
            continue
        plane = rows[:2]
        nearest = np.rint(np.linalg.solve(plane @ plane.T, plane @ third))
        candidates = third - (nearest + _NEIGHBOUR_STEPS) @ plane
        shorter = candidates[(candidates**2).sum(axis=1).argmin()]
        if not _is_shorter(shorter, third):
            return rows
        rows[2] = shorter
    return rows


def safe_cutoff(lattice: Floats, cutoff: float) -> float:
    """A cutoff (Å), `cutoff` or more, with which vesin can search this cell; see `_MAX_BOXES`.

    It is larger only for long and flat cells of many boxes. In cells that `cell_problem` accepts, it is at most 6 Å if
    `cutoff` is smaller. The caller removes neighbours beyond `cutoff`.
    """
    if math.prod(max(length / cutoff, 1) for length in _lengths(lattice)) <= _MAX_BOXES:  # the most boxes there can be
        return cutoff
    spacings = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    while True:
        boxes = np.maximum(np.floor(spacings / cutoff), 1)
        shrink = np.cbrt(_MAX_BOXES / boxes.prod())
        if boxes.max() <= _MAX_BOXES_PER_AXIS and (shrink >= 1 or boxes.min() * shrink >= 1.5):
            return cutoff
        cutoff *= 1.25


def stated_problem(lattice: Floats, positions: Floats) -> str | None:
    """Description of the problem of stated numbers: too many, not finite, or too large; None if there is none."""
    if len(positions) > MAX_ATOMS:
        return f"the cell has {len(positions)} atoms, expected at most {MAX_ATOMS}; take the primitive cell"
    if not (np.isfinite(lattice).all() and np.isfinite(positions).all()):
        return "lattice or positions contain NaN or infinite values"
    for name, values in (("lattice vectors", lattice), ("positions", positions)):
        largest = float(np.abs(values).max(initial=0.0))
        if largest > MAX_COMPONENT:
            return f"{name} reach {largest:.3g} Å, expected at most {MAX_COMPONENT:g} Å; check units and digits"
    return None


def cell_problem(cell: Cell) -> str | None:
    """Description of the problem of a cell: coplanar, too long, too empty or too crowded; None if it is usable."""
    lattice, num_atoms = cell.lattice, len(cell.positions)
    volume, lengths = _volume(lattice), _lengths(lattice)
    if volume < MIN_DISTANCE**3 or _is_skew(lattice):
        return f"the cell volume is {volume:.3g} Å^3: lattice vectors are coplanar"
    if min(lengths) < MIN_DISTANCE:
        return (
            f"atoms and their images are {min(lengths):.3g} Å apart, the shortest lattice vector, expected at least "
            f"{MIN_DISTANCE:g} Å; check units"
        )
    if max(lengths) > MAX_LENGTH:
        return f"a lattice vector has {max(lengths):.4g} Å, expected at most {MAX_LENGTH:g} Å; check units"
    least, most = VOLUME_PER_ATOM
    if not least <= volume / num_atoms <= most:
        return f"{volume / num_atoms:.3g} Å^3 per atom, expected {least:g} to {most:g} Å^3; check units and sites"
    if num_atoms > _NUM_ATOMS_UNCHECKED and (edges := _estimated_edges(cell)) > MAX_EDGES:
        return (
            f"about {edges:.2g} pairs of atoms are within {_REFERENCE_CUTOFF} Å of each other, expected at most "
            f"{MAX_EDGES:.0e}; check units and duplicated sites, or take the primitive cell"
        )
    return None


def _estimated_edges(cell: Cell) -> float:
    """Estimated number of pairs within `_REFERENCE_CUTOFF`, from the densities in boxes of about that size."""
    lengths = np.linalg.norm(cell.lattice, axis=1)
    boxes = np.maximum(lengths // _REFERENCE_CUTOFF, 1).astype(np.int64)
    places = (cell.positions @ np.linalg.inv(cell.lattice)) % 1.0
    first, second, third = np.minimum((places * boxes).astype(np.int64), boxes - 1).T
    _, counts = np.unique((first * boxes[1] + second) * boxes[2] + third, return_counts=True)
    sphere = 4 / 3 * np.pi * _REFERENCE_CUTOFF**3
    return float((counts.astype(np.float64) ** 2).sum() * sphere * boxes.prod() / _volume(cell.lattice))


def _is_skew(lattice: Floats) -> bool:
    return math.prod(_lengths(lattice)) > _MAX_SKEWNESS * _volume(lattice)


def _is_shorter(one: Floats, other: Floats) -> bool:
    """Whether a vector is shorter by more than rounding, which could make the reduction cycle."""
    return bool(one @ one < (1 - 1e-9) * (other @ other))


def _lengths(lattice: Floats) -> list[float]:
    """Lengths of the three vectors; without NumPy, which is slower for so few numbers."""
    return [math.hypot(*row) for row in lattice.tolist()]


def _volume(lattice: Floats) -> float:
    (a, b, c), (d, e, f), (g, h, i) = lattice.tolist()
    return abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))
