"""One row of messages for all edges between two atoms, and moments as batched matrix products.

Most of the edges of an atom lead to periodic images of few atoms: an fcc metal has 54 edges within 5.5 Å and a single
pair of atoms. Where a message is linear in the quantities of its edge, Σ_e m(s_e, x_j) = m(Σ_e s_e, x_j) over the edges
e between i and j: what depends on the atoms is computed once per pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dielectric_gnn.models.fused.padded_segments import PaddedSegments
from dielectric_gnn.models.layers.equivariant_edges import Edges
from dielectric_gnn.models.layers.segment import segment_sum


@dataclass(frozen=True)
class AtomPairs:
    """The different (source, target) among the edges; edges to several images of one atom share a pair.

    Shapes:
        order: (E,) int64, sorts the edges of the graph by pair, and so by source. of_edge: (E,) int64, the pair of each
        edge after sorting. source, target: (P,) int64, of each pair.
    """

    order: Tensor
    of_edge: Tensor
    source: Tensor
    target: Tensor

    @classmethod
    def from_edge_index(cls, edge_index: Tensor, num_atoms: int) -> AtomPairs:
        """The pairs of a graph."""
        source, target = edge_index.unbind(0)
        if torch.compiler.is_compiling():
            # Sizes that depend on values break a compiled graph; one pair for each edge gives the same sums.
            edges = torch.arange(source.shape[0], device=source.device)
            return cls(edges, edges, source, target)
        keys, order = torch.sort(source * num_atoms + target, stable=True)
        keys, of_edge = torch.unique_consecutive(keys, return_inverse=True)
        return cls(order, of_edge, keys // num_atoms, keys % num_atoms)

    @property
    def count(self) -> int:
        """P."""
        return self.source.shape[0]

    def padded_edges(self) -> PaddedSegments:
        """The edges in blocks by pair, of a size that leaves at most half of the rows as padding."""
        size = min(8, self.of_edge.shape[0] // max(self.count, 1))
        return PaddedSegments.from_segment(self.of_edge, self.count, max(size, 1))


@dataclass(frozen=True)
class PairedEdges(Edges):
    """Edges sorted by pair of atoms, with one row for each pair (R = P).

    Shapes:
        by_source: the edges in blocks by source. padded_harmonics: (num_blocks, size, K), in these blocks.
    """

    pairs: AtomPairs
    by_source: PaddedSegments
    padded_harmonics: Tensor

    @classmethod
    def from_edges(cls, edges: Edges, pairs: AtomPairs) -> PairedEdges:
        """From edges that are sorted by pair."""
        by_source = PaddedSegments.from_segment(edges.source, edges.num_atoms)
        return cls(**vars(edges), pairs=pairs, by_source=by_source, padded_harmonics=by_source.pad(edges.harmonics))

    def at_source(self, x: Tensor) -> Tensor:
        """Features at the source of each pair."""
        return x.index_select(0, self.pairs.source)

    def at_target(self, x: Tensor) -> Tensor:
        """Features at the target of each pair."""
        return x.index_select(0, self.pairs.target)

    def expand(self, rows: Tensor) -> Tensor:
        """Rows of pairs at every edge."""
        return rows.index_select(0, self.pairs.of_edge)

    def merge(self, values: Tensor) -> Tensor:
        """Sums over the edges of each pair."""
        return segment_sum(values, self.pairs.of_edge, self.pairs.count)

    def merge_products(self, values: Tensor) -> Tensor:
        """Sums of products with the harmonics over the edges of each pair."""
        with torch.autocast(values.device.type, enabled=False):
            padded = self.pairs.padded_edges()
            return padded.weighted_sum(padded.pad(self.harmonics), values.to(self.harmonics.dtype))

    def sum_at_source(self, messages: Tensor) -> Tensor:
        """Sums over the pairs of each source."""
        return segment_sum(messages, self.pairs.source, self.num_atoms)

    def moments(self, values: Tensor) -> Tensor:
        """Sums of products with the harmonics over the edges of each source."""
        with torch.autocast(values.device.type, enabled=False):
            return self.by_source.weighted_sum(self.padded_harmonics, values.to(self.padded_harmonics.dtype))
