"""Neighbours in many small cells at once: vectorised over cells, which avoids the overhead of one search per cell.

Every atom is translated into all images of its cell within reach, and compared with every atom of the cell. The cost
grows as the square of the number of atoms, so this is for small cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MAX_ATOMS_DENSE_SEARCH = 8
"""Largest number of atoms of a cell that is searched here; in larger cells, cell lists are faster."""

MAX_IMAGES_DENSE_SEARCH = 2000
"""Largest number of images of a cell that is searched here; with more (flat or skew cells), cell lists are faster."""

CUTOFF_TOLERANCE = 1e-5
"""A length may exceed a cutoff by this much (Å), so that rounding does not affect neighbours at exactly the cutoff."""


def within(lengths: Any, cutoff: float) -> Any:
    """Mask of the lengths (array or tensor) within `cutoff` (Å); the rule for neighbours and for angles."""
    return lengths <= cutoff + CUTOFF_TOLERANCE


def both_directions(
    source: NDArray[np.integer], target: NDArray[np.integer], vectors: Floats
) -> tuple[NDArray[np.int32], Floats]:
    """Two edges with exactly opposite vectors for every pair, sorted by source.

    Shapes:
        source, target (P,), vectors (P, 3) from source to target image → edge_index (2, 2 P), edge_vectors (2 P, 3).
    """
    order = np.concatenate([source, target]).argsort(kind="stable")
    index = np.stack([np.concatenate([source, target]), np.concatenate([target, source])])
    return index.take(order, axis=1).astype(np.int32), np.concatenate([vectors, -vectors]).take(order, axis=0)


@dataclass(frozen=True)
class Cells:
    """Several crystals with concatenated atoms, which are translated into their cells.

    Shapes:
        lattices: (M, 3, 3), rows are vectors. sizes: (M,), number of atoms. crystal: (N,), crystal of each atom.
        positions: (3, N), by component, which NumPy sums twice as fast as rows of three. centre: (3, M) and radius:
        (M,), a sphere that contains the atoms of each crystal. reach: (M, 3), number of images to search per axis.

    Units:
        Å.
    """

    lattices: Floats
    sizes: Integers
    crystal: Integers
    positions: Floats
    centre: Floats
    radius: Floats
    reach: Integers

    @classmethod
    def from_lattices(cls, lattices: Sequence[Floats], positions: Sequence[Floats], cutoff: float) -> Cells:
        """Construct from lattice (3, 3) and positions (n, 3) of each crystal.

        Args:
            lattices: Their rows are vectors.
            positions: Cartesian.
            cutoff: Largest distance of neighbours.
        """
        rows = np.array(lattices, dtype=np.float64).reshape(-1, 3, 3)
        sizes = np.array([len(atoms) for atoms in positions], dtype=np.int64)
        crystal, first = np.repeat(np.arange(sizes.size), sizes), np.cumsum(sizes) - sizes
        inverse = np.linalg.inv(rows).astype(np.float64)
        everywhere = np.concatenate([np.empty((0, 3)), *positions])
        cells_away = np.floor(_products(everywhere.T, inverse[crystal]))
        inside = everywhere.T - _products(cells_away, rows[crystal])
        lowest, highest = (bound.reduceat(inside, first, axis=1) for bound in (np.minimum, np.maximum))
        centre = (lowest + highest) / 2
        radius = np.sqrt(np.maximum.reduceat(_squares(inside - centre[:, crystal]), first))
        # Lattice planes are 1 / |column of the inverse| apart.
        planes = np.sqrt((inverse**2).sum(axis=1))
        reach = np.floor((cutoff + 2 * radius)[:, None] * planes).astype(np.int64)
        return cls(rows, sizes, crystal, inside, centre, radius, reach)

    @property
    def num_images(self) -> Integers:
        """Number of images of each cell that are searched, (M,)."""
        return np.asarray((2 * self.reach + 1).prod(axis=1))

    def images(self, distance: float) -> tuple[Floats, Integers, Integers]:
        """Translations to the images of each cell that may hold atoms up to `distance` (Å) from those of the cell.

        Shapes:
            translations (3, I); ranks (I,), numbers that are opposite for opposite translations; number of translations
            of each cell (M,).
        """
        widths = 2 * self.reach + 1
        cell = np.repeat(np.arange(self.sizes.size), self.num_images)
        # The images of a cell are numbered; the steps along the axes are the digits in a mixed radix of the widths.
        numbers = _positions_in_runs(self.num_images)
        number, last = np.divmod(numbers, widths[:, 2].take(cell))
        first, middle = np.divmod(number, widths[:, 1].take(cell))
        steps = np.stack([first, middle, last]) - self.reach.T.take(cell, axis=1)
        translations = _products(steps.astype(np.float64), self.lattices.take(cell, axis=0))
        near = np.flatnonzero(_squares(translations) <= ((distance + 2 * self.radius) ** 2).take(cell))
        ranks = 2 * numbers + 1 - self.num_images.take(cell)
        return (
            translations.take(near, axis=1),
            ranks.take(near),
            np.bincount(cell.take(near), minlength=self.sizes.size),
        )

    def candidates(self, distance: float) -> tuple[Floats, Integers, Integers]:
        """Atoms in images that are within `distance` of the sphere around the atoms of the cell.

        Shapes:
            places (3, C); which atoms they are (C,); ranks of their images (C,).
        """
        translations, ranks, counts = self.images(distance)
        number = counts[self.crystal]
        first = (np.cumsum(counts) - counts)[self.crystal]
        atom = np.repeat(np.arange(self.crystal.size), number)
        image = _positions_in_runs(number) + np.repeat(first, number)
        places = translations.take(image, axis=1)
        places += np.repeat(self.positions, number, axis=1)
        distances = _squares(places - np.repeat(self.centre[:, self.crystal], number, axis=1))
        near = np.flatnonzero(distances <= ((distance + self.radius) ** 2).take(self.crystal.take(atom)))
        return places.take(near, axis=1), atom.take(near), ranks.take(image.take(near))

    def neighbours(self, cutoff: float) -> tuple[NDArray[np.int32], Floats, Integers]:
        """All ordered pairs of atoms within `cutoff`, sorted by crystal and source.

        A pair is found in one direction and reversed, so both directions are neighbours or neither is.

        Shapes:
            Source and target, counted within their crystal (2, E); vectors from source to target image (E, 3); number
            of edges of each crystal (M,).
        """
        places, atom, ranks = self.candidates(cutoff + 2 * CUTOFF_TOLERANCE)
        counts = np.bincount(self.crystal.take(atom), minlength=self.sizes.size)
        number = counts[self.crystal]
        source = np.repeat(np.arange(self.crystal.size), number)
        partner = _positions_in_runs(number) + np.repeat((np.cumsum(counts) - counts)[self.crystal], number)
        target = atom.take(partner)
        once = np.flatnonzero((source < target) | ((source == target) & (ranks.take(partner) > 0)))
        source, target = source.take(once), target.take(once)
        vectors = places.take(partner.take(once), axis=1) - self.positions.take(source, axis=1)
        near = np.flatnonzero(within(np.sqrt(_squares(vectors)), cutoff))
        index, edge_vectors = both_directions(source.take(near), target.take(near), vectors.take(near, axis=1).T)
        crystal = self.crystal.take(index[0])
        shift = (np.cumsum(self.sizes) - self.sizes).take(crystal)
        edges = np.bincount(crystal, minlength=self.sizes.size)
        return (index - shift).astype(np.int32), edge_vectors, edges


def _positions_in_runs(counts: Integers) -> Integers:
    """Positions 0, 1, 2, … within consecutive runs of the given lengths."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _products(vectors: Floats, matrices: Floats) -> Floats:
    """Row vectors by component (3, ...) times matrices (..., 3, 3), by component.

    Written out, because the rounding of a library's matrix product depends on the number of rows: a crystal must have
    bitwise the same neighbours in every batch.
    """
    x, y, z = vectors
    return np.stack([x * matrices[..., 0, c] + y * matrices[..., 1, c] + z * matrices[..., 2, c] for c in range(3)])


def _squares(vectors: Floats) -> Floats:
    """Squared lengths of vectors given by component (3, ...)."""
    x, y, z = vectors
    return np.asarray(x * x + y * y + z * z)
