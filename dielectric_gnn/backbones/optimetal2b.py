"""OptiMetal2B: the two-body model of the published scaling study, arXiv:2602.05702."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from dielectric_gnn.backbones.base import AtomFeatures, Backbone
from dielectric_gnn.data.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.nn.embedding import GroupPeriodEmbedding, NodeEmbedding
from dielectric_gnn.nn.interaction import InteractionBlock
from dielectric_gnn.nn.links import EdgeFeatures, Edges, Undirected
from dielectric_gnn.nn.message_passing import CGConv, MessagePassing
from dielectric_gnn.nn.mlp import MLP
from dielectric_gnn.nn.radial import GaussianBasis, RadialBasis


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
    ) -> None:
        super().__init__(scalar_dim=width, cutoff=cutoff)
        self.node_embedding = node_embedding()
        self.node_mlp = MLP([self.node_embedding.dim, width, width, width])
        self.edge_embedding = edge_embedding(cutoff)
        self.edge_mlp = MLP([self.edge_embedding.dim, width, width, width])
        self.blocks = nn.ModuleList(InteractionBlock(width, message_passing, expansion) for _ in range(num_layers))

    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom: scalars (N, h)."""
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers))
        edges = edge_features(graph, self.edge_embedding, self.edge_mlp)
        for block in self.blocks:
            x = block(x, graph.edge_index, edges, graph.batch, graph.num_crystals)
        return AtomFeatures(x)


def edge_features(graph: CrystalGraph, embedding: RadialBasis, mlp: MLP) -> EdgeFeatures:
    """Features of every edge from its length: one row for both directions, and the last linear layer still to come."""
    undirected = Undirected.of(graph.edge_index, graph.edge_lengths, graph.num_atoms)
    rows = mlp.hidden(embedding(undirected.lengths), copies=2)
    edges = Edges(graph.edge_index, graph.num_atoms)
    return EdgeFeatures(edges, rows, undirected.index, undirected.uses, mlp.last.weight, mlp.last.bias)
