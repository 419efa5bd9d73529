"""OptiMetal2B: the two-body model of the published scaling study, arXiv:2602.05702."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph, Orbits
from dielectric_gnn.models.backbones.base import AtomFeatures, Backbone
from dielectric_gnn.models.fused.edge_features import EdgeFeatures, Edges, FactoredFeatures, Undirected
from dielectric_gnn.models.layers.embedding import GroupPeriodEmbedding, NodeEmbedding
from dielectric_gnn.models.layers.interaction import ConvolutionBlock, InteractionBlock
from dielectric_gnn.models.layers.message_passing import CGConv, MessagePassing
from dielectric_gnn.models.layers.mlp import MLP, Activation
from dielectric_gnn.models.layers.radial import GaussianBasis, RadialBasis
from dielectric_gnn.models.layers.segment import segment_sum


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
        self.supports_orbits = all(FactoredFeatures in block.conv.takes for block in blocks)

    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom: scalars (N, h)."""
        counts = graph.orbits.atom_counts if graph.orbits else None
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers), 1 if counts is None else counts)
        edges = edge_features(graph, self.edge_embedding, self.edge_mlp)
        for block in self.blocks:
            x = block(x, graph.edge_index, edges, graph.batch, graph.num_crystals, counts)
        return AtomFeatures(x)


def edge_features(graph: CrystalGraph, embedding: RadialBasis, mlp: MLP) -> EdgeFeatures:
    """Features of every edge from its length: one row for both directions, and the last linear layer still to come."""
    if graph.orbits is not None:
        return _orbit_edge_features(graph, graph.orbits, embedding, mlp)
    undirected = Undirected.of(graph.edge_index, graph.edge_lengths, graph.num_atoms)
    rows = mlp.hidden(embedding(undirected.lengths), 2)
    edges = Edges(graph.edge_index, graph.num_atoms)
    return EdgeFeatures(edges, rows, undirected.index, undirected.uses, mlp.last.weight, mlp.last.bias)


def _orbit_edge_features(graph: CrystalGraph, orbits: Orbits, embedding: RadialBasis, mlp: MLP) -> EdgeFeatures:
    """One row for every length of the batch, which counts for all edges that have it."""
    lengths, index = graph.edge_lengths.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    counts = segment_sum(orbits.edge_totals(graph.edge_index[0]), index, lengths.shape[0])
    rows = mlp.hidden(embedding(lengths), counts)
    edges = Edges(graph.edge_index, graph.num_atoms, orbits.edge_counts)
    return EdgeFeatures(edges, rows, index, None, mlp.last.weight, mlp.last.bias)
