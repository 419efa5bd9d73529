"""Classes of equivalent atoms, edges and three-body pairs of a crystal, which an invariant network evaluates once each.

Atoms related by a symmetry have the same features in any network that depends only on elements, distances and angles,
and so have their edges. Colour refinement finds the classes. Colours start from elements and distances; two atoms keep
the same colour as long as their edges do, two edges as long as their atoms, their reverses and their three-body pairs
do. The result is an equitable partition: message passing over classes, weighted by their multiplicity, equals message
passing over atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.graphs.neighbours import within
from dielectric_gnn.data.graphs.reverse import reverse_edges
from dielectric_gnn.data.store.descriptions import THREE_BODY_CUTOFF

Symmetry = Literal["full", "orbit"]
"""Graphs of all atoms and edges, or of classes of equivalent ones."""

TOLERANCE = 1e-5
"""Distances (Å) and cosines that differ by less are equal; a larger tolerance would merge nearly equal shells."""

_MAX_REMAINING_SHARE = 0.7
"""Classes are used if their number is less than this share of the number of edges."""

_MAX_ATOMS_OR_EDGES = int(np.iinfo(np.uint16).max)
"""Larger crystals have no orbits, because stores count atoms and edges in two bytes."""

_Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class CrystalOrbits:
    """Classes of atoms (n), of edges (e) and of three-body pairs (t) of one crystal.

    Shapes:
        atomic_numbers, atom_counts: (n,), number of atoms of each class.
        edge_index: (2, e), classes of source and target, sorted by source; edge_counts: (e,), number of edges of the
        class that leave *each* atom of the source's class; lengths: (e,) in Å; reverse: (e,), class of their reverses.
        pairs: (2, t), classes of both edges, sorted by the first; pair_counts: (t,), number of partners of *each*
        edge of the first class; cosines: (t,).
    """

    atomic_numbers: NDArray[np.uint8]
    atom_counts: NDArray[np.int64]
    edge_index: NDArray[np.int64]
    edge_counts: NDArray[np.int64]
    lengths: NDArray[np.float64]
    reverse: NDArray[np.int64]
    pairs: NDArray[np.int64]
    pair_counts: NDArray[np.int64]
    cosines: NDArray[np.float64]


def find_orbits(
    atomic_numbers: NDArray[np.integer], edge_index: NDArray[np.integer], edge_vectors: NDArray[np.float64]
) -> CrystalOrbits | None:
    """The classes of a crystal; None if they would save little.

    Args:
        atomic_numbers: (n,).
        edge_index: (2, E), sorted by source.
        edge_vectors: (E, 3) in Å, in double precision, so that equal distances are equal to the tolerance.

    Raises:
        InputError: An edge has no reverse.
    """
    if max(len(atomic_numbers), len(edge_vectors)) > _MAX_ATOMS_OR_EDGES:
        return None
    lengths = np.linalg.norm(edge_vectors, axis=1)
    pairs = _short_pairs(edge_index[0], lengths)
    cosines = _cosines(edge_vectors, lengths, pairs)
    length_ids, cosine_ids = _clusters(lengths), _clusters(cosines)
    reverse = _reverse(edge_index, edge_vectors)
    atoms, edges = _refine_colours(np.asarray(atomic_numbers), edge_index, length_ids, reverse, pairs, cosine_ids)
    if edges.max(initial=-1) + 1 >= _MAX_REMAINING_SHARE * edges.size:
        return None
    return _classes(atomic_numbers, edge_index, lengths, reverse, pairs, cosines, atoms, edges, cosine_ids)


def trivial_orbits(
    atomic_numbers: NDArray[np.integer], edge_index: NDArray[np.integer], edge_vectors: NDArray[np.floating]
) -> CrystalOrbits:
    """Every atom, edge and pair as a class of its own."""
    lengths = np.linalg.norm(edge_vectors, axis=1).astype(np.float64)
    pairs = _short_pairs(edge_index[0], lengths)
    ones = (np.ones(size, dtype=np.int64) for size in (atomic_numbers.size, lengths.size, pairs.shape[1]))
    atom_counts, edge_counts, pair_counts = ones
    cosines = _cosines(edge_vectors, lengths, pairs)
    numbers = np.asarray(atomic_numbers, dtype=np.uint8)
    index, reverse = edge_index.astype(np.int64), _reverse(edge_index, edge_vectors)
    return CrystalOrbits(numbers, atom_counts, index, edge_counts, lengths, reverse, pairs, pair_counts, cosines)


def _reverse(edge_index: NDArray[np.integer], edge_vectors: NDArray[np.floating]) -> NDArray[np.int64]:
    vectors = torch.from_numpy(np.array(edge_vectors))
    return reverse_edges(torch.from_numpy(edge_index.astype(np.int64)), vectors).numpy()


def _short_pairs(sources: NDArray[np.integer], lengths: NDArray[np.floating]) -> NDArray[np.int64]:
    """Ordered pairs of distinct short edges with one source (2, T), sorted by the first.

    As in `models.layers.triplets`.
    """
    short = np.flatnonzero(within(lengths.astype(np.float32), THREE_BODY_CUTOFF))
    sources = sources[short]
    first = np.searchsorted(sources, sources)
    degree = np.searchsorted(sources, sources, side="right") - first
    a = np.repeat(np.arange(short.size), degree)
    b = np.arange(a.size) + np.repeat(first - (np.cumsum(degree) - degree), degree)
    return short[np.stack([a, b])[:, a != b]]


def _cosines(
    vectors: NDArray[np.floating], lengths: NDArray[np.floating], pairs: NDArray[np.int64]
) -> NDArray[np.float64]:
    directions = vectors / lengths[:, None]
    return np.einsum("ij,ij->i", directions[pairs[0]], directions[pairs[1]]).astype(np.float64)


def _clusters(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the cluster of each value; a gap wider than the tolerance separates two clusters."""
    order = np.argsort(values)
    ids = np.empty(values.size, dtype=np.int64)
    ids[order] = np.cumsum(np.diff(values[order], prepend=-np.inf) > TOLERANCE)
    return ids


def _mix_bits(*parts: NDArray[np.integer]) -> _Hashes:
    """Hash of several numbers (finaliser of SplitMix64), such that sums of hashes distinguish multisets."""
    state = np.zeros(1, dtype=np.uint64)
    for part in parts:
        state = (state + part.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0xD1B54A32D192ED03)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return state


def _sums(values: _Hashes, owner: NDArray[np.integer], num_owners: int) -> _Hashes:
    """Sums, modulo 2⁶⁴, of the values of each owner, which are sorted by owner."""
    totals = np.concatenate([np.zeros(1, dtype=np.uint64), np.cumsum(values)])
    bounds = np.searchsorted(owner, np.arange(num_owners + 1))
    return totals[bounds[1:]] - totals[bounds[:-1]]


def _refine_colours(
    atomic_numbers: NDArray[np.integer],
    edge_index: NDArray[np.integer],
    length_ids: NDArray[np.int64],
    reverse: NDArray[np.int64],
    pairs: NDArray[np.int64],
    cosine_ids: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Class of each atom and of each edge, refined until the number of classes is constant."""
    source, target = edge_index
    atoms, edges = _mix_bits(atomic_numbers), _mix_bits(length_ids)
    num_classes = 0
    while True:
        partners = _sums(_mix_bits(edges[pairs[1]], cosine_ids), pairs[0], edges.size)
        edges = _mix_bits(edges, edges[reverse], atoms[source], atoms[target], partners)
        atoms = _mix_bits(atoms, _sums(edges, source, atoms.size))
        edge_classes = np.unique(edges, return_inverse=True)[1]
        atom_classes = np.unique(atoms, return_inverse=True)[1]
        found = edge_classes.max(initial=0) + atom_classes.max(initial=0)
        if found == num_classes:
            return atom_classes, edge_classes
        num_classes = found


def _classes(
    atomic_numbers: NDArray[np.integer],
    edge_index: NDArray[np.integer],
    lengths: NDArray[np.float64],
    reverse: NDArray[np.int64],
    pairs: NDArray[np.int64],
    cosines: NDArray[np.float64],
    atoms: NDArray[np.int64],
    edges: NDArray[np.int64],
    cosine_ids: NDArray[np.int64],
) -> CrystalOrbits:
    """Counts and representatives of the classes."""
    first_atom, atom_counts = np.unique(atoms, return_index=True, return_counts=True)[1:]
    _, first_edge, edge_class, edge_totals = np.unique(
        atoms[edge_index[0]] * (edges.max() + 1) + edges, return_index=True, return_inverse=True, return_counts=True
    )
    ends = atoms[edge_index[:, first_edge]]
    # Edges are numbered by source, so pairs sorted by the first edge's class are grouped by atom too.
    key = (edge_class[pairs[0]] * first_edge.size + edge_class[pairs[1]]) * (cosine_ids.max(initial=0) + 1) + cosine_ids
    _, first_pair, pair_totals = np.unique(key, return_index=True, return_counts=True)
    pair_class = edge_class[pairs[:, first_pair]]
    return CrystalOrbits(
        atomic_numbers=np.asarray(atomic_numbers)[first_atom].astype(np.uint8),
        atom_counts=atom_counts,
        edge_index=ends,
        edge_counts=_divide_exactly(edge_totals, atom_counts[ends[0]]),
        lengths=lengths[first_edge],
        reverse=edge_class[reverse[first_edge]],
        pairs=pair_class,
        pair_counts=_divide_exactly(pair_totals, edge_totals[pair_class[0]]),
        cosines=cosines[first_pair],
    )


def _divide_exactly(totals: NDArray[np.int64], owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number per owner; in an equitable partition it is the same for all owners of a class."""
    counts, rest = np.divmod(totals, owners)
    if rest.any():
        raise RuntimeError("the partition into orbits is not equitable: the refinement ended too early")
    return counts
