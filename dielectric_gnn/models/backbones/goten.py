"""Goten: tensor attention, after GotenNet (ICLR 2025, openreview.net/forum?id=5wxCQDtbMo), corrected for crystals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF
from dielectric_gnn.models.backbones.equivariant import EquivariantBackbone
from dielectric_gnn.models.layers.embedding import GroupPeriodEmbedding, NodeEmbedding
from dielectric_gnn.models.layers.equivariant import DegreeLinear, EquivariantNorm, FeedForward
from dielectric_gnn.models.layers.equivariant_edges import MESSAGE_SCALE, Edges
from dielectric_gnn.models.layers.fusable import FusedOption
from dielectric_gnn.models.layers.radial import GaussianBasis, RadialBasis
from dielectric_gnn.models.layers.segment import at_least_float32, segment_sum
from dielectric_gnn.models.layers.so3 import degree_sizes
from dielectric_gnn.utils.errors import InputError

LOGIT_CAP = 4.0
"""c of the capped attention logits c tanh(l / c): with unbounded exp(l), a neighbour would enter almost as a step."""


def smooth_cutoff_softmax(logits: Tensor, envelope: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Attention weights that are smooth at the cutoff: exp(l_j) / (1 + Σ_k env_k exp(l_k)), without their factor env_j.

    In an ordinary softmax a shell of neighbours that crosses the cutoff gets its full weight at once. The 1 makes the
    weights smooth also for an atom with a single neighbour. Logits are limited to ±`LOGIT_CAP` first, so that nothing
    overflows.

    Shapes:
        logits (E, H), envelope (E, 1), segment (E,) int64 → (E, H).
    """
    weights = (LOGIT_CAP * (at_least_float32(logits) / LOGIT_CAP).tanh()).exp()
    total = 1 + segment_sum(weights * envelope, segment, num_segments)
    return weights / total.index_select(0, segment)


class TensorAttention(nn.Module):
    """Messages made of scalars that multiply Y^l(r̂_ij) and the x_j^l of the neighbour: no products of tensors.

    An edge has C scalars s_ij = a_ij ⊙ V(x_j⁰) + F(t_ij) ⊙ U(x_j⁰) / √30. The logits of the attention a_ij are
    q(x_i⁰) · (k(x_j⁰) ⊙ SiLU(e(t_ij))) in each head; the second term depends on the number of neighbours,
    attention does not. Then x_i^l += W^l Σ_j env_ij Y^l(r̂_ij) s_ij + Σ_j env_ij B^l s_ij ⊙ x_j^l.

    Matrices for each degree act after the sums, W^l on atoms and B^l on rows of messages, so that an edge has C numbers
    for any l_max.

    Shapes:
        x (N, (l_max + 1)², C) → the same.

    Args:
        width: C, a multiple of `heads`.
        l_max: Highest degree.
        heads: Attention heads.
    """

    def __init__(self, width: int, l_max: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.sizes = degree_sizes(range(1, l_max + 1))
        self.norm = EquivariantNorm(range(l_max + 1), width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.edge_key = nn.Linear(width, width)
        self.values = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2 * width))
        self.filter = nn.Linear(width, width)
        self.harmonic = DegreeLinear(range(l_max + 1), width, width)
        self.tensor = nn.Linear(width, l_max * width, bias=False)

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """Update every atom."""
        normed = self.norm(x)
        scalars = self.edge_scalars(normed[:, 0], edges)
        weights = self.tensor(edges.merge(scalars * edges.envelope))
        neighbours = self.weighted_tensors(normed[:, 1:], weights, edges)
        update = self.harmonic(edges.moments(scalars))
        return x + torch.cat([update[:, :1], update[:, 1:] + neighbours], dim=1)

    def edge_scalars(self, scalars: Tensor, edges: Edges) -> Tensor:
        """s_ij without the envelope: (E, C)."""
        attended, counted = self.values(scalars).chunk(2, dim=1)
        attention = self.attention(scalars, edges)[:, :, None]
        attended = attended.index_select(0, edges.target).view(-1, self.heads, scalars.shape[1] // self.heads)
        counted = self.filter(edges.state) * (counted * MESSAGE_SCALE).index_select(0, edges.target)
        return counted + (attended * attention).view_as(counted)

    def attention(self, scalars: Tensor, edges: Edges) -> Tensor:
        """Weights a_ij without the envelope: (E, heads)."""
        per_head = scalars.shape[1] // self.heads
        queries = edges.at_source(self.query(scalars) / math.sqrt(per_head))
        products = edges.expand(queries * edges.at_target(self.key(scalars))) * F.silu(self.edge_key(edges.state))
        logits = products.view(-1, self.heads, per_head).sum(dim=2)
        return smooth_cutoff_softmax(logits, edges.envelope, edges.source, scalars.shape[0])

    def weighted_tensors(self, tensors: Tensor, weights: Tensor, edges: Edges) -> Tensor:
        """Σ_j w_ij^l x_j^l: tensors (N, K − 1, C), weights in rows (R, l_max · C) → (N, K − 1, C)."""
        blocks = torch.split(edges.at_target(tensors), self.sizes, dim=1)
        of_degree = weights.chunk(len(self.sizes), dim=1)
        products = [block * weight[:, None] for block, weight in zip(blocks, of_degree, strict=True)]
        return edges.sum_at_source(torch.cat(products, dim=1))


class EdgeRefinement(nn.Module):
    """Edge states learn from the products of the tensors of both atoms: t += W(⟨Q x_i, K x_j⟩) ⊙ SiLU(W' t).

    Args:
        width: C.
        l_max: Highest degree.
    """

    def __init__(self, width: int, l_max: int) -> None:
        super().__init__()
        self.norm = EquivariantNorm(range(l_max + 1), width)
        self.query = DegreeLinear(range(1, l_max + 1), width, width)
        self.key = DegreeLinear(range(1, l_max + 1), width, width)
        self.product = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)

    def forward(self, x: Tensor, edges: Edges) -> Edges:
        """The same edges with new states."""
        tensors = self.norm(x)[:, 1:]
        products = edges.at_source(self.query(tensors)) * edges.at_target(self.key(tensors))
        update = edges.expand(self.product(products.sum(dim=1)))
        return replace(edges, state=torch.addcmul(edges.state, update, F.silu(self.gate(edges.state))))


class GotenLayer(nn.Module):
    """Attention, then feed-forward.

    Args:
        width: C.
        l_max: Highest degree.
        heads: Attention heads.
        out_degrees: Degrees to return.
    """

    def __init__(self, width: int, l_max: int, heads: int, out_degrees: list[int]) -> None:
        super().__init__()
        self.attention = TensorAttention(width, l_max, heads)
        self.feed_forward = FeedForward(range(l_max + 1), out_degrees, width)

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """Update every atom."""
        out: Tensor = self.feed_forward(self.attention(x, edges))
        return out


class Goten(EquivariantBackbone):
    """Tensor attention: scalars of each edge multiply spherical harmonics and the tensors of neighbours.

    The default of the equivariant backbones: exactly equivariant under O(3) without Clebsch–Gordan products or
    rotations. Source: GotenNet, ICLR 2025. Two corrections for crystals: attention vanishes smoothly at
    the cutoff, and a sum over neighbours is added to it.

    Args:
        width: Channels of every degree, a multiple of `heads`.
        l_max: Highest degree of the features, 1 to 3.
        num_layers: Layers of attention and feed-forward; edge states are refined between them.
        heads: Attention heads.
        node_embedding: Elements as features; a subclass of `NodeEmbedding`, by class path.
        edge_embedding: Distances as features; a subclass of `RadialBasis`, by class path.
        cutoff: Distance up to which atoms are neighbours (Å).
        tensors: Whether to return l = 2 features too, for heads that predict tensors; needs l_max ≥ 2.
        fused: `auto` for the fused forms of the layers, `off` for the plain ones, which are slower but easy to read.
    """

    def __init__(
        self,
        width: int = 64,
        l_max: int = 2,
        num_layers: int = 2,
        heads: int = 8,
        node_embedding: Callable[[], NodeEmbedding] = GroupPeriodEmbedding,
        edge_embedding: Callable[[float], RadialBasis] = GaussianBasis,
        cutoff: float = DEFAULT_CUTOFF,
        tensors: bool = False,
        fused: FusedOption = "auto",
    ) -> None:
        super().__init__(width, l_max, num_layers, cutoff, tensors, node_embedding, edge_embedding)
        if heads < 1 or width % heads:
            raise InputError(
                f"Goten has {heads} heads, which do not divide its width {width}; give heads that do, such as "
                f"{math.gcd(width, max(heads, 1))}"
            )
        self.layers = nn.ModuleList(
            GotenLayer(width, l_max, heads, self.degrees_after(layer)) for layer in range(num_layers)
        )
        self.refinements = nn.ModuleList(EdgeRefinement(width, l_max) for _ in range(num_layers - 1))
        self.set_fused(fused)

    def propagate(self, x: Tensor, edges: Edges) -> Tensor:
        """Run the layers, and refine the edges between them."""
        for place, layer in enumerate(self.layers):
            if place:
                edges = self.refinements[place - 1](x, edges)
            x = layer(x, edges)
        return x
