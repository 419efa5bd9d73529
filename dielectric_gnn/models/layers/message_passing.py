"""Message-passing layers: each receiver sums messages of its senders.

`edge_index` holds the receiver (row 0) and the sender (row 1) of every edge. Graphs contain every edge in both
directions, so the sum over the edges that leave an atom equals the sum over those that end there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.models.fused.cgconv import split_cgconv
from dielectric_gnn.models.fused.gatv2 import attend_by_pairs
from dielectric_gnn.models.fused.transformer_conv import gated_skip, weighted_sum_of_values
from dielectric_gnn.models.layers.segment import segment_softmax, segment_sum, weight_by_count
from dielectric_gnn.utils.errors import InputError

if TYPE_CHECKING:
    from dielectric_gnn.models.fused.atom_pairs import AtomPairs
    from dielectric_gnn.models.fused.edge_features import FactoredFeatures


class MessagePassing(nn.Module, ABC):
    """A layer that keeps the width of its nodes, so that layers can be exchanged and stacked.

    A subclass that sets `supports_orbits` has a further argument counts (E,): how many equal edges each edge stands
    for; None means one.

    Shapes:
        x (N, C), edge_index (2, E), edges (E, D) → (N, C).

    Args:
        dim: C.
        edge_dim: D.
    """

    supports_orbits: ClassVar[bool] = False

    def __init__(self, dim: int, edge_dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.edge_dim = edge_dim

    @abstractmethod
    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor) -> Tensor:
        """Update every node."""

    def forward_factored(self, x: Tensor, edges: FactoredFeatures) -> Tensor:
        """The same for features of edges in factors; a subclass may have a faster form."""
        edge_index, features, counts = edges.to_dense()
        out: Tensor = self(x, edge_index, features, **({} if counts is None else {"counts": counts}))
        return out


MessagePassingFactory: TypeAlias = Callable[[int, int], MessagePassing]


class CGConv(MessagePassing):
    """Crystal-graph convolution: x_i + Σ_j σ(W_f z_ij + b_f) ⊙ softplus(W_s z_ij + b_s), z_ij = [x_i, x_j, e_ij].

    Source: doi:10.1103/PhysRevLett.120.145301.
    """

    supports_orbits = True

    def __init__(self, dim: int, edge_dim: int) -> None:
        super().__init__(dim, edge_dim)
        self.filter = nn.Linear(2 * dim + edge_dim, dim)
        self.core = nn.Linear(2 * dim + edge_dim, dim)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor, counts: Tensor | None = None) -> Tensor:
        """Update every node."""
        receiver, sender = edge_index
        z = torch.cat([x[receiver], x[sender], edges], dim=1)
        messages = self.filter(z).sigmoid() * F.softplus(self.core(z))
        return x + segment_sum(weight_by_count(messages, counts), receiver, x.shape[0])

    def forward_factored(self, x: Tensor, edges: FactoredFeatures) -> Tensor:
        """The same with the blocks of the weights for nodes and edges applied separately."""
        weight = torch.cat([self.filter.weight, self.core.weight])
        return split_cgconv(x, edges, weight, torch.cat([self.filter.bias, self.core.bias]))


class TransformerConv(MessagePassing):
    """Graph transformer with edge features, heads concatenated, and a gate between messages and skip.

    a_ij = softmax_j(q_i · (k_j + W_e e_ij) / √(C/heads)); o_i = Σ_j a_ij (v_j + W_e e_ij); s_i = W x_i + b;
    β_i = σ(w · [o_i, s_i, o_i − s_i]); out_i = β_i s_i + (1 − β_i) o_i. Source: arXiv:2009.03509.

    Args:
        dim: C, a multiple of `heads`.
        edge_dim: D.
        heads: Attention heads of C / heads channels.
    """

    supports_orbits = True

    def __init__(self, dim: int, edge_dim: int, heads: int = 8) -> None:
        super().__init__(dim, edge_dim)
        self.heads = validated_heads(type(self).__name__, dim, heads)
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.edge = nn.Linear(edge_dim, dim, bias=False)
        self.skip = nn.Linear(dim, dim)
        self.gate = nn.Linear(3 * dim, 1, bias=False)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor, counts: Tensor | None = None) -> Tensor:
        """Update every node; one without neighbours sums to zero."""
        receiver, sender = edge_index
        edge, by_head = self.edge(edges), (-1, self.heads, self.dim // self.heads)
        keys, values = (self.key(x)[sender] + edge).view(by_head), (self.value(x)[sender] + edge).view(by_head)
        logits = (self.query(x)[receiver].view(by_head) * keys).sum(dim=2) / math.sqrt(by_head[2])
        weights = segment_softmax(logits, receiver, x.shape[0], counts)
        messages = (weights[:, :, None] * values).flatten(1)
        summed, skip = segment_sum(messages, receiver, x.shape[0]), self.skip(x)
        beta = self.gate(torch.cat([summed, skip, summed - skip], dim=1)).sigmoid()
        return beta * skip + (1 - beta) * summed

    def forward_factored(self, x: Tensor, edges: FactoredFeatures) -> Tensor:
        """The same with the matrix of the edges applied to queries and to sums over neighbours."""
        links = edges.to_links()
        nodes = x.index_select(0, links.neighbour_list.nodes)
        projections = self.query(nodes), self.key(nodes), self.value(nodes)
        summed = weighted_sum_of_values(*projections, links, self.edge.weight, self.heads)
        return gated_skip(summed, self.skip(x), self.gate.weight)


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
        slope: Negative slope of the leaky ReLU, a positive number.
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
        """Update every node; the result for one without neighbours is the bias."""
        receiver, sender = edge_index
        values = self.neighbour(x)[sender]
        keys = values + self.center(x)[receiver] + self.edge(edges)
        keys = F.leaky_relu(keys, self.slope).view(-1, *self.attention.shape)
        weights = segment_softmax((keys * self.attention).sum(dim=2), receiver, x.shape[0], counts)
        messages = values.view_as(keys) * weights[:, :, None]
        return segment_sum(messages.flatten(1), receiver, x.shape[0]) + self.bias

    def forward_by_pairs(self, x: Tensor, pairs: AtomPairs, edges: Tensor, counts: Tensor | None = None) -> Tensor:
        """The same for edges in the order of the pairs of atoms, whose sources are the receivers."""
        projections = self.center(x), self.neighbour(x)
        weights = self.edge.weight, self.attention
        return attend_by_pairs(*projections, edges, *weights, self.slope, pairs, counts) + self.bias


class ResidualGATv2(MessagePassing):
    """GATv2 whose heads together keep the width, plus a linear map of the node itself.

    Args:
        dim: C, a multiple of `heads`.
        edge_dim: D.
        heads: Attention heads of C / heads channels.
    """

    supports_orbits = True

    def __init__(self, dim: int, edge_dim: int, heads: int = 8) -> None:
        super().__init__(dim, edge_dim)
        heads = validated_heads(type(self).__name__, dim, heads)
        self.attention = GATv2Conv(dim, dim // heads, edge_dim, heads)
        self.residual = nn.Linear(dim, dim, bias=False)
        nn.init.xavier_uniform_(self.residual.weight)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor, counts: Tensor | None = None) -> Tensor:
        """Update every node."""
        out: Tensor = self.attention(x, edge_index, edges, counts) + self.residual(x)
        return out


def validated_heads(layer: str, dim: int, heads: int) -> int:
    """The number of heads, if it divides the width.

    Raises:
        InputError: It does not.
    """
    if heads < 1 or dim % heads:
        raise InputError(f"{layer} has {heads} heads, which do not divide the width {dim} of the backbone")
    return heads
