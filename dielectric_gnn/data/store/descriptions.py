"""Names, sizes and common properties of the materials of a data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.graphs.neighbours import within
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.store.flat import offsets
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError, RecordError

THREE_BODY_CUTOFF = 4.0
"""Both edges of a three-body pair are no longer than this (Å), as in the published study."""


class StoredNames(Sequence[str]):
    """Texts of M crystals in an array that may be on disk; each is converted to a string on access.

    Args:
        array: (M,), of NumPy's text type.
    """

    def __init__(self, array: NDArray[np.str_]) -> None:
        self.array = array

    def __len__(self) -> int:
        return self.array.size

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: Any) -> Any:
        found = self.array[row]
        return found.tolist() if isinstance(row, slice) else str(found)

    def __iter__(self) -> Iterator[str]:
        return map(str, self.array)


def names_array(names: Sequence[str]) -> NDArray[np.str_]:
    """Names as a NumPy array, without a copy if they are one."""
    return names.array if isinstance(names, StoredNames) else np.array(names, dtype=np.str_)


@dataclass(frozen=True)
class SetKind:
    """Properties that all materials of one data set must share.

    Args:
        material_id: One material of the data set.
        source: Source of that material.
        grid: First and last photon energy in eV, and the number of points; None without spectra.
        broadening: Γ of the spectra in eV, None if unknown.
    """

    material_id: str
    source: str
    grid: tuple[float, float, int] | None
    broadening: float | None

    @classmethod
    def from_record(cls, record: CrystalRecord) -> SetKind:
        """The kind of data set that a record belongs to."""
        labels, source = record.labels, record.source or record.material_id
        if labels is None:
            return cls(record.material_id, source, None, None)
        grid = labels.grid
        return cls(record.material_id, source, (grid.start, grid.stop, grid.num), labels.broadening)

    def check(self, other: SetKind) -> None:
        """Check that the material of `other` can be in one data set with this one.

        Raises:
            InputError: Only one of them has labels, or their broadenings or grids differ.
        """
        if self.grid is None or other.grid is None:
            if self.grid != other.grid:
                unlabelled = other if other.grid is None else self
                raise InputError(f"{unlabelled.material_id} has no spectra while other materials of the set do")
        elif (self.grid, self.broadening) != (other.grid, other.broadening):
            raise RecordError(
                other.source,
                f"broadening {other.broadening} eV and grid {EnergyGrid(*other.grid)}, but {self.material_id} has "
                f"{self.broadening} eV and {EnergyGrid(*self.grid)}; one data set needs one of each "
                "(broadening_ev of the source sets it for all)",
            )


def graph_sizes(
    num_atoms: Sequence[int] | NDArray[np.integer],
    num_edges: Sequence[int] | NDArray[np.integer],
    sources: NDArray[np.integer],
    edge_vectors: NDArray[np.floating],
) -> NDArray[np.int32]:
    """Numbers of atoms, edges and three-body pairs of M crystals: an atom with n short edges makes n (n − 1) pairs.

    Lengths are computed in single precision, as in the models (`models.layers.triplets`).

    Shapes:
        num_atoms, num_edges: (M,). sources: (E,), source atom of each edge, counted within its crystal.
        edge_vectors: (E, 3) in Å. → (M, 3).
    """
    bounds = offsets(num_atoms)
    short = within(np.sqrt((edge_vectors.astype(np.float32) ** 2).sum(axis=1)), THREE_BODY_CUTOFF)
    atoms = (sources + np.repeat(bounds[:-1], num_edges))[short]
    degrees = np.bincount(atoms, minlength=int(bounds[-1]))
    pairs = np.diff(offsets(degrees * (degrees - 1))[bounds])
    return np.stack([np.asarray(num_atoms), np.asarray(num_edges), pairs], axis=1).astype(np.int32)
