"""The layer of the three-body model: edges learn from atoms, angles from edges, edges from angles, atoms from edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor, nn

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.models.fused.pair_update import split_pair_update
from dielectric_gnn.models.layers.fusable import Fusable
from dielectric_gnn.models.layers.interaction import InteractionBlock
from dielectric_gnn.models.layers.message_passing import MessagePassingFactory
from dielectric_gnn.models.layers.mlp import Activation
from dielectric_gnn.models.layers.norm import GraphLayerNorm
from dielectric_gnn.models.layers.triplets import Triplets

if TYPE_CHECKING:
    from dielectric_gnn.models.fused.angle_features import AngleFeatures
    from dielectric_gnn.models.fused.edge_features import EdgeFeatures

AnglesOf: TypeAlias = Literal["at_sender", "at_receiver"]


class PairUpdate(Fusable):
    """Features of a pair learn from its two members: f ← LayerNorm(f + W [x_a, x_b, f] + b).

    Shapes:
        features (P, C), members (M, C), pairs (2, P) positions of the members, batch (P,) int64, counts (P,), how many
        equal pairs each stands for; None means one → (P, C).

    Args:
        dim: C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * dim, dim)
        self.norm = GraphLayerNorm(dim)

    def forward(
        self,
        features: Tensor | EdgeFeatures,
        members: Tensor,
        pairs: Tensor,
        batch: Tensor,
        num_crystals: int,
        counts: Tensor | None = None,
    ) -> Tensor:
        """Update every pair."""
        if self.fused or not isinstance(features, Tensor):
            updated = split_pair_update(features, members, pairs, self.linear.weight, self.linear.bias)
        else:
            first, second = pairs
            updated = features + self.linear(torch.cat([members[first], members[second], features], dim=1))
        out: Tensor = self.norm(updated, batch, num_crystals, counts)
        return out


class TripletLayer(nn.Module):
    """Edges learn from atoms, angles from edges, edges from angles, and atoms from edges.

    The third step is message passing on the edge graph: its nodes are the edges, its links the three-body pairs. A pair
    of sender a and receiver b is a link, and its update is f + W [e_a, e_b, f]. In the fourth step an atom receives
    from the edges that end at it, j → i, whose features depend on the angles at j, the sender.

    Args:
        dim: Width h of atoms, edges and angles.
        message_passing: Layer used on the atoms.
        expansion: Hidden width of the MLPs in the blocks, in units of h.
        angles: `at_sender`, as published, or `at_receiver`: the update of a pair is f + W [e_b, e_a, f], and an atom i
            receives from the edges i → j that start at it, whose features depend on the angles at i.
        edge_message_passing: Layer used on the edges; None means the same as on the atoms.
        edge_expansion: Hidden width of the MLP in the block of the edges; None means the same as of the atoms.
        activation: Of the MLPs.
    """

    def __init__(
        self,
        dim: int,
        message_passing: MessagePassingFactory,
        expansion: int,
        angles: AnglesOf = "at_sender",
        edge_message_passing: MessagePassingFactory | None = None,
        edge_expansion: int | None = None,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        self.angles_at_sender = angles == "at_sender"
        self.edge_update = PairUpdate(dim)
        self.angle_update = PairUpdate(dim)
        on_edges = edge_message_passing or message_passing
        self.edge_block = InteractionBlock(dim, on_edges, edge_expansion or expansion, activation)
        self.atom_block = InteractionBlock(dim, message_passing, expansion, activation)

    def forward(
        self, x: Tensor, edges: Tensor, angles: Tensor, graph: CrystalGraph, triplets: Triplets
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Atoms (N, h), edges (E, h) and angles (T, h) → the same, updated."""
        size, edge_batch, (atom_counts, edge_counts) = graph.num_crystals, *_batch_and_counts(graph)
        edges = self.edge_update(edges, x, graph.edge_index, edge_batch, size, edge_counts)
        links = triplets.pairs  # receivers and senders, each an edge
        members = links.flip(0) if self.angles_at_sender else links
        angles = self.angle_update(angles, edges, members, triplets.batch, size, triplets.totals)
        edges = self.edge_block(edges, links, angles, edge_batch, size, edge_counts, triplets.partners)
        received = edges[graph.reverse] if self.angles_at_sender else edges
        neighbours = None if graph.orbits is None else graph.orbits.edge_counts
        x = self.atom_block(x, graph.edge_index, received, graph.batch, size, atom_counts, neighbours)
        return x, edges, angles

    def forward_factored(
        self, x: Tensor, edges: EdgeFeatures, angles: AngleFeatures, graph: CrystalGraph
    ) -> tuple[Tensor, EdgeFeatures, AngleFeatures]:
        """The same for features of edges and angles in factors."""
        size, edge_batch, (atom_counts, edge_counts) = graph.num_crystals, *_batch_and_counts(graph)
        rows = self.edge_update(edges, x, graph.edge_index, edge_batch, size, edge_counts)
        angles = angles.update(rows, self.angle_update.linear, receiver_last=self.angles_at_sender)
        angles = angles.normalise(self.angle_update.norm)
        rows = self.edge_block(rows, graph.edge_index, angles, edge_batch, size, edge_counts)
        edges = received = edges.with_rows(rows)
        if self.angles_at_sender:
            received = edges.reversed(graph.reverse)
        x = self.atom_block(x, graph.edge_index, received, graph.batch, size, atom_counts)
        return x, edges, angles


def _batch_and_counts(graph: CrystalGraph) -> tuple[Tensor, tuple[Tensor | None, Tensor | None]]:
    """The material of each edge (E,); how many equal atoms and edges of the material each stands for, or None."""
    sources = graph.edge_index[0]
    batch = graph.batch.index_select(0, sources)
    if graph.orbits is None:
        return batch, (None, None)
    return batch, (graph.orbits.atom_counts, graph.orbits.edge_totals(sources))
