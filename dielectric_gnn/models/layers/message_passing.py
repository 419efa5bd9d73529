"""Message-passing layers: each node collects from the neighbours that its edges point to.

Edges are sorted by source and every edge has its reverse, so collecting at the source is the same sum as at the
target, over contiguous rows.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.models.fused.attention import attend
from dielectric_gnn.models.fused.edge_features import EdgeFeatures, FactoredFeatures, LinkFeatures
from dielectric_gnn.models.layers.segment import at_least_float32, segment_softmax, segment_sum, weight_by_count
from dielectric_gnn.utils.errors import InputError


class MessagePassing(nn.Module, ABC):
    """A layer that keeps the width of its nodes, so that layers can be exchanged and stacked.

    Shapes:
        x (N, C), edge_index (2, E), edges (E, D) → (N, C).

    Args:
        dim: C.
        edge_dim: D.

    `takes` names the classes of features in factors that `forward` accepts in place of `edges`; then it may be given
    None for `edge_index`. A layer that takes `FactoredFeatures` can work on orbit graphs.
    """

    takes: ClassVar[tuple[type[FactoredFeatures], ...]] = ()

    def __init__(self, dim: int, edge_dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.edge_dim = edge_dim

    @abstractmethod
    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor) -> Tensor:
        """Update every node."""


MessagePassingFactory: TypeAlias = Callable[[int, int], MessagePassing]


class CGConv(MessagePassing):
    """Crystal-graph convolution: x_i + Σ_j σ(W_f z_ij + b_f) ⊙ softplus(W_s z_ij + b_s), z_ij = [x_i, x_j, e_ij].

    The weight of z splits into blocks for x_i, x_j and e_ij: the node blocks act once per node instead of once per
    edge, which is exact. Source: doi:10.1103/PhysRevLett.120.145301.
    """

    takes = (FactoredFeatures,)

    def __init__(self, dim: int, edge_dim: int) -> None:
        super().__init__(dim, edge_dim)
        self.filter = nn.Linear(2 * dim + edge_dim, dim)
        self.core = nn.Linear(2 * dim + edge_dim, dim)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor | FactoredFeatures) -> Tensor:
        """Update every node."""
        counts = None
        if isinstance(edges, EdgeFeatures):
            edge_index, counts = edges.edges.index, edges.edges.counts
        elif isinstance(edges, FactoredFeatures):
            edge_index, edges, counts = edges.dense()
        weight = torch.cat([self.filter.weight, self.core.weight])
        bias = torch.cat([self.filter.bias, self.core.bias])
        center, neighbour, edge = weight.tensor_split([self.dim, 2 * self.dim], dim=1)
        source, target = edge_index
        z = edges.linear(edge) if isinstance(edges, EdgeFeatures) else F.linear(edges, edge)
        z = z + F.linear(x, center, bias).index_select(0, source)
        z = z + F.linear(x, neighbour).index_select(0, target)
        gate, value = z.chunk(2, dim=1)
        return x + segment_sum(weight_by_count(gate.sigmoid() * F.softplus(value), counts), source, x.shape[0])


class TransformerConv(MessagePassing):
    """Graph transformer with edge features, heads concatenated, and a gate between messages and skip.

    a_ij = softmax_j(q_i · (k_j + W_e e_ij) / √(C/heads)); o_i = Σ_j a_ij (v_j + W_e e_ij); s_i = W x_i + b;
    β_i = σ(w · [o_i, s_i, o_i − s_i]); out_i = β_i s_i + (1 − β_i) o_i. Source: arXiv:2009.03509.

    Args:
        dim: C, a multiple of `heads`.
        edge_dim: D.
        heads: Attention heads of C / heads channels.
    """

    takes = (FactoredFeatures,)

    def __init__(self, dim: int, edge_dim: int, heads: int = 8) -> None:
        super().__init__(dim, edge_dim)
        self.heads = _checked_heads(type(self).__name__, dim, heads)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.edge = nn.Linear(edge_dim, dim, bias=False)
        self.skip = nn.Linear(dim, dim)
        self.gate = nn.Linear(3 * dim, 1, bias=False)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor | FactoredFeatures) -> Tensor:
        """Update every node; one without neighbours collects zero."""
        if isinstance(edges, Tensor):
            edges = EdgeFeatures.of(edges, edge_index, x.shape[0])
        collected = self._collect(x, edges.links())
        skip = self.skip(x)
        # w · [o, s, o − s] without forming the concatenation.
        first, second, difference = self.gate.weight.chunk(3, dim=1)
        beta = (F.linear(collected, first + difference) + F.linear(skip, second - difference)).sigmoid()
        return torch.lerp(collected, skip.to(collected.dtype), beta.to(collected.dtype))

    def _collect(self, x: Tensor, links: LinkFeatures) -> Tensor:
        """o_i: the edge matrix acts on queries and on sums over neighbours, so never on an edge."""
        hoods = links.hoods
        x = x.index_select(0, hoods.nodes)
        edge = self.edge.weight
        query, key, value = self.query(x) / math.sqrt(self.dim // self.heads), self.key(x), self.value(x)
        # What depends on the collecting node alone shifts all its logits equally, so that it matters for values only.
        if links.second is not None:
            second = F.linear(links.second, edge)
            key, value = key + second, value + second
        matrix = edge if links.matrix is None else edge @ links.matrix
        by_head = matrix.view(self.heads, -1, matrix.shape[1])
        link_query = torch.bmm(self._by_head(links.scaled(query)), by_head).transpose(0, 1)
        heads = (-1, self.heads, self.dim // self.heads)
        out, sums = attend(query.view(heads), key.view(heads), value.view(heads), link_query, links.features, hoods)
        through = torch.bmm(sums.transpose(0, 1), by_head.mT).transpose(0, 1).flatten(1)
        out = out.flatten(1) + links.scaled(through)
        if links.first is not None:
            out = out + F.linear(links.first, edge)
        return hoods.spread(at_least_float32(out))

    def _by_head(self, rows: Tensor) -> Tensor:
        return rows.view(-1, self.heads, self.dim // self.heads).transpose(0, 1)


class GATv2Conv(nn.Module):
    """Graph attention v2 with edge features, heads concatenated, no self loops; it may change the width.

    a_ij = softmax_j(a · LeakyReLU(W_r x_i + W_l x_j + W_e e_ij)); out_i = Σ_j a_ij W_l x_j + b.
    Weights start as in torch_geometric: Glorot for the linear maps and the attention vector. Source: arXiv:2105.14491.

    Shapes:
        x (N, C), edge_index (2, E), edges (E, D), counts (E,), how many edges each stands for; None means one →
        (N, heads · out_dim).

    Args:
        dim: C.
        out_dim: Channels per head.
        edge_dim: D.
        heads: Attention heads.
        slope: Negative slope of the leaky ReLU.
    """

    def __init__(self, dim: int, out_dim: int, edge_dim: int, heads: int, slope: float = 0.2) -> None:
        super().__init__()
        self.heads = heads
        self.slope = slope
        self.center = nn.Linear(dim, heads * out_dim)
        self.neighbour = nn.Linear(dim, heads * out_dim)
        self.edge = nn.Linear(edge_dim, heads * out_dim, bias=False)
        self.attention = nn.Parameter(torch.empty(heads, out_dim))
        self.bias = nn.Parameter(torch.zeros(heads * out_dim))
        for weight in (self.center.weight, self.neighbour.weight, self.edge.weight, self.attention):
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor, counts: Tensor | None = None) -> Tensor:
        """Update every node; one without neighbours gets the bias."""
        source, target = edge_index
        values = self.neighbour(x).index_select(0, target)
        keys = values + self.center(x).index_select(0, source) + self.edge(edges)
        keys = F.leaky_relu(keys, self.slope).view(-1, *self.attention.shape)
        weights = segment_softmax((keys * self.attention).sum(dim=2), source, x.shape[0], counts)
        messages = values.view_as(keys) * weights[:, :, None]
        return segment_sum(messages.flatten(1), source, x.shape[0]) + self.bias


class ResidualGATv2(MessagePassing):
    """GATv2 whose heads together keep the width, plus a linear map of the node itself.

    Args:
        dim: C, a multiple of `heads`.
        edge_dim: D.
        heads: Attention heads of C / heads channels.
    """

    takes = (FactoredFeatures,)

    def __init__(self, dim: int, edge_dim: int, heads: int = 8) -> None:
        super().__init__(dim, edge_dim)
        heads = _checked_heads(type(self).__name__, dim, heads)
        self.attention = GATv2Conv(dim, dim // heads, edge_dim, heads)
        self.residual = nn.Linear(dim, dim, bias=False)
        nn.init.xavier_uniform_(self.residual.weight)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor | FactoredFeatures) -> Tensor:
        """Update every node."""
        counts = None
        if isinstance(edges, FactoredFeatures):
            edge_index, edges, counts = edges.dense()
        out: Tensor = self.attention(x, edge_index, edges, counts) + self.residual(x)
        return out


def _checked_heads(layer: str, dim: int, heads: int) -> int:
    if heads < 1 or dim % heads:
        raise InputError(f"{layer} has {heads} heads, which do not divide the width {dim} of the backbone")
    return heads
