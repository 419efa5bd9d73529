"""Three-body pairs: made per batch, on the device, from edges that are sorted by source."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dielectric_gnn.data.graph import CrystalGraph
from dielectric_gnn.errors import InputError

MAX_L = 4


@dataclass(frozen=True)
class Triplets:
    """Ordered pairs of distinct edges that leave the same atom.

    Shapes:
        pairs: (2, T) int64, positions of both edges in the batch; sorted by the first, so segments are contiguous.
        cosines: (T,), of the angle between the edges. batch: (T,) int64, the crystal of each pair.
    """

    pairs: Tensor
    cosines: Tensor
    batch: Tensor


def three_body_pairs(sources: Tensor) -> Tensor:
    """Every ordered pair of distinct edges with the same source, an edge never with itself.

    Shapes:
        sources (E,) int64, non-decreasing → (2, T) int64.
    """
    num_edges = sources.shape[0]
    edges = torch.arange(num_edges, device=sources.device)
    # Edges of one source are contiguous: where its run begins, and how long it is, for every edge.
    first = torch.searchsorted(sources, sources)
    length = torch.searchsorted(sources, sources, right=True) - first
    a = edges.repeat_interleave(length)
    within = torch.arange(a.shape[0], device=sources.device) - (length.cumsum(0) - length).index_select(0, a)
    b = first.index_select(0, a) + within
    return torch.stack([a, b])[:, a != b]


def triplets_of(graph: CrystalGraph, cutoff: float) -> Triplets:
    """The three-body pairs of a batch.

    Args:
        graph: The batch.
        cutoff: Largest length (Å) of both edges.
    """
    short = (graph.edge_lengths <= cutoff).nonzero().squeeze(1)
    sources = graph.edge_index[0].index_select(0, short)
    pairs = short[three_body_pairs(sources)]
    directions = graph.edge_vectors / graph.edge_lengths[:, None]
    cosines = (directions.index_select(0, pairs[0]) * directions.index_select(0, pairs[1])).sum(dim=1)
    return Triplets(pairs, cosines, graph.batch.index_select(0, graph.edge_index[0].index_select(0, pairs[0])))


class AngleBasis(nn.Module):
    """Real spherical harmonics with m = 0 of an angle: sqrt((2l + 1) / 4π) · P_l(cos θ) for l = 0 … l_max.

    Shapes:
        cosines (T,) → (T, l_max + 1).

    Args:
        l_max: Highest degree, 1 to 4.
    """

    def __init__(self, l_max: int = 3) -> None:
        super().__init__()
        if not 1 <= l_max <= MAX_L:
            raise InputError(f"l_max of the angle features is {l_max}, expected 1 to {MAX_L}")
        self.l_max = l_max
        self.dim = l_max + 1

    def forward(self, cosines: Tensor) -> Tensor:
        """Features of each angle; Legendre polynomials by Bonnet's recursion."""
        legendre = [torch.ones_like(cosines), cosines]
        for degree in range(1, self.l_max):
            legendre.append(((2 * degree + 1) * cosines * legendre[-1] - degree * legendre[-2]) / (degree + 1))
        norms = [math.sqrt((2 * degree + 1) / (4 * math.pi)) for degree in range(self.dim)]
        return torch.stack([norm * p for norm, p in zip(norms, legendre, strict=True)], dim=1)
