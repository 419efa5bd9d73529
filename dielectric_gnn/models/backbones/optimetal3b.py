"""OptiMetal3B: the three-body model of the published scaling study, arXiv:2602.05702."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.store.descriptions import THREE_BODY_CUTOFF
from dielectric_gnn.models.backbones.base import AtomFeatures, Backbone
from dielectric_gnn.models.backbones.optimetal2b import edge_features
from dielectric_gnn.models.fused.angle_features import AngleFeatures
from dielectric_gnn.models.fused.angles import EveryAngle, OrbitAngles
from dielectric_gnn.models.fused.edge_features import EdgeFeatures, FactoredFeatures
from dielectric_gnn.models.layers.embedding import GroupPeriodEmbedding, NodeEmbedding
from dielectric_gnn.models.layers.interaction import InteractionBlock
from dielectric_gnn.models.layers.message_passing import MessagePassing, MessagePassingFactory, TransformerConv
from dielectric_gnn.models.layers.mlp import MLP, Activation
from dielectric_gnn.models.layers.norm import GraphLayerNorm
from dielectric_gnn.models.layers.radial import GaussianBasis, RadialBasis
from dielectric_gnn.models.layers.triplets import AngleBasis
from dielectric_gnn.utils.errors import InputError

AnglesOf: TypeAlias = Literal["at_sender", "at_receiver"]


class PairUpdate(nn.Module):
    """Features of a pair learn from its two members: f ← LayerNorm(f + W [x_a, x_b, f] + b).

    The blocks of W for the members act once per member instead of once per pair, which is exact.

    Shapes:
        features (P, C), members (M, C), pairs (2, P) positions of the members, batch (P,) → (P, C).

    Args:
        dim: C.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
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
        """Update every pair, which may stand for several equal ones (P,)."""
        first, second, own = self.linear.weight.chunk(3, dim=1)
        # The residual is folded into the matrix that acts on the features: (1 + W) f.
        own = own + torch.eye(self.dim, dtype=own.dtype, device=own.device)
        updated = features.linear(own) if isinstance(features, EdgeFeatures) else F.linear(features, own)
        updated = updated + F.linear(members, first, self.linear.bias).index_select(0, pairs[0])
        updated = updated + F.linear(members, second).index_select(0, pairs[1])
        out: Tensor = self.norm(updated, batch, num_crystals, counts)
        return out


class TripletLayer(nn.Module):
    """Edges learn from atoms, angles from edges, edges from angles, and atoms from edges.

    The third step is message passing on the edge graph: its nodes are the edges, its links the three-body pairs. A pair
    (a, b) is a link from a to b, so that b collects, and its update is f + W [e_a, e_b, f]. In the fourth step an atom
    collects the edges that end at it, j → i, whose features depend on the angles at j, the sender.

    Args:
        dim: Width h of atoms, edges and angles.
        message_passing: Layer used on the atoms.
        expansion: Hidden width of the MLPs in the blocks, in units of h.
        angles: `at_sender`, as published, or `at_receiver`: a collects from b, and an atom i collects the edges i → j
            that start at it, whose features depend on the angles at i.
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
        self, x: Tensor, edges: EdgeFeatures, angles: AngleFeatures, graph: CrystalGraph
    ) -> tuple[Tensor, EdgeFeatures, AngleFeatures]:
        """Atoms (N, h), edges and angles → the same, updated."""
        num_crystals = graph.num_crystals
        edge_batch = graph.batch.index_select(0, graph.edge_index[0])
        atom_counts = edge_counts = None
        if graph.orbits is not None:
            atom_counts, edge_counts = graph.orbits.atom_counts, graph.orbits.edge_totals(graph.edge_index[0])
        rows = self.edge_update(edges, x, graph.edge_index, edge_batch, num_crystals, edge_counts)
        angles = angles.updated(rows, self.angle_update.linear, receiver_last=self.angles_at_sender)
        angles = angles.normalised(self.angle_update.norm)
        rows = self.edge_block(rows, None, angles, edge_batch, num_crystals, edge_counts)
        edges = collected = EdgeFeatures(edges.edges, rows)
        if self.angles_at_sender:  # edges are sorted by the atom that they leave; their reverses end there
            collected = EdgeFeatures(edges.edges, rows, graph.reverse, graph.reverse[None])
        x = self.atom_block(x, graph.edge_index, collected, graph.batch, num_crystals, atom_counts)
        return x, edges, angles


class OptiMetal3B(Backbone):
    """Three-body crystal graph network: elements, distances and angles through MLPs, then triplet layers.

    Args:
        width: h, the width of everything; 256 in the published data scaling.
        num_layers: Triplet layers.
        node_embedding: Elements as features; a subclass of `NodeEmbedding`, by class path.
        edge_embedding: Distances as features; a subclass of `RadialBasis`, by class path.
        message_passing: Layer on atoms and edges; a subclass of `MessagePassing`, by class path.
        edge_message_passing: Another layer on edges; null means the same.
        l_max: Highest degree of the angle features, 1 to 4.
        expansion: Hidden width of the MLP in a block, in units of h.
        cutoff: Distance up to which atoms are neighbours (Å).
        three_body_cutoff: Largest length of both edges of a three-body pair (Å), at most `cutoff`.
        angles: Which angles the edges carry that an atom collects. `at_sender`: those at its neighbour, as published;
            `at_receiver`: those at the atom itself, as in checkpoints of version 0.1 before this option.
        edge_expansion: Hidden width of the MLP in the block of the edges, in units of h; null means `expansion`.
        depth: Hidden layers of the MLPs of elements, distances and angles.
        activation: Of all MLPs.
    """

    def __init__(
        self,
        width: int = 256,
        num_layers: int = 2,
        node_embedding: Callable[[], NodeEmbedding] = GroupPeriodEmbedding,
        edge_embedding: Callable[[float], RadialBasis] = GaussianBasis,
        message_passing: Callable[[int, int], MessagePassing] = TransformerConv,
        l_max: int = 3,
        expansion: int = 6,
        cutoff: float = DEFAULT_CUTOFF,
        three_body_cutoff: float = 4.0,
        edge_message_passing: Callable[[int, int], MessagePassing] | None = None,
        angles: AnglesOf = "at_sender",
        edge_expansion: int | None = None,
        depth: int = 2,
        activation: Activation = "relu",
    ) -> None:
        super().__init__(scalar_dim=width, cutoff=cutoff)
        if not 0 < three_body_cutoff <= cutoff:
            raise InputError(
                f"three_body_cutoff is {three_body_cutoff} Å and cutoff {cutoff} Å; three-body pairs are made of "
                "edges, so the first must be positive and at most the second"
            )
        self.three_body_cutoff = three_body_cutoff
        widths = [width] * (depth + 1)
        self.node_embedding = node_embedding()
        self.node_mlp = MLP([self.node_embedding.dim, *widths], activation)
        self.edge_embedding = edge_embedding(cutoff)
        self.edge_mlp = MLP([self.edge_embedding.dim, *widths], activation)
        self.angle_embedding = AngleBasis(l_max)
        self.angle_mlp = MLP([self.angle_embedding.dim, *widths], activation)
        self.layers = nn.ModuleList(
            TripletLayer(width, message_passing, expansion, angles, edge_message_passing, edge_expansion, activation)
            for _ in range(num_layers)
        )
        convs = [layer.conv for layer in self.modules() if isinstance(layer, InteractionBlock)]
        # Orbit graphs know the pairs up to there.
        known = three_body_cutoff <= THREE_BODY_CUTOFF
        self.supports_orbits = known and all(FactoredFeatures in conv.takes for conv in convs)

    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom: scalars (N, h)."""
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers), graph.orbits.atom_counts if graph.orbits else 1)
        edges = edge_features(graph, self.edge_embedding, self.edge_mlp)
        angles = angle_features(graph, self.three_body_cutoff, self.angle_embedding, self.angle_mlp)
        for layer in self.layers:
            x, edges, angles = layer(x, edges, angles, graph)
        return AtomFeatures(x)


def angle_features(graph: CrystalGraph, cutoff: float, embedding: AngleBasis, mlp: MLP) -> AngleFeatures:
    """Features of every angle: one row for both orders of its edges, and the last linear layer still to come."""
    angles = EveryAngle.of(graph, cutoff) if graph.orbits is None else OrbitAngles.of(graph, graph.orbits, cutoff)
    return AngleFeatures.of(angles, mlp.hidden(embedding(angles.cosines), angles.counts), mlp.last)
