"""Three-body pairs: made per batch, on the device, from edges that are sorted by source."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.graphs.neighbours import within
from dielectric_gnn.utils.errors import InputError

MAX_L = 4

_LARGEST_COSINE = 1 - 1e-7


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
        sources (E,) int64, non-decreasing → (2, T) int64, sorted by the first edge, then by the second.
    """
    # Edges of one source are contiguous: where its run begins, and where it ends, for every edge.
    begin, end = (torch.searchsorted(sources, sources, right=right) for right in (False, True))
    first, place = _repeated(end - begin - 1)
    second = begin.index_select(0, first) + place
    return torch.stack([first, second + (second >= first)])


def pairs_once(sources: Tensor) -> Tensor:
    """The same pairs in one of their two orders, that whose first edge comes first: (2, T / 2)."""
    edges = torch.arange(sources.shape[0], device=sources.device)
    first, place = _repeated(torch.searchsorted(sources, sources, right=True) - edges - 1)
    return torch.stack([first, first + 1 + place])


def _repeated(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Each number 0 … E − 1 as often as `counts` (E,) says, and 0, 1, 2, … beside its repetitions."""
    numbers = torch.arange(counts.shape[0], device=counts.device).repeat_interleave(counts)
    before = (counts.cumsum(0) - counts).index_select(0, numbers)
    return numbers, torch.arange(numbers.shape[0], device=counts.device) - before


def triplets_of(graph: CrystalGraph, cutoff: float) -> Triplets:
    """The three-body pairs of a batch.

    Args:
        graph: The batch.
        cutoff: Largest length (Å) of both edges.
    """
    short = within(graph.edge_lengths, cutoff).nonzero().squeeze(1)
    sources = graph.edge_index[0].index_select(0, short)
    among_short = three_body_pairs(sources)
    pairs = short.index_select(0, among_short.flatten()).view(2, -1)
    batch = graph.batch.index_select(0, sources).index_select(0, among_short[0])
    return Triplets(pairs, cosines_of(graph, short, among_short), batch)


def cosines_of(graph: CrystalGraph, edges: Tensor, pairs: Tensor) -> Tensor:
    """Cosines of the angles between edges (T,), component by component, which is twice as fast as row by row.

    Shapes:
        edges: (K,) int64, some edges of the batch. pairs: (2, T) int64, places among them.
    """
    lengths = graph.edge_lengths.index_select(0, edges)
    components = (graph.edge_vectors.index_select(0, edges) / lengths[:, None]).T.contiguous()
    x, y, z = (part.index_select(0, pairs[0]).mul_(part.index_select(0, pairs[1])) for part in components)
    return clamped(x.add_(y).add_(z))


def clamped(cosines: Tensor) -> Tensor:
    """Cosines within ±(1 − 1e-7), as in the published implementation."""
    return cosines.clamp(-_LARGEST_COSINE, _LARGEST_COSINE)


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
