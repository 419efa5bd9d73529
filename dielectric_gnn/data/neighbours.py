"""Neighbours in many small cells at once: arrays of all of them share what a search costs by itself.

Every atom of a cell is put into all images of the cell that could matter, and compared with every atom of the cell
itself. That grows as the square of the number of atoms, so it is for cells of a few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

FEW_ATOMS = 8
"""In larger cells, a search with cell lists is faster."""

MANY_IMAGES = 2000
"""As it is for flat or skew cells that have to look at so many images."""

_ITSELF = 1e-12
"""Squared distance (Å²) of an atom from itself."""


@dataclass(frozen=True)
class Cells:
    """Some crystals, their atoms one after another and moved into their cells.

    Shapes:
        lattices: (M, 3, 3), rows are vectors. sizes: (M,), atoms of each. crystal: (N,), of each atom. positions:
        (3, N), by component, which NumPy sums twice as fast as rows of three. centre: (3, M) and radius: (M,), a sphere
        that holds the atoms of each. reach: (M, 3), how many images away a neighbour may be.

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
    def of(cls, lattices: Sequence[Floats], positions: Sequence[Floats], cutoff: float) -> Cells:
        """From lattice (3, 3) and positions (n, 3) of each crystal.

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
        """How many images of each cell are looked at (M,)."""
        return np.asarray((2 * self.reach + 1).prod(axis=1))

    def images(self, cutoff: float) -> tuple[Floats, Integers]:
        """Translations (3, I) to the images of each cell that may hold neighbours, and how many each has (M,)."""
        widths = 2 * self.reach + 1
        cell = np.repeat(np.arange(self.sizes.size), self.num_images)
        # The images of a cell are numbered through; each number has three digits, to the bases of the widths.
        number, last = np.divmod(_places(self.num_images), widths[:, 2].take(cell))
        first, middle = np.divmod(number, widths[:, 1].take(cell))
        steps = np.stack([first, middle, last]) - self.reach.T.take(cell, axis=1)
        translations = _products(steps.astype(np.float64), self.lattices.take(cell, axis=0))
        near = np.flatnonzero(_squares(translations) <= ((cutoff + 2 * self.radius) ** 2).take(cell))
        return translations.take(near, axis=1), np.bincount(cell.take(near), minlength=self.sizes.size)

    def candidates(self, cutoff: float) -> tuple[Floats, Integers]:
        """Atoms in images (3, C), near enough to the sphere around those of the cell, and which they are (C,)."""
        translations, counts = self.images(cutoff)
        number = counts[self.crystal]
        first = (np.cumsum(counts) - counts)[self.crystal]
        atom = np.repeat(np.arange(self.crystal.size), number)
        places = translations.take(_places(number) + np.repeat(first, number), axis=1)
        places += np.repeat(self.positions, number, axis=1)
        distances = _squares(places - np.repeat(self.centre[:, self.crystal], number, axis=1))
        near = np.flatnonzero(distances <= ((cutoff + self.radius) ** 2).take(self.crystal.take(atom)))
        return places.take(near, axis=1), atom.take(near)

    def neighbours(self, cutoff: float) -> tuple[NDArray[np.int32], Floats, Integers]:
        """All ordered pairs of atoms closer than `cutoff`, sorted by crystal and source.

        Shapes:
            Source and target, counted within their crystal (2, E); vectors from source to target image (E, 3); how many
            edges each crystal has (M,).
        """
        places, atom = self.candidates(cutoff)
        counts = np.bincount(self.crystal.take(atom), minlength=self.sizes.size)
        number = counts[self.crystal]
        source = np.repeat(np.arange(self.crystal.size), number)
        partner = _places(number) + np.repeat((np.cumsum(counts) - counts)[self.crystal], number)
        vectors = places.take(partner, axis=1)
        vectors -= np.repeat(self.positions, number, axis=1)
        squares = _squares(vectors)
        near = np.flatnonzero((squares <= cutoff**2) & (squares > _ITSELF))
        source, target = source.take(near), atom.take(partner.take(near))
        crystal = self.crystal.take(source)
        shift = (np.cumsum(self.sizes) - self.sizes).take(crystal)
        edges = np.bincount(crystal, minlength=self.sizes.size)
        return (
            np.stack([source - shift, target - shift]).astype(np.int32),
            np.ascontiguousarray(vectors.take(near, axis=1).T),
            edges,
        )


def _places(counts: Integers) -> Integers:
    """0, 1, 2, … within each of the runs of so many."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _products(vectors: Floats, matrices: Floats) -> Floats:
    """Row vectors by component (3, ...) times matrices (..., 3, 3), by component.

    Written out, because the last digit of a library's product depends on how many there are: a crystal shall have the
    same neighbours to the last digit in every company.
    """
    x, y, z = vectors
    return np.stack([x * matrices[..., 0, c] + y * matrices[..., 1, c] + z * matrices[..., 2, c] for c in range(3)])


def _squares(vectors: Floats) -> Floats:
    """Squared lengths of vectors that are given by component (3, ...)."""
    x, y, z = vectors
    return np.asarray(x * x + y * y + z * z)
