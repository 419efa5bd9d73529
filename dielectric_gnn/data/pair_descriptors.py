"""Pair descriptors: how many neighbours an atom has at which distance, and how alike the elements of the pairs are."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dielectric_gnn.data.composition import (
    descriptor_names,
    graph_descriptors,
    stored_descriptors,
    sums_over,
    volumes_of,
)
from dielectric_gnn.data.elements import element_properties, property_names
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore

PAIR_PROPERTIES = ("electronegativity", "atomic_radius", "outer_electrons", "d_electrons", "molar_volume", "group")
"""Properties by which the elements of a pair are compared, standardised over the elements H to Bi."""

_CENTRES = (0.8, 2.2, 16)
"""First, last and number of the distances, in units of the cube root of the volume per atom."""
_WIDTH = 0.09
_LAST_ELEMENT = 83
_CRYSTALS_PER_BLOCK = 256


def num_pair_descriptors() -> int:
    """Number P of pair descriptors."""
    return _CENTRES[2] * (1 + 2 * len(PAIR_PROPERTIES))


def pair_descriptors(graph: CrystalGraph, cutoff: float) -> Tensor:
    r"""Sums over the neighbours of an atom, averaged over the atoms of every material.

    With x = r / (V/N)^(1/3), the distance of a pair in units of the cube root of the volume per atom, each is
    Σ w g_k, where g_k = exp(−(x − c_k)² / 2σ²) / x² · (1 + cos(π r / r_c)) / 2 for 16 distances c_k, and the weight w
    is 1, the squared difference of a property p of the two elements, or the product of both, for six properties.
    Full graphs and orbit graphs, and all cells of one crystal, have the same descriptors.

    Shapes:
        → (B, P) float32, P = `num_pair_descriptors()`.

    Args:
        graph: A batch of B materials.
        cutoff: r_c in Å, at which contributions become 0.

    Raises:
        InputError: The graphs were built without the volumes of the cells.
    """
    source, neighbour = graph.edge_index
    num, of_edge = graph.num_crystals, graph.batch.index_select(0, source)
    counts = torch.ones_like(graph.batch) if graph.orbits is None else graph.orbits.atom_counts
    atoms = sums_over(counts[:, None].double(), graph.batch, num)
    length = (volumes_of(graph).double()[:, None] / atoms).pow(1 / 3).squeeze(1)
    distance = graph.edge_vectors.double().norm(dim=1)
    x = distance / length.index_select(0, of_edge)
    smooth = torch.where(distance < cutoff, (1 + (math.pi / cutoff * distance).cos()) / 2, 0)
    if graph.orbits is not None:
        smooth = smooth * graph.orbits.edge_totals(source)
    centres = torch.linspace(*_CENTRES, dtype=torch.float64, device=x.device)
    shells = torch.exp(-0.5 * ((x[:, None] - centres) / _WIDTH) ** 2) * (smooth / x**2)[:, None]
    properties = _properties(x.device).index_select(0, graph.atomic_numbers)
    sums = [sums_over(shells, of_edge, num)]
    for values in properties.T:
        first, second = values.index_select(0, source), values.index_select(0, neighbour)
        sums.append(sums_over(shells * ((first - second) ** 2)[:, None], of_edge, num))
        sums.append(sums_over(shells * (first * second)[:, None], of_edge, num))
    return (torch.cat(sums, dim=1) / atoms).float()


def stored_pair_descriptors(store: CrystalStore, rows: NDArray[np.int64], cutoff: float) -> Tensor:
    """`pair_descriptors` of materials of a store, some at a time.

    Args:
        store: The store.
        rows: Positions of the materials, (B,).
        cutoff: As in `pair_descriptors`.
    """
    blocks = [rows[start : start + _CRYSTALS_PER_BLOCK] for start in range(0, len(rows), _CRYSTALS_PER_BLOCK)]
    return torch.cat([pair_descriptors(store.gather(block), cutoff) for block in blocks])


def num_structure_descriptors() -> int:
    """Number of composition and pair descriptors together."""
    return len(descriptor_names()) + num_pair_descriptors()


def structure_descriptors(graph: CrystalGraph, cutoff: float) -> Tensor:
    """Composition descriptors, then pair descriptors, of a batch.

    Shapes:
        → (B, F), F = `num_structure_descriptors()`.

    Args:
        graph: A batch of B materials.
        cutoff: As in `pair_descriptors`.
    """
    return torch.cat([graph_descriptors(graph), pair_descriptors(graph, cutoff)], dim=1)


def stored_structure_descriptors(store: CrystalStore, rows: NDArray[np.int64], cutoff: float) -> Tensor:
    """`structure_descriptors` of materials of a store.

    Args:
        store: The store.
        rows: Positions of the materials, (B,).
        cutoff: As in `pair_descriptors`.
    """
    return torch.cat([stored_descriptors(store, rows), stored_pair_descriptors(store, rows, cutoff)], dim=1)


@cache
def _properties(device: torch.device) -> Tensor:
    """Standardised `PAIR_PROPERTIES` by atomic number."""
    table = element_properties()[:, [property_names().index(name) for name in PAIR_PROPERTIES]]
    known = table[1 : _LAST_ELEMENT + 1]
    return ((table - known.mean(dim=0)) / known.std(dim=0)).to(device)
