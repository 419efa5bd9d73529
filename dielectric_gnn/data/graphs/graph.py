"""Crystal graphs: a multigraph in which every neighbour within the cutoff, periodic images included, is an edge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dielectric_gnn.data.graphs.cells import safe_cutoff
from dielectric_gnn.data.graphs.neighbours import (
    CUTOFF_TOLERANCE,
    MAX_ATOMS_DENSE_SEARCH,
    MAX_IMAGES_DENSE_SEARCH,
    Cells,
    both_directions,
    within,
)
from dielectric_gnn.data.graphs.reverse import reverse_edges
from dielectric_gnn.data.option_values import check_cutoff
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.targets.response import Anisotropy

if TYPE_CHECKING:
    from torch_geometric.data import Data
    from vesin import NeighborList

DEFAULT_CUTOFF = 5.5
"""Neighbour cutoff of the published study in Å."""

_CRYSTALS_PER_SEARCH = 64
"""Number of crystals searched at once; more do not fit into the cache."""


def neighbour_edges(record: CrystalRecord, cutoff: float) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """All ordered pairs of atoms within `cutoff`, periodic images included, the zero-length pair excluded.

    Every edge has its reverse, with exactly the opposite vector, and edges are sorted by source atom, so each atom's
    edges are contiguous. A neighbour at exactly the cutoff counts, see `neighbours.within`.

    Shapes:
        edge_index (2, E), source → target; edge_vectors (E, 3) from the source to the target image.

    Units:
        Å.
    """
    lattice, positions = record.search_cell
    search = _search(safe_cutoff(lattice, cutoff + 2 * CUTOFF_TOLERANCE), get_ident())
    pairs, vectors = search.compute(positions, lattice, periodic=True, quantities="PD")
    near = within(np.linalg.norm(vectors, axis=1), cutoff)
    source, target = pairs[near].T.astype(np.int64)
    return both_directions(source, target, vectors[near])


def many_neighbour_edges(
    records: Sequence[CrystalRecord], cutoff: float
) -> list[tuple[NDArray[np.int32], NDArray[np.float64]]]:
    """`neighbour_edges` of many crystals, several at once where their cells are small, which is twice as fast.

    The order of the edges of an atom may differ from `neighbour_edges`.

    Raises:
        InputError: The cutoff is not positive, or too large.
    """
    check_cutoff(cutoff)
    small = [place for place, record in enumerate(records) if record.atomic_numbers.size <= MAX_ATOMS_DENSE_SEARCH]
    found = {}
    for start in range(0, len(small), _CRYSTALS_PER_SEARCH):
        places = small[start : start + _CRYSTALS_PER_SEARCH]
        cells = _cells(records, places, cutoff)
        near = cells.num_images <= MAX_IMAGES_DENSE_SEARCH
        if not near.all():
            places = [place for place, fits in zip(places, near, strict=True) if fits]
            cells = _cells(records, places, cutoff)
        index, vectors, counts = cells.neighbours(cutoff)
        ends = np.cumsum(counts)
        for place, first, last in zip(places, (ends - counts).tolist(), ends.tolist(), strict=True):
            found[place] = index[:, first:last], vectors[first:last]
    return [found[place] if place in found else neighbour_edges(one, cutoff) for place, one in enumerate(records)]


def _cells(records: Sequence[CrystalRecord], places: Sequence[int], cutoff: float) -> Cells:
    chosen = [records[place].search_cell for place in places]
    return Cells.from_lattices([one.lattice for one in chosen], [one.positions for one in chosen], cutoff)


@lru_cache(maxsize=8)
def _search(cutoff: float, thread: int) -> NeighborList:
    """A cached search object, which reuses its buffers; one per thread, because it stores its results."""
    from vesin import NeighborList

    return NeighborList(cutoff=cutoff, full_list=False, sorted=True, n_threads=1)


@dataclass(frozen=True)
class Orbits:
    """Multiplicities, reverses and three-body pairs of a graph of classes of equivalent atoms and edges.

    Shapes:
        atom_counts: (N,), number of atoms of each class. edge_counts: (E,), number of edges of the class at each atom
        of its source. pairs: (2, T) int64, edges that leave one atom, sorted by the first; cosines: (T,); pair_counts:
        (T,), number of partners of each edge of the first class. reverse: (E,) int64, class of the reversed edges.
    """

    atom_counts: Tensor
    edge_counts: Tensor
    reverse: Tensor
    pairs: Tensor
    cosines: Tensor
    pair_counts: Tensor

    def edge_totals(self, sources: Tensor) -> Tensor:
        """Number of edges of each class in the crystal (E,), from their sources (E,)."""
        return self.edge_counts * self.atom_counts.index_select(0, sources)

    def map(self, function: Callable[[Tensor], Tensor]) -> Orbits:
        """Apply a function to every tensor."""
        return Orbits(*(function(getattr(self, item.name)) for item in fields(self)))


@dataclass(frozen=True)
class CrystalGraph:
    """A batch of B crystals as one graph of N atoms and E edges; the input of backbones.

    Shapes:
        atomic_numbers: (N,) int64. edge_index: (2, E) int64, source → target, sorted by source; both
        directions of every pair are present. edge_vectors: (E, 3) from source to target image.
        batch: (N,) int64, the crystal of each atom, non-decreasing. index: (B,) int64, position of each crystal
        in its data set. eps_inter: (B, W, 2), the targets, in half precision if the data set stores it
        (`evaluation.labels_of` converts it), and drude: (B,); None without labels. anisotropy: the rest of the targets,
        if full tensors were read. orbits: multiplicities in an orbit graph, whose atoms and edges are classes of
        equivalent ones; such edges have no direction, only the lengths of edge_vectors are meaningful. volumes: (B,),
        of the cells. fidelities: (B,) int64, which quality of labels each crystal has; None where all have the highest,
        0.

    Units:
        edge_vectors Å, drude eV, volumes Å³.
    """

    atomic_numbers: Tensor
    edge_index: Tensor
    edge_vectors: Tensor
    batch: Tensor
    index: Tensor
    eps_inter: Tensor | None = None
    drude: Tensor | None = None
    anisotropy: Anisotropy | None = None
    orbits: Orbits | None = None
    volumes: Tensor | None = None
    fidelities: Tensor | None = None

    @property
    def num_crystals(self) -> int:
        """B."""
        return self.index.shape[0]

    @property
    def num_atoms(self) -> int:
        """N."""
        return self.atomic_numbers.shape[0]

    @cached_property
    def edge_lengths(self) -> Tensor:
        """Neighbour distances (E,) in Å, computed once per batch."""
        return torch.linalg.vector_norm(self.edge_vectors, dim=1)

    @cached_property
    def reverse(self) -> Tensor:
        """The edge in the opposite direction of every edge (E,) int64, computed once per batch."""
        if self.orbits is not None:
            return self.orbits.reverse
        return reverse_edges(self.edge_index, self.edge_vectors)

    def to(self, *args: Any, **kwargs: Any) -> CrystalGraph:
        """Move to a device; with a floating `dtype`, convert the floating tensors too."""
        dtype = next((arg for arg in (*args, kwargs.get("dtype")) if isinstance(arg, torch.dtype)), None)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"a crystal graph has integer and float tensors; it cannot be converted to {dtype}")

        def move(tensor: Tensor) -> Tensor:
            if dtype is not None and not tensor.is_floating_point():
                return tensor.to(device=kwargs.get("device"))
            return tensor.to(*args, **kwargs)

        return self._map(move)

    def pin_memory(self) -> CrystalGraph:
        """Copy into page-locked memory, for fast transfer to a GPU."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Any) -> CrystalGraph:
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        moved = {key: function(value) for key, value in values.items() if isinstance(value, Tensor)}
        anisotropy = None if self.anisotropy is None else self.anisotropy.map(function)
        orbits = None if self.orbits is None else self.orbits.map(function)
        return replace(self, **moved, anisotropy=anisotropy, orbits=orbits)

    def to_pyg(self) -> Data:
        """The same graph as a `torch_geometric.data.Data`, for backbones built from PyG layers."""
        from torch_geometric.data import Data

        return Data(
            z=self.atomic_numbers,
            edge_index=self.edge_index,
            edge_vec=self.edge_vectors,
            edge_weight=self.edge_lengths,
            batch=self.batch,
        )
