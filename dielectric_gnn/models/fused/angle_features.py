"""Features of angles, never formed: products, norms and attention act on what they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from dielectric_gnn.models.fused.angles import Angles
from dielectric_gnn.models.fused.edge_features import FactoredFeatures, LinkFeatures
from dielectric_gnn.models.fused.neighbour_list import segment_sum_of_ones
from dielectric_gnn.models.layers.norm import GraphLayerNorm
from dielectric_gnn.models.layers.segment import Blocks, at_least_float32


@dataclass(frozen=True)
class AngleFeatures(FactoredFeatures):
    """Features of the pair of edges (a, b): f_ab = s_c M h_ab + u_a + v_b, with h_ab = h_ba and the crystal c.

    Every layer keeps that form: a linear map acts on M, u and v, and a layer norm on s, M, u and v.

    Shapes:
        angles: The pairs. spread: h at the slots (S, F); sums: Σ_b h_ab (K, F); moments: ½ Σ h hᵀ (B, F, F).
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
        counts = angles.counts
        # Half of Σ h hᵀ: where every angle has its row, that is the sum over the rows.
        weighted = rows if isinstance(counts, int) else rows * (counts / 2).sqrt()[:, None]
        moments = second_moments(weighted, angles.batch, angles.num_crystals)
        scale = at_least_float32(rows.new_ones(angles.num_crystals))
        return cls(angles, angles.spread(rows), angles.partner_sums(rows), moments, last.weight, scale, last.bias[None])

    def updated(self, edges: Tensor, linear: nn.Linear, receiver_last: bool) -> AngleFeatures:
        """f_ab + W [e_b, e_a, f_ab] + b with `receiver_last`, else f_ab + W [e_a, e_b, f_ab] + b.

        The features e are of all edges (E, C); a is the edge that collects.
        """
        first, second, own = linear.weight.chunk(3, dim=1)
        if receiver_last:
            first, second = second, first
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
            first, matrix, sums = (at_least_float32(part) for part in (self.first, self.matrix, self.sums))
            second = torch.zeros_like(sums) if self.second is None else at_least_float32(self.second)
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
        hoods = self.angles.hoods
        first = self.first * hoods.collects()[:, None]
        return LinkFeatures(hoods, self.spread, self.matrix, scale, first, self.second)

    def dense(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The pairs (2, T), sorted by the first edge, their features (T, C), and how often each counts (T,)."""
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
        return pairs[:, order], values, None if hoods.counts is None else hoods.counts.index_select(0, slots)

    def _statistics(
        self, first: Tensor, second: Tensor, matrix: Tensor, sums: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """Mean and 1/σ of each crystal (B,), from u, v and M Σ_b h_ab (K, C)."""
        angles, degree, scale = self.angles, self.angles.degree, self.scale
        size = (angles.per_crystal(degree) * first.shape[1]).clamp(min=1)
        both = first + second
        mean = (angles.per_crystal(degree * both.sum(dim=1)) + scale * angles.per_crystal(sums.sum(dim=1))) / size
        squares = degree * (first.square() + second.square()).sum(dim=1)
        squares = squares + 2 * (first * angles.sums_of_partners(second)).sum(dim=1)
        # Σ |M h|² is the sum of the products of the elements of MᵀM and Σ h hᵀ.
        own = torch.mv(self.moments.flatten(1), (matrix.T @ matrix).flatten())
        total = angles.per_crystal(squares) + 2 * scale * angles.per_crystal((both * sums).sum(dim=1))
        variance = (total + 2 * scale.square() * own) / size - mean.square()
        return mean, (variance.clamp(min=0) + eps).rsqrt()


def second_moments(rows: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Σ h hᵀ over the rows of each segment, in float32 or wider.

    Shapes:
        rows h (R, F), segment (R,) int64, sorted → (num_segments, F, F).
    """
    rows = at_least_float32(rows)
    if rows.device.type != "cpu":
        return moments_of_blocks(rows, segment, num_segments)
    counts = segment_sum_of_ones(segment, num_segments).tolist()
    out: Tensor = _SecondMoments.apply(rows, counts)  # type: ignore[no-untyped-call]
    return out


def moments_of_blocks(rows: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """The same in a few large calls for all segments, and without asking how long they are, as GPUs like it."""
    blocks = Blocks.of(segment, num_segments, size=64)
    return blocks.weighted_sum(blocks.spread(rows), rows)


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
