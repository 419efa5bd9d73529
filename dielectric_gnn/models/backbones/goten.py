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
from dielectric_gnn.models.layers.equivariant import MESSAGE_SCALE, DegreeLinear, Edges, EquivariantNorm, FeedForward
from dielectric_gnn.models.layers.radial import GaussianBasis, RadialBasis
from dielectric_gnn.models.layers.segment import at_least_float32, segment_sum
from dielectric_gnn.models.layers.so3 import sizes_of
from dielectric_gnn.utils.errors import InputError

LOGIT_CAP = 4.0
"""Attention logits are c tanh(l / c): with weights exp(l) without bound, a neighbour would enter within no distance."""


def fading_softmax(logits: Tensor, envelope: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Attention that a neighbour enters smoothly: exp(l_j) / (1 + Σ_k env_k exp(l_k)), to be multiplied by env_j.

    In an ordinary softmax a whole shell of neighbours at the cutoff takes its full share at once. The 1 makes the
    weights smooth also for an atom whose only neighbour leaves. Logits are capped at ±`LOGIT_CAP` first, so that
    nothing overflows.

    Shapes:
        logits (E, H), envelope (E, 1), segment (E,) int64 → (E, H).
    """
    weights = (LOGIT_CAP * (at_least_float32(logits) / LOGIT_CAP).tanh()).exp()
    total = 1 + segment_sum(weights * envelope, segment, num_segments)
    return weights / total.index_select(0, segment)


class TensorAttention(nn.Module):
    """Messages made of scalars that multiply Y^l(r̂_ij) and the x_j^l of the neighbour: no products of tensors.

    An edge has C scalars s_ij = a_ij ⊙ V(x_j⁰) + F(t_ij) ⊙ U(x_j⁰) / √30. The logits of the attention a_ij are
    q(x_i⁰) · (k(x_j⁰) ⊙ SiLU(e(t_ij))) in each head; the second term feels how many neighbours there are, which
    attention alone forgets. Then x_i^l += W^l Σ_j env_ij Y^l(r̂_ij) s_ij + Σ_j env_ij B^l s_ij ⊙ x_j^l.

    Matrices for each degree stand outside the sums: W^l acts on atoms and B^l on pairs of atoms, so that an edge never
    carries more than C numbers, whatever l_max.

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
        self.sizes = sizes_of(range(1, l_max + 1))
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
        weights = self.tensor(segment_sum(scalars * edges.envelope, edges.pairs.of_edge, edges.pairs.count))
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
        queries = (self.query(scalars) / math.sqrt(per_head)).index_select(0, edges.pairs.source)
        keys = self.key(scalars).index_select(0, edges.pairs.target)
        products = (queries * keys).index_select(0, edges.pairs.of_edge) * F.silu(self.edge_key(edges.state))
        logits = products.view(-1, self.heads, per_head).sum(dim=2)
        return fading_softmax(logits, edges.envelope, edges.source, scalars.shape[0])

    def weighted_tensors(self, tensors: Tensor, weights: Tensor, edges: Edges) -> Tensor:
        """Σ_j w_ij^l x_j^l over pairs: tensors (N, K − 1, C), weights (P, l_max · C) → (N, K − 1, C)."""
        blocks = torch.split(tensors.index_select(0, edges.pairs.target), self.sizes, dim=1)
        of_degree = weights.chunk(len(self.sizes), dim=1)
        products = [block * weight[:, None] for block, weight in zip(blocks, of_degree, strict=True)]
        return segment_sum(torch.cat(products, dim=1), edges.pairs.source, tensors.shape[0])


class EdgeRefinement(nn.Module):
    """Edge states learn how the tensors of both atoms lie to each other: t += W(⟨Q x_i, K x_j⟩) ⊙ SiLU(W' t).

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
        queries = self.query(tensors).index_select(0, edges.pairs.source)
        keys = self.key(tensors).index_select(0, edges.pairs.target)
        update = self.product((queries * keys).sum(dim=1)).index_select(0, edges.pairs.of_edge)
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

    The default among the equivariant backbones: no Clebsch–Gordan products and no rotations, and yet exactly
    equivariant under O(3). Source: GotenNet, ICLR 2025. Two corrections for crystals: attention fades out at the
    cutoff, and a sum over neighbours stands beside it.

    Args:
        width: Channels of every degree, a multiple of `heads`.
        l_max: Highest degree of the features, 1 to 3.
        num_layers: Layers of attention and feed-forward; edge states are refined between them.
        heads: Attention heads.
        node_embedding: Elements as features; a subclass of `NodeEmbedding`, by class path.
        edge_embedding: Distances as features; a subclass of `RadialBasis`, by class path.
        cutoff: Distance up to which atoms are neighbours (Å).
        tensors: Whether to yield l = 2 features too, for heads that predict tensors; needs l_max ≥ 2.
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

    def propagate(self, x: Tensor, edges: Edges) -> Tensor:
        """Run the layers, and refine the edges between them."""
        for place, layer in enumerate(self.layers):
            if place:
                edges = self.refinements[place - 1](x, edges)
            x = layer(x, edges)
        return x
