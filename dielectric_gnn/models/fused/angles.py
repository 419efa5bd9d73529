"""The three-body pairs of a batch, every angle once, arranged for sums over the partners of an edge."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from dielectric_gnn.data.graphs.graph import CrystalGraph, Orbits
from dielectric_gnn.data.graphs.neighbours import within
from dielectric_gnn.models.fused.neighbour_list import (
    Bucket,
    Neighbourhoods,
    atom_neighbourhoods,
    gather_rows,
    groups_of_equal_size,
    members,
    most_buckets,
    positions_of,
)
from dielectric_gnn.models.layers.segment import segment_sum, weight_by_count
from dielectric_gnn.models.layers.triplets import clamped, cosines_of, pairs_once


@dataclass(frozen=True)
class Angles(ABC):
    """The three-body pairs of a batch as links among edges, which share a row for their angle.

    Shapes:
        hoods: The pairs as slots, among K numbered edges. cosines: (U,), one for each row of angles. batch: (U,) int64,
        the crystal of each. edge_batch: (K,) int64, the crystal of each edge. degree: (K,), partners of each edge.
    """

    hoods: Neighbourhoods
    cosines: Tensor
    batch: Tensor
    edge_batch: Tensor
    degree: Tensor
    num_crystals: int

    @property
    @abstractmethod
    def counts(self) -> int | Tensor:
        """How many pairs each row stands for: one number for all, or (U,)."""

    @abstractmethod
    def spread(self, rows: Tensor) -> Tensor:
        """Rows of the angles (U, F) at the slots (S, F)."""

    @abstractmethod
    def partner_sums(self, rows: Tensor) -> Tensor:
        """Σ_b h_ab of the rows (U, F) over the partners b of each edge a (K, F)."""

    @abstractmethod
    def sums_of_partners(self, values: Tensor) -> Tensor:
        """Σ_b v_b of values of edges (K, C) over the partners b of each edge a (K, C)."""

    def per_crystal(self, edge_values: Tensor) -> Tensor:
        """Sum of (K,) over the edges of each crystal (B,)."""
        return segment_sum(edge_values, self.edge_batch, self.num_crystals)


@dataclass(frozen=True)
class EveryAngle(Angles):
    """Every angle has its row, although both of its orders are pairs.

    Shapes:
        angle_of_slot: (S,) int64. slots_of_angle: (2, U) int64, of both orders, U = T / 2. edges_of_angle: (2, U)
        int64, numbers of its edges. atom: (K,) int64, source of each edge. Repeated edges have degree zero.
    """

    angle_of_slot: Tensor
    slots_of_angle: Tensor
    edges_of_angle: Tensor
    atom: Tensor
    num_atoms: int

    @classmethod
    def of(cls, graph: CrystalGraph, cutoff: float) -> EveryAngle:
        """The angles between edges up to `cutoff` (Å)."""
        short = within(graph.edge_lengths, cutoff).nonzero().squeeze(1)
        sources = graph.edge_index[0].index_select(0, short)
        once = pairs_once(sources)
        first = short.index_select(0, once[0])
        hoods, angle_of_slot, slots_of_angle = _pair_neighbourhoods(sources, short, first.shape[0], graph)
        cosines = cosines_of(graph, short, once)
        atom = graph.edge_index[0].index_select(0, hoods.nodes)
        upper = slots_of_angle[0]
        members_of = torch.stack([hoods.collector.index_select(0, upper), hoods.neighbour.index_select(0, upper)])
        degree = segment_sum(torch.ones_like(cosines).repeat(2), members_of.flatten(), hoods.nodes.shape[0])
        of_angle = graph.batch.index_select(0, graph.edge_index[0].index_select(0, first))
        of_edge = graph.batch.index_select(0, atom)
        common = (hoods, cosines, of_angle, of_edge, degree, graph.num_crystals)
        return cls(*common, angle_of_slot, slots_of_angle, members_of, atom, graph.num_atoms)

    @property
    def counts(self) -> int:
        """Both orders of an angle."""
        return 2

    def spread(self, rows: Tensor) -> Tensor:
        """Rows at the slots."""
        return gather_rows(rows, self.angle_of_slot, self.slots_of_angle)

    def partner_sums(self, rows: Tensor) -> Tensor:
        """Σ_b h_ab."""
        first, second = (segment_sum(rows, edges, self.degree.shape[0]) for edges in self.edges_of_angle)
        return first + second

    def sums_of_partners(self, values: Tensor) -> Tensor:
        """The partners of an edge are all others at its atom: Σ_b v_b − v_a."""
        exists = self.hoods.exists[:, None]
        real = values * exists
        at_atom = segment_sum(real, self.atom, self.num_atoms)
        return (at_atom.index_select(0, self.atom) - real) * exists


@dataclass(frozen=True)
class OrbitAngles(Angles):
    """Equal angles of a crystal share a row, and equal partners of an edge a slot.

    Shapes:
        pair_counts: (U,), pairs of each row. collector, neighbour, row: (T,) int64, of each class of pairs, numbers of
        its edges and its row. partners: (T,), how many of them each edge has. row_of_slot: (S,) int64. totals: (K,),
        edges that each numbered edge stands for.
    """

    pair_counts: Tensor
    collector: Tensor
    neighbour: Tensor
    row: Tensor
    partners: Tensor
    row_of_slot: Tensor
    totals: Tensor

    @classmethod
    def of(cls, graph: CrystalGraph, orbits: Orbits, cutoff: float) -> OrbitAngles:
        """The angles between edges up to `cutoff` (Å)."""
        short = within(graph.edge_lengths, cutoff)
        kept = short[orbits.pairs].all(dim=0).nonzero().squeeze(1)
        pairs, partners = orbits.pairs.index_select(1, kept), orbits.pair_counts.index_select(0, kept)
        hoods, pair_of_slot, slot_of_pair = atom_neighbourhoods(pairs, graph.edge_index.shape[1], partners)
        sources = graph.edge_index[0]
        edge_batch, totals = graph.batch.index_select(0, sources), orbits.edge_totals(sources)
        every_cosine = clamped(orbits.cosines.index_select(0, kept))
        cosines, batch, row = _distinct(every_cosine, edge_batch.index_select(0, pairs[0]))
        collector, neighbour = (part.index_select(0, slot_of_pair) for part in (hoods.collector, hoods.neighbour))
        degree = segment_sum(partners, collector, hoods.nodes.shape[0])
        pair_counts = segment_sum(partners * totals.index_select(0, pairs[0]), row, cosines.shape[0])
        edge_batch, totals = (part.index_select(0, hoods.nodes) for part in (edge_batch, totals))
        common = (hoods, cosines, batch, edge_batch, degree, graph.num_crystals)
        return cls(*common, pair_counts, collector, neighbour, row, partners, row.index_select(0, pair_of_slot), totals)

    @property
    def counts(self) -> Tensor:
        """Pairs of each row."""
        return self.pair_counts

    def spread(self, rows: Tensor) -> Tensor:
        """Rows at the slots."""
        return rows.index_select(0, self.row_of_slot)

    def partner_sums(self, rows: Tensor) -> Tensor:
        """Σ_b h_ab."""
        of_pair = weight_by_count(rows.index_select(0, self.row), self.partners)
        return segment_sum(of_pair, self.collector, self.degree.shape[0])

    def sums_of_partners(self, values: Tensor) -> Tensor:
        """Σ_b v_b."""
        of_pair = weight_by_count(values.index_select(0, self.neighbour), self.partners)
        return segment_sum(of_pair, self.collector, self.degree.shape[0])

    def per_crystal(self, edge_values: Tensor) -> Tensor:
        """Sum over all edges of each crystal."""
        return super().per_crystal(edge_values * self.totals)


def _distinct(values: Tensor, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Different cosines of each crystal (U,), sorted by crystal; their crystal (U,); the row of each value (T,)."""
    # Cosines lie within ±1, so these numbers tell crystals apart; double precision keeps every digit of single.
    keys, row = (4.0 * batch + values.double()).unique(return_inverse=True)  # type: ignore[no-untyped-call]
    any_of_row = torch.empty_like(keys, dtype=torch.long).scatter_(
        0, row, torch.arange(row.shape[0], device=row.device)
    )
    return values.index_select(0, any_of_row), batch.index_select(0, any_of_row), row


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
    for size, atoms in groups_of_equal_size(counts, 2, most_buckets(2 * num_angles, edges.device)):
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
