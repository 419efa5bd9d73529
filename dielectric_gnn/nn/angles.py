"""Features of angles, never formed: products, norms and attention act on what they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dielectric_gnn.data.graph import CrystalGraph
from dielectric_gnn.nn.links import FactoredFeatures, LinkFeatures
from dielectric_gnn.nn.neighbourhoods import (
    Bucket,
    Neighbourhoods,
    gather_rows,
    groups_of_equal_size,
    members,
    positions_of,
    segment_sum_of_ones,
)
from dielectric_gnn.nn.norm import GraphLayerNorm
from dielectric_gnn.nn.segment import segment_sum, widened
from dielectric_gnn.nn.triplets import three_body_pairs


@dataclass(frozen=True)
class Angles:
    """The three-body pairs of a batch: every angle once, although both of its orders are pairs.

    Shapes:
        hoods: The pairs as links among K numbered edges; the short edges of an atom collect from each other. cosines:
        (U,), of the U = T / 2 angles. angle_of_slot: (S,) int64. slots_of_angle: (2, U) int64, of both orders.
        edges_of_angle: (2, U) int64, numbers of its edges. batch: (U,) int64, the crystal of each angle. edge_batch,
        atom: (K,) int64, crystal and source of each edge. degree: (K,), links of each edge; zero for numbers that
        repeat an edge.
    """

    hoods: Neighbourhoods
    cosines: Tensor
    angle_of_slot: Tensor
    slots_of_angle: Tensor
    edges_of_angle: Tensor
    batch: Tensor
    edge_batch: Tensor
    atom: Tensor
    degree: Tensor
    num_crystals: int
    num_atoms: int

    @classmethod
    def of(cls, graph: CrystalGraph, cutoff: float) -> Angles:
        """The angles between edges up to `cutoff` (Å)."""
        short = (graph.edge_lengths <= cutoff).nonzero().squeeze(1)
        sources = graph.edge_index[0].index_select(0, short)
        pairs = three_body_pairs(sources)
        first, second = short[pairs[:, pairs[0] < pairs[1]]]
        hoods, angle_of_slot, slots_of_angle = _pair_neighbourhoods(sources, short, first.shape[0], graph)
        directions = graph.edge_vectors / graph.edge_lengths[:, None]
        cosines = (directions.index_select(0, first) * directions.index_select(0, second)).sum(dim=1)
        atom = graph.edge_index[0].index_select(0, hoods.nodes)
        upper = slots_of_angle[0]
        members_of = torch.stack([hoods.collector.index_select(0, upper), hoods.neighbour.index_select(0, upper)])
        degree = segment_sum(torch.ones_like(cosines).repeat(2), members_of.flatten(), hoods.nodes.shape[0])
        of_angle = graph.batch.index_select(0, graph.edge_index[0].index_select(0, first))
        of_edge = graph.batch.index_select(0, atom)
        sizes = (graph.num_crystals, graph.num_atoms)
        return cls(hoods, cosines, angle_of_slot, slots_of_angle, members_of, of_angle, of_edge, atom, degree, *sizes)

    def per_crystal(self, edge_values: Tensor) -> Tensor:
        """Sum of (K,) over the edges of each crystal (B,)."""
        return segment_sum(edge_values, self.edge_batch, self.num_crystals)


def _pair_neighbourhoods(
    sources: Tensor, edges: Tensor, num_angles: int, graph: CrystalGraph
) -> tuple[Neighbourhoods, Tensor, Tensor]:
    """The pairs of some edges with the same source as blocks; an angle is the pair whose first edge comes first.

    Shapes:
        sources, edges (K',), sorted → the blocks, the angle of each slot (S,), both slots of each angle (2, U).
    """
    counts = sources.new_zeros(graph.num_atoms).index_add_(0, sources, torch.ones_like(sources))
    angles = counts * (counts - 1) // 2
    first_angle = angles.cumsum(0) - angles
    buckets: list[Bucket] = []
    parts: list[list[Tensor]] = []
    first_node = first_slot = 0
    for size, atoms in groups_of_equal_size(counts, 2):
        rows, exists = members(counts, atoms, size)
        count, place = counts.index_select(0, atoms)[:, None, None], torch.arange(size, device=edges.device)
        low, high = torch.minimum(place[:, None], place), torch.maximum(place[:, None], place)
        # Angles are numbered by their first edge, then by their second.
        angle = low * count - low * (low + 1) // 2 + high - low - 1
        linked = exists[:, None, :] & (low != high)
        angle = angle.where(linked & exists[:, :, None], 0) + first_angle.index_select(0, atoms)[:, None, None]
        upper = linked & exists[:, :, None] & (place[:, None] < place)
        lower = linked & exists[:, :, None] & (place[:, None] > place)
        numbers = first_node + torch.arange(rows.numel(), device=edges.device).view(-1, size)
        neighbour, collector = numbers[:, None, :].expand(-1, size, -1), numbers[:, :, None].expand(-1, -1, size)
        nodes = edges.index_select(0, rows.flatten())
        parts.append([item.flatten() for item in (nodes, exists, collector, neighbour, linked, angle, upper, lower)])
        buckets.append(Bucket(atoms.shape[0], size, size, first_node, first_slot, mutual=True))
        first_node, first_slot = buckets[-1].nodes.stop, buckets[-1].slots.stop
    none = [edges.new_zeros(0)] * 8
    joined = [torch.cat(list(items)) for items in zip(none, *parts, strict=True)]
    nodes, exists, collector, neighbour, linked, angle, upper, lower = joined
    hoods = Neighbourhoods(
        tuple(buckets), nodes, exists.bool(), collector, neighbour, linked.bool(), graph.edge_index.shape[1]
    )
    slots = torch.stack([positions_of(angle, half.bool(), num_angles) for half in (upper, lower)])
    return hoods, angle, slots


@dataclass(frozen=True)
class AngleFeatures(FactoredFeatures):
    """Features of the pair of edges (a, b): f_ab = s_c M h_ab + u_a + v_b, with h_ab = h_ba and the crystal c.

    Every layer keeps that form: a linear map acts on M, u and v, and a layer norm on s, M, u and v.

    Shapes:
        angles: The pairs. spread: h at the slots (S, F); sums: Σ_b h_ab (K, F); moments: Σ h hᵀ (B, F, F).
        matrix: M (C, F). scale: s (B,). first: u (K, C) or (1, C). second: v (K, C); None is zero.
    """

    angles: Angles
    spread: Tensor
    sums: Tensor
    moments: Tensor
    matrix: Tensor
    scale: Tensor
    first: Tensor
    second: Tensor | None = None

    @classmethod
    def of(cls, angles: Angles, rows: Tensor, last: nn.Linear) -> AngleFeatures:
        """Features W h + b of every angle."""
        spread = gather_rows(rows, angles.angle_of_slot, angles.slots_of_angle)
        moments = second_moments(rows, segment_sum_of_ones(angles.batch, angles.num_crystals).tolist())
        first, second = (segment_sum(rows, edges, angles.degree.shape[0]) for edges in angles.edges_of_angle)
        scale = widened(rows.new_ones(angles.num_crystals))
        return cls(angles, spread, first + second, moments, last.weight, scale, last.bias[None])

    def updated(self, edges: Tensor, linear: nn.Linear) -> AngleFeatures:
        """f_ab + W [e_a, e_b, f_ab] + b, from the features e of all edges (E, C)."""
        first, second, own = linear.weight.chunk(3, dim=1)
        own = own + torch.eye(own.shape[0], dtype=own.dtype, device=own.device)
        edges = edges.index_select(0, self.angles.hoods.nodes)
        new_first = F.linear(edges, first, linear.bias) + F.linear(self.first, own)
        new_second = F.linear(edges, second)
        if self.second is not None:
            new_second = new_second + F.linear(self.second, own)
        return replace(self, matrix=own @ self.matrix, first=new_first, second=new_second)

    def normalised(self, norm: GraphLayerNorm) -> AngleFeatures:
        """Graph layer norm, whose statistics come from sums of u, v and h and from their products.

        Σ |f_ab|² = Σ_a n_a (|u_a|² + |v_a|²) + 2 Σ_{a≠b} u_a · v_b + 2 s Σ_a (u_a + v_a) · M Σ_b h_ab + s² Σ |M h_ab|²
        over the pairs of a crystal, where a has n_a partners.
        """
        with torch.autocast(self.spread.device.type, enabled=False):
            first, matrix, sums = (widened(part) for part in (self.first, self.matrix, self.sums))
            second = torch.zeros_like(sums) if self.second is None else widened(self.second)
            mean, inverse = self._statistics(first, second, matrix, F.linear(sums, matrix), norm.eps)
            at_edges = self.angles.edge_batch
            gain = inverse.index_select(0, at_edges)[:, None] * norm.weight
            return replace(
                self,
                matrix=norm.weight[:, None] * matrix,
                scale=self.scale * inverse,
                first=(first - mean.index_select(0, at_edges)[:, None]) * gain + norm.bias,
                second=second * gain,
            )

    def links(self) -> LinkFeatures:
        """The same for attention."""
        scale = self.scale.index_select(0, self.angles.edge_batch)[:, None]
        return LinkFeatures(self.angles.hoods, self.spread, self.matrix, scale, self.first, self.second)

    def dense(self) -> tuple[Tensor, Tensor]:
        """The pairs (2, T), sorted by the first edge, and their features (T, C)."""
        angles, hoods = self.angles, self.angles.hoods
        collector = hoods.collector
        slots = (hoods.linked & hoods.exists.index_select(0, collector)).nonzero().squeeze(1)
        first, second = collector.index_select(0, slots), hoods.neighbour.index_select(0, slots)
        pairs = torch.stack([hoods.nodes.index_select(0, first), hoods.nodes.index_select(0, second)])
        order = pairs[0].argsort(stable=True)
        slots, first, second = slots[order], first[order], second[order]
        scale = self.scale.index_select(0, angles.edge_batch.index_select(0, first))[:, None]
        values = F.linear(self.spread.index_select(0, slots), self.matrix) * scale + self.first.index_select(0, first)
        if self.second is not None:
            values = values + self.second.index_select(0, second)
        return pairs[:, order], values

    def _statistics(
        self, first: Tensor, second: Tensor, matrix: Tensor, sums: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """Mean and 1/σ of each crystal (B,), from u, v and M Σ_b h_ab (K, C)."""
        angles, degree, scale = self.angles, self.angles.degree, self.scale
        size = (angles.per_crystal(degree) * first.shape[1]).clamp(min=1)
        both = first + second
        mean = (angles.per_crystal(degree * both.sum(dim=1)) + scale * angles.per_crystal(sums.sum(dim=1))) / size
        squares = degree * (first.square() + second.square()).sum(dim=1)
        # Σ_{a≠b} u_a · v_b at one atom is Σ_a u_a · (Σ_b v_b − v_a).
        real = second * angles.hoods.exists[:, None]
        others = segment_sum(real, angles.atom, angles.num_atoms).index_select(0, angles.atom) - real
        squares = squares + 2 * angles.hoods.exists * (first * others).sum(dim=1)
        # Σ |M h|² is the sum of the products of the elements of MᵀM and Σ h hᵀ.
        own = torch.mv(self.moments.flatten(1), (matrix.T @ matrix).flatten())
        total = angles.per_crystal(squares) + 2 * scale * angles.per_crystal((both * sums).sum(dim=1))
        variance = (total + 2 * scale.square() * own) / size - mean.square()
        return mean, (variance.clamp(min=0) + eps).rsqrt()


def second_moments(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Σ h hᵀ over consecutive rows, in float32 or wider.

    Shapes:
        rows h (R, F), counts (B,) rows of each sum → (B, F, F).
    """
    out: Tensor = _SecondMoments.apply(widened(rows), counts)  # type: ignore[no-untyped-call]
    return out


class _SecondMoments(torch.autograd.Function):
    """One matrix product of the rows forward and one backward; autograd alone would need two backward."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: Sequence[int]) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.counts = counts
        out = rows.new_empty(len(counts), rows.shape[1], rows.shape[1])
        for part, total in zip(rows.split(counts), out, strict=True):  # type: ignore[no-untyped-call]
            torch.mm(part.T, part, out=total)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        grad_rows = torch.empty_like(rows)
        for part, total, out in zip(rows.split(ctx.counts), grad, grad_rows.split(ctx.counts), strict=True):  # type: ignore[no-untyped-call]
            torch.mm(part, total + total.T, out=out)
        return grad_rows, None
