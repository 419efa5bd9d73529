"""Features of edges and links, kept in factors for as long as the layers after them are linear."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from dielectric_gnn.models.fused.neighbour_list import Neighbourhoods, atom_neighbourhoods, gather_rows


@dataclass(frozen=True)
class LinkFeatures:
    """Features of the link from node a to node b: f_ab = s_a M f̃_ab + u_a + v_b.

    Shapes:
        hoods: The links as slots, among K numbered nodes. features: f̃ (S, F). matrix: M (C, F); None is the identity.
        scale: s (K, 1); None is 1. first: u (K, C), second: v (K, C); None is zero.
    """

    hoods: Neighbourhoods
    features: Tensor
    matrix: Tensor | None = None
    scale: Tensor | None = None
    first: Tensor | None = None
    second: Tensor | None = None

    def scaled(self, values: Tensor) -> Tensor:
        """Values of the nodes (K, C) times s."""
        return values if self.scale is None else values * self.scale


@dataclass(frozen=True)
class Undirected:
    """Both directions of every edge as one row.

    Shapes:
        lengths: (R,) of the E / 2 rows. index: (E,) int64, the row of each edge. uses: (2, R) int64, the edges of each
        row.
    """

    lengths: Tensor
    index: Tensor
    uses: Tensor

    @classmethod
    def of(cls, edge_index: Tensor, lengths: Tensor, num_nodes: int) -> Undirected:
        """Pair the edges up: within the edges between two atoms, sorted by length, neighbours are equally long.

        Which of several equally long edges is whose reverse does not matter to features of the length.
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
class Edges:
    """The edges of a graph, sorted by source, and their arrangement for attention, made when first asked for.

    Shapes:
        index: (2, E) int64. num_nodes: N. counts: (E,), how many equal edges each stands for; None means one.
    """

    index: Tensor
    num_nodes: int
    counts: Tensor | None = None

    @cached_property
    def neighbourhoods(self) -> tuple[Neighbourhoods, Tensor, Tensor]:
        """Every node with its edges, the edge of each slot and the slot of each edge."""
        return atom_neighbourhoods(self.index, self.num_nodes, self.counts)


class FactoredFeatures(ABC):
    """Features of links that a layer may take in factors; other layers are given the features themselves.

    A link may stand for several equal ones; a layer that takes features in factors counts it as often.
    """

    @abstractmethod
    def links(self) -> LinkFeatures:
        """The features for attention."""

    @abstractmethod
    def dense(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The links (2, L), sorted by the collecting node, their features (L, C), and how often each counts (L,)."""


@dataclass(frozen=True)
class EdgeFeatures(FactoredFeatures):
    """Features of edges as a linear function of rows that edges may share: e = M f[index] + b.

    Shapes:
        edges: The edges. rows: f (R, F). index: (E,) int64, the row of each edge; None where every edge has its own.
        uses: (k, R) int64, the edges of each row, where all rows have equally many. weight: M (C, F), bias: b (C,);
        None are identity and zero.
    """

    edges: Edges
    rows: Tensor
    index: Tensor | None = None
    uses: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None

    @classmethod
    def of(cls, features: Tensor, edge_index: Tensor, num_nodes: int) -> EdgeFeatures:
        """Features (E, C) of edges in any order."""
        order = edge_index[0].argsort(stable=True)
        return cls(Edges(edge_index.index_select(1, order), num_nodes), features.index_select(0, order))

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """W e + b of every edge (E, D); both matrices are multiplied before they meet a row."""
        if self.bias is not None:
            constant = weight @ self.bias
            bias = constant if bias is None else bias + constant
        return self._gathered(F.linear(self.rows, weight if self.weight is None else weight @ self.weight, bias))

    def dense(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The edges, their features (E, C), and how often each counts."""
        values = self.rows if self.weight is None else F.linear(self.rows, self.weight, self.bias)
        return self.edges.index, self._gathered(values), self.edges.counts

    def links(self) -> LinkFeatures:
        """The same for attention."""
        hoods, edge_of_slot, slot_of_edge = self.edges.neighbourhoods
        constant = None if self.bias is None else self.bias * hoods.collects()[:, None]
        if self.index is None:
            features = gather_rows(self.rows, edge_of_slot, slot_of_edge[None])
        elif self.uses is None:
            features = self.rows.index_select(0, self.index.index_select(0, edge_of_slot))
        else:
            features = gather_rows(self.rows, self.index.index_select(0, edge_of_slot), slot_of_edge[self.uses])
        return LinkFeatures(hoods, features, self.weight, first=constant)

    def _gathered(self, values: Tensor) -> Tensor:
        if self.index is None:
            return values
        if self.uses is None:
            return values.index_select(0, self.index)
        return gather_rows(values, self.index, self.uses)
