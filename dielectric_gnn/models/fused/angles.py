"""Three-body pairs whose two orders share one row of their angle, as a padded neighbour list.

The angle features of the pairs (a, b) and (b, a) are equal, so layers act on one row for both. In an orbit graph, all
pairs of a material that have the same cosine share a row. The partners of an edge are its senders; they are all other
edges at the same atom, so Σ_b v_b over the partners of a is the sum at the atom minus v_a.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from dielectric_gnn.data.graphs.graph import CrystalGraph, Orbits
from dielectric_gnn.data.graphs.neighbours import within
from dielectric_gnn.models.fused.gather import gather_rows
from dielectric_gnn.models.fused.neighbour_list import (
    Bucket,
    PaddedNeighbourList,
    groups_of_equal_size,
    max_buckets,
    padded_members,
    padded_neighbour_list,
    positions_of,
)
from dielectric_gnn.models.layers.segment import segment_sum, weight_by_count
from dielectric_gnn.models.layers.triplets import clamp_cosines, cosines_of, pairs_once


@dataclass(frozen=True)
class Angles(ABC):
    """The three-body pairs of a batch as links among edges.

    Shapes:
        neighbour_list: The pairs as slots, among K renumbered edges. cosines: (U,), one for each row of angles. batch:
        (U,) int64, the material of each row. edge_batch: (K,) int64, the material of each edge. degree: (K,), number of
        partners of each edge.
    """

    neighbour_list: PaddedNeighbourList
    cosines: Tensor
    batch: Tensor
    edge_batch: Tensor
    degree: Tensor
    num_crystals: int

    @property
    @abstractmethod
    def counts(self) -> int | Tensor:
        """Number of pairs that each row stands for: one number for all, or (U,)."""

    @abstractmethod
    def rows_at_slots(self, rows: Tensor) -> Tensor:
        """Rows of the angles (U, F) at the slots (S, F)."""

    @abstractmethod
    def sum_rows_over_partners(self, rows: Tensor) -> Tensor:
        """Σ_b h_ab of the rows (U, F) over the partners b of each edge a (K, F)."""

    @abstractmethod
    def sum_over_partners(self, values: Tensor) -> Tensor:
        """Σ_b v_b of values of edges (K, C) over the partners b of each edge a (K, C)."""

    def sum_per_crystal(self, edge_values: Tensor) -> Tensor:
        """Sum of (K,) over the edges of each crystal (B,)."""
        return segment_sum(edge_values, self.edge_batch, self.num_crystals)


@dataclass(frozen=True)
class FullGraphAngles(Angles):
    """The pairs of a full graph: one row for each angle, which is two pairs.

    Shapes:
        angle_of_slot: (S,) int64. slots_of_angle: (2, U) int64, of both orders, U = T / 2. edges_of_angle: (2, U)
        int64, numbers of its edges. atom: (K,) int64, source of each edge. Padding has degree zero.
    """

    angle_of_slot: Tensor
    slots_of_angle: Tensor
    edges_of_angle: Tensor
    atom: Tensor
    num_atoms: int

    @classmethod
    def from_graph(cls, graph: CrystalGraph, cutoff: float) -> FullGraphAngles:
        """The angles between edges up to `cutoff` (Å)."""
        short = within(graph.edge_lengths, cutoff).nonzero().squeeze(1)
        sources = graph.edge_index[0].index_select(0, short)
        once = pairs_once(sources)
        first = short.index_select(0, once[0])
        neighbour_list, angle_of_slot, slots_of_angle = _pair_neighbour_list(sources, short, first.shape[0], graph)
        cosines = cosines_of(graph, short, once)
        atom = graph.edge_index[0].index_select(0, neighbour_list.nodes)
        upper = slots_of_angle[0]
        ends = (neighbour_list.receiver, neighbour_list.sender)
        members = torch.stack([end.index_select(0, upper) for end in ends])
        degree = segment_sum(torch.ones_like(cosines).repeat(2), members.flatten(), neighbour_list.nodes.shape[0])
        of_angle = graph.batch.index_select(0, graph.edge_index[0].index_select(0, first))
        of_edge = graph.batch.index_select(0, atom)
        common = (neighbour_list, cosines, of_angle, of_edge, degree, graph.num_crystals)
        return cls(*common, angle_of_slot, slots_of_angle, members, atom, graph.num_atoms)

    @property
    def counts(self) -> int:
        """Both orders of an angle."""
        return 2

    def rows_at_slots(self, rows: Tensor) -> Tensor:
        """Rows at the slots."""
        return gather_rows(rows, self.angle_of_slot, self.slots_of_angle)

    def sum_rows_over_partners(self, rows: Tensor) -> Tensor:
        """Σ_b h_ab."""
        first, second = (segment_sum(rows, edges, self.degree.shape[0]) for edges in self.edges_of_angle)
        return first + second

    def sum_over_partners(self, values: Tensor) -> Tensor:
        """Σ_b v_b, as the sum at the atom minus v_a."""
        exists = self.neighbour_list.exists[:, None]
        real = values * exists
        at_atom = segment_sum(real, self.atom, self.num_atoms)
        return (at_atom.index_select(0, self.atom) - real) * exists


@dataclass(frozen=True)
class OrbitAngles(Angles):
    """The pairs of an orbit graph: equal angles of a material share a row, and equal partners of an edge a slot.

    Shapes:
        pair_counts: (U,), pairs of each row. receiver, sender, row: (T,) int64, of each class of pairs, the numbers
        of its edges and its row. partners: (T,), how many of them each edge has. row_of_slot: (S,) int64. totals: (K,),
        edges that each numbered edge stands for.
    """

    pair_counts: Tensor
    receiver: Tensor
    sender: Tensor
    row: Tensor
    partners: Tensor
    row_of_slot: Tensor
    totals: Tensor

    @classmethod
    def from_graph(cls, graph: CrystalGraph, orbits: Orbits, cutoff: float) -> OrbitAngles:
        """The angles between edges up to `cutoff` (Å)."""
        short = within(graph.edge_lengths, cutoff)
        kept = short[orbits.pairs].all(dim=0).nonzero().squeeze(1)
        pairs, partners = orbits.pairs.index_select(1, kept), orbits.pair_counts.index_select(0, kept)
        neighbour_list, pair_of_slot, slot_of_pair = padded_neighbour_list(pairs, graph.edge_index.shape[1], partners)
        sources = graph.edge_index[0]
        edge_batch, totals = graph.batch.index_select(0, sources), orbits.edge_totals(sources)
        every_cosine = clamp_cosines(orbits.cosines.index_select(0, kept))
        cosines, batch, row = _distinct_cosines(every_cosine, edge_batch.index_select(0, pairs[0]))
        ends = (neighbour_list.receiver, neighbour_list.sender)
        receiver, sender = (end.index_select(0, slot_of_pair) for end in ends)
        degree = segment_sum(partners, receiver, neighbour_list.nodes.shape[0])
        pair_counts = segment_sum(partners * totals.index_select(0, pairs[0]), row, cosines.shape[0])
        edge_batch, totals = (part.index_select(0, neighbour_list.nodes) for part in (edge_batch, totals))
        common = (neighbour_list, cosines, batch, edge_batch, degree, graph.num_crystals)
        return cls(*common, pair_counts, receiver, sender, row, partners, row.index_select(0, pair_of_slot), totals)

    @property
    def counts(self) -> Tensor:
        """Pairs of each row."""
        return self.pair_counts

    def rows_at_slots(self, rows: Tensor) -> Tensor:
        """Rows at the slots."""
        return rows.index_select(0, self.row_of_slot)

    def sum_rows_over_partners(self, rows: Tensor) -> Tensor:
        """Σ_b h_ab."""
        of_pair = weight_by_count(rows.index_select(0, self.row), self.partners)
        return segment_sum(of_pair, self.receiver, self.degree.shape[0])

    def sum_over_partners(self, values: Tensor) -> Tensor:
        """Σ_b v_b."""
        of_pair = weight_by_count(values.index_select(0, self.sender), self.partners)
        return segment_sum(of_pair, self.receiver, self.degree.shape[0])

    def sum_per_crystal(self, edge_values: Tensor) -> Tensor:
        """Sum over all edges of each crystal."""
        return super().sum_per_crystal(edge_values * self.totals)


def _distinct_cosines(values: Tensor, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Different cosines of each material (U,), sorted by material; their material (U,); the row of each value (T,)."""
    # Cosines lie within ±1, so the keys of two materials differ; double precision keeps all digits of single.
    keys, row = (4.0 * batch + values.double()).unique(return_inverse=True)  # type: ignore[no-untyped-call]
    any_of_row = torch.empty_like(keys, dtype=torch.long).scatter_(
        0, row, torch.arange(row.shape[0], device=row.device)
    )
    return values.index_select(0, any_of_row), batch.index_select(0, any_of_row), row


def _pair_neighbour_list(
    sources: Tensor, edges: Tensor, num_angles: int, graph: CrystalGraph
) -> tuple[PaddedNeighbourList, Tensor, Tensor]:
    """The padded neighbour list of pairs of edges with the same source, edges being numbered in order.

    Shapes:
        sources, edges (K',), sorted → the list, the angle of each slot (S,), both slots of each angle (2, U).
    """
    counts = sources.new_zeros(graph.num_atoms).index_add_(0, sources, torch.ones_like(sources))
    angles = counts * (counts - 1) // 2
    first_angle = angles.cumsum(0) - angles
    buckets: list[Bucket] = []
    parts: list[list[Tensor]] = []
    first_node = first_slot = 0
    for size, atoms in groups_of_equal_size(counts, 2, max_buckets(2 * num_angles, edges.device)):
        rows, exists = padded_members(counts, atoms, size)
        count, column = counts.index_select(0, atoms)[:, None, None], torch.arange(size, device=edges.device)
        low, high = torch.minimum(column[:, None], column), torch.maximum(column[:, None], column)
        # Angles are numbered by their first edge, then by their second edge.
        angle = low * count - low * (low + 1) // 2 + high - low - 1
        linked = exists[:, None, :] & (low != high)
        angle = angle.where(linked & exists[:, :, None], 0) + first_angle.index_select(0, atoms)[:, None, None]
        upper = linked & exists[:, :, None] & (column[:, None] < column)
        lower = linked & exists[:, :, None] & (column[:, None] > column)
        numbers = first_node + torch.arange(rows.numel(), device=edges.device).view(-1, size)
        sender, receiver = numbers[:, None, :].expand(-1, size, -1), numbers[:, :, None].expand(-1, -1, size)
        nodes = edges.index_select(0, rows.flatten())
        parts.append([item.flatten() for item in (nodes, exists, receiver, sender, linked, angle, upper, lower)])
        buckets.append(Bucket(atoms.shape[0], size, size, first_node, first_slot, mutual=True))
        first_node, first_slot = buckets[-1].nodes.stop, buckets[-1].slots.stop
    none = [edges.new_zeros(0)] * 8
    joined = [torch.cat(list(items)) for items in zip(none, *parts, strict=True)]
    nodes, exists, receiver, sender, linked, angle, upper, lower = joined
    neighbour_list = PaddedNeighbourList(
        tuple(buckets), nodes, exists.bool(), receiver, sender, linked.bool(), graph.edge_index.shape[1]
    )
    slots = torch.stack([positions_of(angle, half.bool(), num_angles) for half in (upper, lower)])
    return neighbour_list, angle, slots
