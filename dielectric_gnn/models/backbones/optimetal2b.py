"""OptiMetal2B: the two-body model of the published scaling study, arXiv:2602.05702."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.models.backbones.base import AtomFeatures, Backbone
from dielectric_gnn.models.fused.edge_features import factored_edge_features
from dielectric_gnn.models.layers.embedding import GroupPeriodEmbedding, NodeEmbedding
from dielectric_gnn.models.layers.fusable import FusedOption
from dielectric_gnn.models.layers.interaction import ConvolutionBlock, InteractionBlock
from dielectric_gnn.models.layers.message_passing import CGConv, MessagePassing
from dielectric_gnn.models.layers.mlp import MLP, Activation
from dielectric_gnn.models.layers.radial import GaussianBasis, RadialBasis


class OptiMetal2B(Backbone):
    """Two-body crystal graph network: elements and distances through MLPs, then interaction blocks.

    Args:
        width: h, the width of everything; 256 in the published data scaling, 16 to 1024 in width scaling.
        num_layers: Interaction blocks.
        node_embedding: Elements as features; a subclass of `NodeEmbedding`, by class path.
        edge_embedding: Distances as features; a subclass of `RadialBasis`, by class path.
        message_passing: Layer of each block; a subclass of `MessagePassing`, by class path.
        expansion: Hidden width of the MLP in a block, in units of h.
        cutoff: Distance up to which atoms are neighbours (Å).
        depth: Hidden layers of the MLPs of elements and distances.
        activation: Of all MLPs.
        residual_blocks: Whether x + MLP(x) and a norm follow each message passing; without them, this is the
            `no_residual` variant of the published search.
        fused: `auto` for the fused forms of the layers, `off` for the plain ones, which are slower but easy to read.
    """

    def __init__(
        self,
        width: int = 256,
        num_layers: int = 2,
        node_embedding: Callable[[], NodeEmbedding] = GroupPeriodEmbedding,
        edge_embedding: Callable[[float], RadialBasis] = GaussianBasis,
        message_passing: Callable[[int, int], MessagePassing] = CGConv,
        expansion: int = 6,
        cutoff: float = DEFAULT_CUTOFF,
        depth: int = 2,
        activation: Activation = "relu",
        residual_blocks: bool = True,
        fused: FusedOption = "auto",
    ) -> None:
        super().__init__(scalar_dim=width, cutoff=cutoff)
        widths = [width] * (depth + 1)
        self.node_embedding = node_embedding()
        self.node_mlp = MLP([self.node_embedding.dim, *widths], activation)
        self.edge_embedding = edge_embedding(cutoff)
        self.edge_mlp = MLP([self.edge_embedding.dim, *widths], activation)
        blocks = [
            InteractionBlock(width, message_passing, expansion, activation)
            if residual_blocks
            else ConvolutionBlock(width, message_passing)
            for _ in range(num_layers)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.supports_orbits = all(block.conv.supports_orbits for block in blocks)
        self.set_fused(fused)

    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom: scalars (N, h)."""
        orbits, edge_index, size = graph.orbits, graph.edge_index, graph.num_crystals
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers), orbits.atom_counts if orbits else 1)
        if self.fused:
            edges = factored_edge_features(graph, self.edge_embedding, self.edge_mlp)
        else:
            edge_counts = orbits.edge_totals(edge_index[0]) if orbits else 1
            edges = self.edge_mlp(self.edge_embedding(graph.edge_lengths), edge_counts)
        counts = (orbits.atom_counts, orbits.edge_counts) if orbits else (None, None)
        for block in self.blocks:
            x = block(x, edge_index, edges, graph.batch, size, *counts)
        return AtomFeatures(x)
