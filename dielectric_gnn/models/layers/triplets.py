"""Three-body pairs: built per batch, on the device, from edges that are sorted by source."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dielectric_gnn.data.graphs.graph import CrystalGraph, Orbits
from dielectric_gnn.data.graphs.neighbours import within

_LARGEST_COSINE = 1 - 1e-7


@dataclass(frozen=True)
class Triplets:
    """Ordered pairs of distinct edges that leave the same atom.

    Shapes:
        pairs: (2, T) int64, positions of both edges in the batch; sorted by the first, so segments are contiguous.
        cosines: (T,), of the angle between the edges. batch: (T,) int64, the material of each pair. Of an orbit graph,
        partners: (T,), how many equal second edges each first edge has, and totals: (T,), how many equal pairs of the
        material each pair stands for; None means one.
    """

    pairs: Tensor
    cosines: Tensor
    batch: Tensor
    partners: Tensor | None = None
    totals: Tensor | None = None

    @classmethod
    def from_graph(cls, graph: CrystalGraph, cutoff: float) -> Triplets:
        """The three-body pairs of a batch.

        Args:
            graph: The batch.
            cutoff: Largest length (Å) of both edges.
        """
        if graph.orbits is not None:
            return cls._from_orbits(graph, graph.orbits, cutoff)
        short = within(graph.edge_lengths, cutoff).nonzero().squeeze(1)
        sources = graph.edge_index[0].index_select(0, short)
        among_short = three_body_pairs(sources)
        pairs = short.index_select(0, among_short.flatten()).view(2, -1)
        batch = graph.batch.index_select(0, sources).index_select(0, among_short[0])
        return cls(pairs, cosines_of(graph, short, among_short), batch)

    @classmethod
    def _from_orbits(cls, graph: CrystalGraph, orbits: Orbits, cutoff: float) -> Triplets:
        """The classes of equal pairs, which an orbit graph holds."""
        kept = within(graph.edge_lengths, cutoff)[orbits.pairs].all(dim=0)
        pairs, partners = orbits.pairs[:, kept], orbits.pair_counts[kept]
        sources = graph.edge_index[0]
        totals = partners * orbits.edge_totals(sources)[pairs[0]]
        return cls(pairs, clamp_cosines(orbits.cosines[kept]), graph.batch[sources[pairs[0]]], partners, totals)


def three_body_pairs(sources: Tensor) -> Tensor:
    """All ordered pairs of distinct edges with the same source.

    Shapes:
        sources (E,) int64, non-decreasing → (2, T) int64, sorted by the first edge, then by the second.
    """
    # Edges of one source are contiguous: for every edge, the begin and end of the run of its source.
    begin, end = (torch.searchsorted(sources, sources, right=right) for right in (False, True))
    first, position = _repeat_with_index(end - begin - 1)
    second = begin.index_select(0, first) + position
    return torch.stack([first, second + (second >= first)])


def pairs_once(sources: Tensor) -> Tensor:
    """The same pairs in one of their two orders, the first edge before the second: (2, T / 2)."""
    edges = torch.arange(sources.shape[0], device=sources.device)
    first, position = _repeat_with_index(torch.searchsorted(sources, sources, right=True) - edges - 1)
    return torch.stack([first, first + 1 + position])


def _repeat_with_index(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Each number 0 … E − 1 repeated `counts` (E,) times, and the index 0, 1, 2, … of each repetition."""
    numbers = torch.arange(counts.shape[0], device=counts.device).repeat_interleave(counts)
    before = (counts.cumsum(0) - counts).index_select(0, numbers)
    return numbers, torch.arange(numbers.shape[0], device=counts.device) - before


def cosines_of(graph: CrystalGraph, edges: Tensor, pairs: Tensor) -> Tensor:
    """Cosines of the angles between edges (T,), component by component, which avoids rows of three numbers.

    Shapes:
        edges: (K,) int64, some edges of the batch. pairs: (2, T) int64, positions in `edges`.
    """
    lengths = graph.edge_lengths.index_select(0, edges)
    components = (graph.edge_vectors.index_select(0, edges) / lengths[:, None]).T.contiguous()
    x, y, z = (part.index_select(0, pairs[0]).mul_(part.index_select(0, pairs[1])) for part in components)
    return clamp_cosines(x.add_(y).add_(z))


def clamp_cosines(cosines: Tensor) -> Tensor:
    """Clamp to ±(1 − 1e-7), as in the published implementation."""
    return cosines.clamp(-_LARGEST_COSINE, _LARGEST_COSINE)
