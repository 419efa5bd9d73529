"""The edge in the opposite direction of every edge of a graph."""

from __future__ import annotations

import torch
from torch import Tensor

from dielectric_gnn.utils.errors import InputError

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
_MULTIPLIERS = (-0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)
"""Odd 64-bit constants of SplitMix64; products wrap around."""


def reverse_edges(edge_index: Tensor, edge_vectors: Tensor) -> Tensor:
    """Position of the reverse of every edge: from target to source, with exactly the opposite vector.

    Both directions of a pair have the same key, a 64-bit hash of the pair of atoms and of the vector of one direction,
    so they are adjacent when the edges are sorted by key.

    Shapes:
        edge_index (2, E) int64, edge_vectors (E, 3) → (E,) int64.

    Raises:
        InputError: An edge has no reverse; checked on CPUs only, because on GPUs it would need a synchronisation.
    """
    source, target = edge_index
    x, y, z = (part + 0.0 for part in edge_vectors.unbind(1))  # -0.0 becomes 0.0
    # Canonical direction of each pair: from the lower atom, or, between images of one atom, that of the vector whose
    # first nonzero component is positive.
    leading = torch.where(x != 0, x, torch.where(y != 0, y, z))
    flipped = torch.where(source == target, leading < 0, source > target)
    key = _mix_bits(torch.minimum(source, target)) + torch.maximum(source, target)
    for part in (x, y, z):
        bits = (torch.where(flipped, -part, part) + 0.0).contiguous().view(_INTEGERS[part.element_size()])
        key = _mix_bits(key + bits.long())
    order = key.argsort()
    if order.shape[0] % 2:
        raise InputError(_NO_REVERSE_MESSAGE)
    first, second = order.view(-1, 2).unbind(1)
    reverse = torch.empty_like(order).scatter_(0, order, torch.stack([second, first], dim=1).flatten())
    if reverse.device.type == "cpu" and not _are_opposite(edge_index, edge_vectors, reverse):
        raise InputError(_NO_REVERSE_MESSAGE)
    return reverse


_NO_REVERSE_MESSAGE = (
    "an edge of the graph has no reverse with exactly the opposite vector; build graphs with "
    "dielectric_gnn.data.graphs.graph.neighbour_edges"
)


def _are_opposite(edge_index: Tensor, edge_vectors: Tensor, reverse: Tensor) -> bool:
    """Whether each edge and its reverse connect the same atoms by opposite vectors."""
    ends = edge_index[0].index_select(0, reverse) == edge_index[1]
    vectors = edge_vectors.index_select(0, reverse) == -edge_vectors
    return bool(ends.all() and vectors.all())


def _mix_bits(state: Tensor) -> Tensor:
    """Mix the bits of 64-bit integers (finaliser of SplitMix64, with arithmetic shifts)."""
    first, second, third = _MULTIPLIERS
    state = state * first
    state = (state ^ (state >> 30)) * second
    state = (state ^ (state >> 27)) * third
    return state ^ (state >> 31)
