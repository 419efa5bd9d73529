"""OptiMetal3B: the three-body model of the published scaling study, arXiv:2602.05702."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from torch import nn

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.store.descriptions import THREE_BODY_CUTOFF
from dielectric_gnn.models.backbones.base import AtomFeatures, Backbone
from dielectric_gnn.models.fused.angle_features import factored_angle_features
from dielectric_gnn.models.fused.edge_features import factored_edge_features
from dielectric_gnn.models.layers.angle_basis import AngleBasis
from dielectric_gnn.models.layers.embedding import GroupPeriodEmbedding, NodeEmbedding
from dielectric_gnn.models.layers.fusable import FusedOption
from dielectric_gnn.models.layers.interaction import InteractionBlock
from dielectric_gnn.models.layers.message_passing import MessagePassing, TransformerConv
from dielectric_gnn.models.layers.mlp import MLP, Activation
from dielectric_gnn.models.layers.radial import GaussianBasis, RadialBasis
from dielectric_gnn.models.layers.triplet_layer import AnglesOf, TripletLayer
from dielectric_gnn.models.layers.triplets import Triplets
from dielectric_gnn.utils.errors import InputError


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
        angles: Which angles enter the edges that an atom receives from. `at_sender`: those at its neighbour, as
            published; `at_receiver`: those at the atom itself, as in checkpoints of version 0.1 before this option.
        edge_expansion: Hidden width of the MLP in the block of the edges, in units of h; null means `expansion`.
        depth: Hidden layers of the MLPs of elements, distances and angles.
        activation: Of all MLPs.
        fused: `auto` for the fused forms of the layers, `off` for the plain ones, which are slower but easy to read.
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
        fused: FusedOption = "auto",
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
        convs = [block.conv for block in self.modules() if isinstance(block, InteractionBlock)]
        # Orbit graphs hold the three-body pairs up to THREE_BODY_CUTOFF.
        within_orbits = three_body_cutoff <= THREE_BODY_CUTOFF
        self.supports_orbits = within_orbits and all(conv.supports_orbits for conv in convs)
        self.set_fused(fused)

    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom: scalars (N, h)."""
        if self.fused:
            return self._forward_factored(graph)
        orbits, sources = graph.orbits, graph.edge_index[0]
        triplets = Triplets.from_graph(graph, self.three_body_cutoff)
        atom_counts, edge_counts = (orbits.atom_counts, orbits.edge_totals(sources)) if orbits else (1, 1)
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers), atom_counts)
        edges = self.edge_mlp(self.edge_embedding(graph.edge_lengths), edge_counts)
        angles = self.angle_mlp(self.angle_embedding(triplets.cosines), triplets.totals if orbits else 1)
        for layer in self.layers:
            x, edges, angles = layer(x, edges, angles, graph, triplets)
        return AtomFeatures(x)

    def _forward_factored(self, graph: CrystalGraph) -> AtomFeatures:
        """The same with features of edges and angles in factors."""
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers), graph.orbits.atom_counts if graph.orbits else 1)
        edges = factored_edge_features(graph, self.edge_embedding, self.edge_mlp)
        angles = factored_angle_features(graph, self.three_body_cutoff, self.angle_embedding, self.angle_mlp)
        for layer in self.layers:
            x, edges, angles = cast("TripletLayer", layer).forward_factored(x, edges, angles, graph)
        return AtomFeatures(x)
