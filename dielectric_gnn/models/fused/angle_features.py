"""Features of angles in factors, which are never formed: f_ab = s_c M h_ab + u_a + v_b.

Each order of an angle between edges a and b is a pair; both share a row h. A linear layer acts on M, u and v; the sums
of a layer norm follow from sums of u, v and h and from Σ h hᵀ (`fused.second_moments`); attention takes the factors as
they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.models.fused.angles import Angles, FullGraphAngles, OrbitAngles
from dielectric_gnn.models.fused.edge_features import FactoredFeatures, LinkFeatures
from dielectric_gnn.models.fused.second_moments import second_moments
from dielectric_gnn.models.layers.angle_basis import AngleBasis
from dielectric_gnn.models.layers.mlp import MLP
from dielectric_gnn.models.layers.norm import GraphLayerNorm
from dielectric_gnn.models.layers.segment import at_least_float32


@dataclass(frozen=True)
class AngleFeatures(FactoredFeatures):
    """Features of the pair of edges (a, b), receiver and sender: f_ab = s_c M h_ab + u_a + v_b, of the material c.

    Shapes:
        angles: The pairs. slot_rows: h at the slots (S, F). sums: Σ_b h_ab (K, F). moments: ½ Σ h hᵀ (B, F, F).
        matrix: M (C, F). scale: s (B,). first: u (K, C) or (1, C). second: v (K, C); None is zero.
    """

    angles: Angles
    slot_rows: Tensor
    sums: Tensor
    moments: Tensor
    matrix: Tensor
    scale: Tensor
    first: Tensor
    second: Tensor | None = None

    @classmethod
    def from_rows(cls, angles: Angles, rows: Tensor, last: nn.Linear) -> AngleFeatures:
        """Features W h + b of every angle."""
        counts = angles.counts
        # Half of Σ h hᵀ: where every angle has its row, that is the sum over the rows.
        weighted = rows if isinstance(counts, int) else rows * (counts / 2).sqrt()[:, None]
        moments = second_moments(weighted, angles.batch, angles.num_crystals)
        scale = at_least_float32(rows.new_ones(angles.num_crystals))
        return cls(
            angles,
            angles.rows_at_slots(rows),
            angles.sum_rows_over_partners(rows),
            moments,
            last.weight,
            scale,
            last.bias[None],
        )

    def update(self, edges: Tensor, linear: nn.Linear, receiver_last: bool) -> AngleFeatures:
        """f_ab + W [e_b, e_a, f_ab] + b with `receiver_last`, else f_ab + W [e_a, e_b, f_ab] + b.

        The features e are of all edges (E, C); a is the receiver.
        """
        first, second, own = linear.weight.chunk(3, dim=1)
        if receiver_last:
            first, second = second, first
        own = own + torch.eye(own.shape[0], dtype=own.dtype, device=own.device)
        edges = edges.index_select(0, self.angles.neighbour_list.nodes)
        new_first = F.linear(edges, first, linear.bias) + F.linear(self.first, own)
        new_second = F.linear(edges, second)
        if self.second is not None:
            new_second = new_second + F.linear(self.second, own)
        return replace(self, matrix=own @ self.matrix, first=new_first, second=new_second)

    def normalise(self, norm: GraphLayerNorm) -> AngleFeatures:
        """Graph layer norm, whose statistics are computed from sums of u, v and h and from their products.

        Σ |f_ab|² = Σ_a n_a (|u_a|² + |v_a|²) + 2 Σ_{a≠b} u_a · v_b + 2 s Σ_a (u_a + v_a) · M Σ_b h_ab + s² Σ |M h_ab|²
        over the pairs of a material, where a has n_a partners.
        """
        with torch.autocast(self.slot_rows.device.type, enabled=False):
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

    def to_links(self) -> LinkFeatures:
        """The features at the slots of the padded neighbour list."""
        scale = self.scale.index_select(0, self.angles.edge_batch)[:, None]
        neighbour_list = self.angles.neighbour_list
        first = self.first * neighbour_list.is_receiver()[:, None]
        return LinkFeatures(neighbour_list, self.slot_rows, self.matrix, scale, first, self.second)

    def to_dense(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """The pairs (2, T), sorted by receiver; their features (T, C); pairs that each stands for (T,), or None."""
        angles, neighbour_list = self.angles, self.angles.neighbour_list
        receiver = neighbour_list.receiver
        slots = (neighbour_list.linked & neighbour_list.exists.index_select(0, receiver)).nonzero().squeeze(1)
        first, second = receiver.index_select(0, slots), neighbour_list.sender.index_select(0, slots)
        pairs = torch.stack([neighbour_list.nodes.index_select(0, first), neighbour_list.nodes.index_select(0, second)])
        order = pairs[0].argsort(stable=True)
        slots, first, second = slots[order], first[order], second[order]
        scale = self.scale.index_select(0, angles.edge_batch.index_select(0, first))[:, None]
        values = F.linear(self.slot_rows.index_select(0, slots), self.matrix) * scale + self.first.index_select(
            0, first
        )
        if self.second is not None:
            values = values + self.second.index_select(0, second)
        return (
            pairs[:, order],
            values,
            None if neighbour_list.counts is None else neighbour_list.counts.index_select(0, slots),
        )

    def _statistics(
        self, first: Tensor, second: Tensor, matrix: Tensor, sums: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        """Mean and 1/σ of each material (B,), from u, v and M Σ_b h_ab (K, C)."""
        angles, degree, scale = self.angles, self.angles.degree, self.scale
        size = (angles.sum_per_crystal(degree) * first.shape[1]).clamp(min=1)
        both = first + second
        mean = (
            angles.sum_per_crystal(degree * both.sum(dim=1)) + scale * angles.sum_per_crystal(sums.sum(dim=1))
        ) / size
        squares = degree * (first.square() + second.square()).sum(dim=1)
        squares = squares + 2 * (first * angles.sum_over_partners(second)).sum(dim=1)
        # Σ |M h|² is the sum of the products of the elements of MᵀM and Σ h hᵀ.
        own = torch.mv(self.moments.flatten(1), (matrix.T @ matrix).flatten())
        total = angles.sum_per_crystal(squares) + 2 * scale * angles.sum_per_crystal((both * sums).sum(dim=1))
        variance = (total + 2 * scale.square() * own) / size - mean.square()
        return mean, (variance.clamp(min=0) + eps).rsqrt()


def factored_angle_features(graph: CrystalGraph, cutoff: float, embedding: AngleBasis, mlp: MLP) -> AngleFeatures:
    """Features of every angle: one row for both orders of its edges, and the last linear layer as the factor M."""
    angles: Angles
    if graph.orbits is None:
        angles = FullGraphAngles.from_graph(graph, cutoff)
    else:
        angles = OrbitAngles.from_graph(graph, graph.orbits, cutoff)
    return AngleFeatures.from_rows(angles, mlp.hidden(embedding(angles.cosines), angles.counts), mlp.last)
