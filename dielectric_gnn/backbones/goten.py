"""Goten: tensor attention, after GotenNet (ICLR 2025, openreview.net/forum?id=5wxCQDtbMo), corrected for crystals."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.backbones.equivariant import EquivariantBackbone
from dielectric_gnn.data.graph import DEFAULT_CUTOFF
from dielectric_gnn.errors import InputError
from dielectric_gnn.nn.equivariant import MESSAGE_SCALE, DegreeLinear, Edges, EquivariantNorm, FeedForward
from dielectric_gnn.nn.radial import GaussianBasis, RadialBasis
from dielectric_gnn.nn.segment import segment_sum
from dielectric_gnn.nn.so3 import components_of


def fading_softmax(logits: Tensor, envelope: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Attention that a neighbour enters smoothly: env_j exp(l_j) / (1 + Σ_k env_k exp(l_k)), without overflow.

    In an ordinary softmax a whole shell of neighbours at the cutoff takes its full share at once. The 1 makes the
    weights smooth also for an atom whose only neighbour leaves.

    Shapes:
        logits (E, H), envelope (E, 1), segment (E,) int64 → (E, H).
    """
    rows = segment[:, None].expand_as(logits)
    # The shift cancels in the quotient, so no gradient needs to flow through it.
    shift = logits.new_zeros(num_segments, logits.shape[1]).scatter_reduce(0, rows, logits.detach(), reduce="amax")
    weights = envelope * (logits - shift.index_select(0, segment)).exp()
    total = segment_sum(weights, segment, num_segments) + (-shift).exp()
    return weights / total.index_select(0, segment)


class TensorAttention(nn.Module):
    """Messages made of scalars that multiply Y^l(r̂_ij) and the x_j^l of the neighbour: no products of tensors.

    o_ij = a_ij V(x_j⁰) + env_ij F(t_ij) U(x_j⁰) / √30 is cut into o⁰, o_Y^l and o_x^l; then x_i⁰ += Σ_j o⁰ and
    x_i^l += Σ_j o_Y^l Y^l(r̂_ij) + o_x^l x_j^l. The logits of a_ij are q(x_i⁰) · (k(x_j⁰) ⊙ e(t_ij)) in each head. The
    second term of o feels how many neighbours there are, which attention alone forgets.

    Shapes:
        x (N, (l_max + 1)², C) → the same.

    Args:
        width: C, a multiple of `heads`.
        l_max: Highest degree.
        heads: Attention heads.
    """

    harmonic_part: Tensor
    tensor_part: Tensor

    def __init__(self, width: int, l_max: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.parts = 1 + 2 * l_max
        self.norm = EquivariantNorm(range(l_max + 1), width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.edge_key = nn.Linear(width, width)
        self.values = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2 * self.parts * width))
        self.filter = nn.Linear(width, self.parts * width)
        degrees = torch.tensor(components_of(range(1, l_max + 1)))
        self.register_buffer("harmonic_part", degrees, persistent=False)
        self.register_buffer("tensor_part", degrees + l_max, persistent=False)

    def forward(self, x: Tensor, edges: Edges) -> Tensor:
        """Update every atom."""
        normed = self.norm(x)
        parts = self.parts_of(normed[:, 0], edges)
        neighbours = normed[:, 1:].index_select(0, edges.target)
        tensors = parts.index_select(1, self.harmonic_part) * edges.harmonics[:, 1:, None]
        tensors = tensors + parts.index_select(1, self.tensor_part) * neighbours
        return x + segment_sum(torch.cat([parts[:, :1], tensors], dim=1), edges.source, x.shape[0])

    def parts_of(self, scalars: Tensor, edges: Edges) -> Tensor:
        """The scalars o_ij (E, 1 + 2 l_max, C): o⁰, o_Y^1 …, o_x^1 …."""
        num_edges, width = edges.state.shape[0], scalars.shape[1]
        attended, counted = self.values(scalars).index_select(0, edges.target).chunk(2, dim=1)
        attention = self.attention(scalars, edges)
        per_head = attended.view(num_edges, self.parts, self.heads, width // self.heads)
        attended = (per_head * attention[:, None, :, None]).view(num_edges, self.parts, width)
        counted = self.filter(edges.state) * (edges.envelope * MESSAGE_SCALE) * counted
        return attended + counted.view(num_edges, self.parts, width)

    def attention(self, scalars: Tensor, edges: Edges) -> Tensor:
        """Weights a_ij (E, heads)."""
        queries = self.query(scalars).index_select(0, edges.source)
        keys = self.key(scalars).index_select(0, edges.target) * F.silu(self.edge_key(edges.state))
        per_head = queries.shape[1] // self.heads
        products = (queries * keys).view(edges.state.shape[0], self.heads, per_head)
        logits = products.sum(dim=2) / math.sqrt(per_head)
        return fading_softmax(logits, edges.envelope, edges.source, scalars.shape[0])


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
        queries = self.query(tensors).index_select(0, edges.source)
        keys = self.key(tensors).index_select(0, edges.target)
        update = self.product((queries * keys).sum(dim=1)) * F.silu(self.gate(edges.state))
        return replace(edges, state=edges.state + update)


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
        edge_embedding: Callable[[float], RadialBasis] = GaussianBasis,
        cutoff: float = DEFAULT_CUTOFF,
        tensors: bool = False,
    ) -> None:
        super().__init__(width, l_max, num_layers, cutoff, tensors, edge_embedding)
        if heads < 1 or width % heads:
            raise InputError(f"Goten has {heads} heads, which do not divide its width {width}")
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
