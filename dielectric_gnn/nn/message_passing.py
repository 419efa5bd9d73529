"""Message-passing layers: each atom collects from the neighbours that its edges point to.

Edges are sorted by source and every edge has its reverse, so collecting at the source is the same sum as at the
target, over contiguous rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.nn.segment import segment_softmax, segment_sum


class CGConv(nn.Module):
    """Crystal-graph convolution: x_i + Σ_j σ(W_f z_ij + b_f) ⊙ softplus(W_s z_ij + b_s), z_ij = [x_i, x_j, e_ij].

    The weight of z splits into blocks for x_i, x_j and e_ij: the atom blocks act once per atom instead of once
    per edge, which is exact. Source: doi:10.1103/PhysRevLett.120.145301.

    Shapes:
        x (N, C), edge_index (2, E), edges (E, D) → (N, C).

    Args:
        dim: C.
        edge_dim: D.
    """

    def __init__(self, dim: int, edge_dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.filter = nn.Linear(2 * dim + edge_dim, dim)
        self.core = nn.Linear(2 * dim + edge_dim, dim)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor) -> Tensor:
        """Update every atom."""
        weight = torch.cat([self.filter.weight, self.core.weight])
        bias = torch.cat([self.filter.bias, self.core.bias])
        center, neighbour, edge = weight.tensor_split([self.dim, 2 * self.dim], dim=1)
        source, target = edge_index
        z = F.linear(edges, edge)
        z = z + F.linear(x, center, bias).index_select(0, source)
        z = z + F.linear(x, neighbour).index_select(0, target)
        gate, value = z.chunk(2, dim=1)
        return x + segment_sum(gate.sigmoid() * F.softplus(value), source, x.shape[0])


class GATv2Conv(nn.Module):
    """Graph attention v2 with edge features, heads concatenated, no self loops.

    a_ij = softmax_j(a · LeakyReLU(W_r x_i + W_l x_j + W_e e_ij)); out_i = Σ_j a_ij W_l x_j + b.
    Source: arXiv:2105.14491.

    Shapes:
        x (N, C), edge_index (2, E), edges (E, D) → (N, heads · out_dim).

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
        nn.init.xavier_uniform_(self.attention)

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor) -> Tensor:
        """Update every atom; one without neighbours gets the bias."""
        source, target = edge_index
        values = self.neighbour(x).index_select(0, target)
        keys = values + self.center(x).index_select(0, source) + self.edge(edges)
        keys = F.leaky_relu(keys, self.slope).view(-1, *self.attention.shape)
        weights = segment_softmax((keys * self.attention).sum(dim=2), source, x.shape[0])
        messages = values.view_as(keys) * weights[:, :, None]
        return segment_sum(messages.flatten(1), source, x.shape[0]) + self.bias
