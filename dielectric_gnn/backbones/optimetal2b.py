"""OptiMetal2B: the two-body model of the published scaling study, arXiv:2602.05702."""

from __future__ import annotations

from torch import Tensor, nn

from dielectric_gnn.backbones.base import AtomFeatures, Backbone
from dielectric_gnn.data.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.nn.embedding import GroupPeriodEmbedding
from dielectric_gnn.nn.message_passing import CGConv
from dielectric_gnn.nn.mlp import MLP
from dielectric_gnn.nn.norm import GraphLayerNorm
from dielectric_gnn.nn.radial import GaussianBasis


class InteractionBlock(nn.Module):
    """Message passing, then x + MLP(x), then graph layer norm.

    Args:
        dim: Width h.
        expansion: Hidden width of the MLP in units of h.
    """

    def __init__(self, dim: int, expansion: int) -> None:
        super().__init__()
        self.conv = CGConv(dim, dim)
        self.mlp = MLP([dim, expansion * dim, dim])
        self.norm = GraphLayerNorm(dim)

    def forward(self, x: Tensor, graph: CrystalGraph, edges: Tensor) -> Tensor:
        """Atoms (N, h) and edge features (E, h) → atoms (N, h)."""
        x = self.conv(x, graph.edge_index, edges)
        x = x + self.mlp(x)
        out: Tensor = self.norm(x, graph.batch, graph.num_crystals)
        return out


class OptiMetal2B(Backbone):
    """Two-body crystal graph network: elements and distances through MLPs, then interaction blocks.

    Args:
        width: h, the width of everything; 256 in the published data scaling, 16 to 1024 in width scaling.
        num_layers: Interaction blocks.
        num_basis: Gaussians that describe a distance.
        basis_width: Their standard deviation in units of their spacing.
        envelope_exponent: p of the polynomial envelope; null leaves it out.
        expansion: Hidden width of the MLP in a block, in units of h.
        cutoff: Distance up to which atoms are neighbours (Å).
    """

    def __init__(
        self,
        width: int = 256,
        num_layers: int = 2,
        num_basis: int = 32,
        basis_width: float = 4.0,
        envelope_exponent: int | None = 4,
        expansion: int = 6,
        cutoff: float = DEFAULT_CUTOFF,
    ) -> None:
        super().__init__(scalar_dim=width, cutoff=cutoff)
        self.node_embedding = GroupPeriodEmbedding()
        self.node_mlp = MLP([self.node_embedding.dim, width, width, width])
        self.edge_embedding = GaussianBasis(cutoff, num_basis, basis_width, envelope_exponent)
        self.edge_mlp = MLP([num_basis, width, width, width])
        self.blocks = nn.ModuleList(InteractionBlock(width, expansion) for _ in range(num_layers))

    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom: scalars (N, h)."""
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers))
        edges = self.edge_mlp(self.edge_embedding(graph.edge_lengths))
        for block in self.blocks:
            x = block(x, graph, edges)
        return AtomFeatures(x)
