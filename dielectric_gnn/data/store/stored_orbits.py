"""The orbits of many crystals as flat arrays, stored beside their full graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dielectric_gnn.data.graphs.graph import Orbits
from dielectric_gnn.data.graphs.orbits import CrystalOrbits

PARTS = ("atom", "edge", "pair")
"""Names of the kinds of classes."""


class OrbitColumn(NamedTuple):
    """One array: type and shape of its rows, and whether a row is a class of atoms, of edges or of pairs."""

    dtype: type[np.generic]
    row_shape: tuple[int, ...]
    part: str


COLUMNS = {
    "atomic_numbers": OrbitColumn(np.uint8, (), "atom"),
    "atom_counts": OrbitColumn(np.uint16, (), "atom"),
    "edge_index": OrbitColumn(np.uint16, (2,), "edge"),
    "edge_counts": OrbitColumn(np.uint16, (), "edge"),
    "lengths": OrbitColumn(np.float32, (), "edge"),
    "reverse": OrbitColumn(np.uint16, (), "edge"),
    "pairs": OrbitColumn(np.uint16, (2,), "pair"),
    "pair_counts": OrbitColumn(np.uint16, (), "pair"),
    "cosines": OrbitColumn(np.float32, (), "pair"),
}
"""The arrays of `CrystalOrbits`, in their order; edge_index and pairs are stored as (e, 2) and (t, 2)."""

_MAX_REMAINING_SHARE = 0.5
"""Largest remaining share of edges and pairs at which orbits are faster; a pair costs half as much in full graphs."""


def orbit_rows(orbits: CrystalOrbits | None, floats: type[np.floating] = np.float32) -> dict[str, NDArray[Any]]:
    """The rows of one crystal in every column; empty for a crystal without orbits."""
    rows = {}
    for name, (dtype, shape, _) in COLUMNS.items():
        dtype = floats if issubclass(dtype, np.floating) else dtype
        rows[name] = np.empty((0, *shape), dtype) if orbits is None else getattr(orbits, name).T.astype(dtype)
    return rows


def orbit_sizes(orbits: CrystalOrbits | None) -> tuple[int, int, int]:
    """Numbers of classes of atoms, edges and pairs."""
    return (0, 0, 0) if orbits is None else (orbits.atomic_numbers.size, orbits.lengths.size, orbits.cosines.size)


@dataclass(frozen=True, eq=False)
class StoredOrbits:
    """Classes of the atoms, edges and three-body pairs of M crystals; none for a crystal where they would save little.

    Shapes:
        offsets: (3, M + 1), crystal m owns the classes offset[m] to offset[m + 1] of atoms, edges and pairs.
        arrays: Those of `COLUMNS`.
    """

    offsets: NDArray[np.int64]
    arrays: Mapping[str, NDArray[Any]]

    @classmethod
    def from_crystals(
        cls, crystals: Sequence[CrystalOrbits | None], floats: type[np.floating] = np.float32
    ) -> StoredOrbits:
        """The orbits of many crystals."""
        rows = [orbit_rows(orbits, floats) for orbits in crystals]
        sizes = np.array([orbit_sizes(orbits) for orbits in crystals])
        offsets = np.concatenate([np.zeros((1, 3), dtype=np.int64), sizes.cumsum(axis=0)])
        return cls(offsets.T.copy(), {name: np.concatenate([row[name] for row in rows]) for name in COLUMNS})

    def sizes(self, rows: NDArray[np.int64], full: NDArray[np.integer]) -> NDArray[np.int64]:
        """Classes of atoms, edges and pairs of some crystals (B, 3); without orbits, their full sizes, of (M, 3)."""
        classes = (self.offsets[:, rows + 1] - self.offsets[:, rows]).T
        return np.where(classes[:, :1] > 0, classes, full[rows])

    def describe(self, full: NDArray[np.integer]) -> str:
        """Description of the reduction by orbits; `full` are the sizes of all full graphs (M, 3)."""
        rows = np.arange(full.shape[0])
        classes, totals = self.sizes(rows, full).mean(axis=0), full.mean(axis=0)
        some = (np.diff(self.offsets[0]) > 0).sum()
        saved = (f"{a:.1f} {part}s become {b:.1f}" for a, b, part in zip(totals, classes, PARTS, strict=True))
        return f"{some} of {rows.size} materials have equal atoms or edges; on average " + ", ".join(saved)

    def is_worthwhile(self, rows: NDArray[np.int64], full: NDArray[np.integer]) -> bool:
        """Whether a batch of these crystals is faster on orbits, from the full sizes of all (M, 3)."""
        edges_and_pairs = self.sizes(rows, full)[:, 1:].sum()
        return bool(edges_and_pairs <= _MAX_REMAINING_SHARE * full[rows, 1:].sum())

    def crystal_orbits(self, row: int) -> CrystalOrbits | None:
        """The orbits of one crystal; None if it has none."""
        bounds = dict(zip(PARTS, self.offsets[:, row : row + 2].tolist(), strict=True))
        if bounds["atom"][0] == bounds["atom"][1]:
            return None
        return CrystalOrbits(
            **{name: self.arrays[name][slice(*bounds[column.part])].T for name, column in COLUMNS.items()}
        )


@dataclass(frozen=True)
class OrbitBatch:
    """The classes of several crystals as one graph.

    Shapes:
        atomic_numbers, batch: (N,) int64. edge_index: (2, E) int64. lengths: (E,).
    """

    atomic_numbers: Tensor
    batch: Tensor
    edge_index: Tensor
    lengths: Tensor
    orbits: Orbits

    @classmethod
    def from_crystals(cls, crystals: Sequence[CrystalOrbits], dtype: torch.dtype) -> OrbitBatch:
        """Concatenate the orbits of several crystals; floating-point values in `dtype`."""
        atoms, edges, _ = zip(*map(orbit_sizes, crystals), strict=True)

        def joined(name: str, shifts: Sequence[int] | None = None) -> Tensor:
            parts = [getattr(crystal, name) for crystal in crystals]
            rows = np.concatenate(parts, axis=-1)
            if shifts is None:
                return torch.from_numpy(rows)
            first = np.cumsum(shifts) - shifts  # numbers of the first atom or edge of each crystal
            return torch.from_numpy(rows + np.repeat(first, [part.shape[-1] for part in parts]))

        orbits = Orbits(
            atom_counts=joined("atom_counts").to(dtype),
            edge_counts=joined("edge_counts").to(dtype),
            reverse=joined("reverse", edges),
            pairs=joined("pairs", edges),
            cosines=joined("cosines").to(dtype),
            pair_counts=joined("pair_counts").to(dtype),
        )
        return cls(
            atomic_numbers=joined("atomic_numbers").long(),
            batch=torch.from_numpy(np.repeat(np.arange(len(crystals)), atoms)),
            edge_index=joined("edge_index", atoms),
            lengths=joined("lengths").to(dtype),
            orbits=orbits,
        )
