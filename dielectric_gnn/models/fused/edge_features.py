"""Features of edges in factors: e = M f[index] + b, with rows f that several edges share.

The length of an edge and of its reverse are equal, so the layers before M act on one row for both, and the matrix W of
a layer after M acts on the rows as W M. The features of the edges themselves are formed only where a layer is not
linear.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from dielectric_gnn.data.graphs.graph import CrystalGraph, Orbits
from dielectric_gnn.models.fused.gather import gather_rows
from dielectric_gnn.models.fused.neighbour_list import PaddedNeighbourList, padded_neighbour_list
from dielectric_gnn.models.layers.mlp import MLP
from dielectric_gnn.models.layers.radial import RadialBasis
from dielectric_gnn.models.layers.segment import segment_sum


@dataclass(frozen=True)
class LinkFeatures:
    """Features of the link between receiver a and sender b: f_ab = s_a M f̃_ab + u_a + v_b.

    Shapes:
        neighbour_list: The links as slots, among K renumbered nodes. features: f̃ (S, F). matrix: M (C, F); None is the
        identity. scale: s (K, 1); None is 1. first: u (K, C), second: v (K, C); None is zero.
    """

    neighbour_list: PaddedNeighbourList
    features: Tensor
    matrix: Tensor | None = None
    scale: Tensor | None = None
    first: Tensor | None = None
    second: Tensor | None = None

    def scale_rows(self, values: Tensor) -> Tensor:
        """Values of the receivers (K, C) times s."""
        return values if self.scale is None else values * self.scale


@dataclass(frozen=True)
class Undirected:
    """One row for both directions of every edge.

    Shapes:
        lengths: (R,) of the E / 2 rows. index: (E,) int64, the row of each edge. uses: (2, R) int64, the edges of each
        row.
    """

    lengths: Tensor
    index: Tensor
    uses: Tensor

    @classmethod
    def from_edges(cls, edge_index: Tensor, lengths: Tensor, num_nodes: int) -> Undirected:
        """Pair the edges: of all edges between two atoms, sorted by length, two in a row are equally long.

        Which of several equally long edges is the reverse of which has no influence on features of the length.
        """
        source, target = edge_index
        between = torch.minimum(source, target) * num_nodes + torch.maximum(source, target)
        by_length = lengths.argsort()
        order = by_length.index_select(0, between.index_select(0, by_length).argsort(stable=True))
        rows = torch.arange(order.shape[0], device=order.device) // 2
        index = torch.empty_like(order).scatter_(0, order, rows)
        uses = order.view(-1, 2).T.contiguous()
        return cls(lengths.index_select(0, uses[0]), index, uses)


@dataclass(frozen=True)
class SortedEdges:
    """The edges of a graph, sorted by source, and their padded neighbour list, which is built at first use.

    Shapes:
        index: (2, E) int64. num_nodes: N. counts: (E,), how many equal edges each stands for; None means one.
    """

    index: Tensor
    num_nodes: int
    counts: Tensor | None = None

    @cached_property
    def neighbour_list(self) -> tuple[PaddedNeighbourList, Tensor, Tensor]:
        """The list, the edge of each slot, and the slot of each edge."""
        return padded_neighbour_list(self.index, self.num_nodes, self.counts)


class FactoredFeatures(ABC):
    """Features of links in factors; a link of an orbit graph stands for several equal links."""

    @abstractmethod
    def to_links(self) -> LinkFeatures:
        """The features at the slots of a padded neighbour list."""

    @abstractmethod
    def to_dense(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The links (2, L), sorted by receiver; their features (L, C); links that each stands for (L,), or None."""


@dataclass(frozen=True)
class EdgeFeatures(FactoredFeatures):
    """Features of edges as a linear function of rows that edges may share: e = M f[index] + b.

    Shapes:
        edges: The edges. rows: f (R, F). index: (E,) int64, the row of each edge; None where every edge has its own.
        uses: (k, R) int64, the edges of each row, where all rows have equally many. weight: M (C, F), bias: b (C,);
        None are identity and zero.
    """

    edges: SortedEdges
    rows: Tensor
    index: Tensor | None = None
    uses: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None

    @classmethod
    def from_tensor(cls, features: Tensor, edge_index: Tensor, num_nodes: int) -> EdgeFeatures:
        """From features (E, C) of edges in any order."""
        order = edge_index[0].argsort(stable=True)
        return cls(SortedEdges(edge_index.index_select(1, order), num_nodes), features.index_select(0, order))

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """W e + b of every edge (E, D); the product of both matrices acts on the rows."""
        if self.bias is not None:
            constant = weight @ self.bias
            bias = constant if bias is None else bias + constant
        return self._at_edges(F.linear(self.rows, weight if self.weight is None else weight @ self.weight, bias))

    def to_dense(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The edges; their features (E, C); edges that each stands for (E,), or None."""
        values = self.rows if self.weight is None else F.linear(self.rows, self.weight, self.bias)
        return self.edges.index, self._at_edges(values), self.edges.counts

    def to_links(self) -> LinkFeatures:
        """The features at the slots of a padded neighbour list."""
        neighbour_list, edge_of_slot, slot_of_edge = self.edges.neighbour_list
        constant = None if self.bias is None else self.bias * neighbour_list.is_receiver()[:, None]
        if self.index is None:
            features = gather_rows(self.rows, edge_of_slot, slot_of_edge[None])
        elif self.uses is None:
            features = self.rows.index_select(0, self.index.index_select(0, edge_of_slot))
        else:
            features = gather_rows(self.rows, self.index.index_select(0, edge_of_slot), slot_of_edge[self.uses])
        return LinkFeatures(neighbour_list, features, self.weight, first=constant)

    def with_rows(self, rows: Tensor) -> EdgeFeatures:
        """Other features (E, F) of the same edges."""
        return EdgeFeatures(self.edges, rows)

    def reversed(self, reverse: Tensor) -> EdgeFeatures:
        """At each edge, the features of its reverse (E,); the features must have one row for each edge."""
        return EdgeFeatures(self.edges, self.rows, reverse, reverse[None])

    def _at_edges(self, values: Tensor) -> Tensor:
        if self.index is None:
            return values
        if self.uses is None:
            return values.index_select(0, self.index)
        return gather_rows(values, self.index, self.uses)


def factored_edge_features(graph: CrystalGraph, embedding: RadialBasis, mlp: MLP) -> EdgeFeatures:
    """Features of every edge from its length: one row for both directions, the last linear layer as factor M."""
    if graph.orbits is not None:
        return _orbit_edge_features(graph, graph.orbits, embedding, mlp)
    undirected = Undirected.from_edges(graph.edge_index, graph.edge_lengths, graph.num_atoms)
    rows = mlp.hidden(embedding(undirected.lengths), 2)
    edges = SortedEdges(graph.edge_index, graph.num_atoms)
    return EdgeFeatures(edges, rows, undirected.index, undirected.uses, mlp.last.weight, mlp.last.bias)


def _orbit_edge_features(graph: CrystalGraph, orbits: Orbits, embedding: RadialBasis, mlp: MLP) -> EdgeFeatures:
    """One row for each different length of the batch, which counts for all edges of this length."""
    lengths, index = graph.edge_lengths.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    counts = segment_sum(orbits.edge_totals(graph.edge_index[0]), index, lengths.shape[0])
    rows = mlp.hidden(embedding(lengths), counts)
    edges = SortedEdges(graph.edge_index, graph.num_atoms, orbits.edge_counts)
    return EdgeFeatures(edges, rows, index, None, mlp.last.weight, mlp.last.bias)
