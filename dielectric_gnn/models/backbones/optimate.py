"""OptiMate: graph attention over distances, doi:10.1103/PhysRevMaterials.8.L122201."""

from __future__ import annotations

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.models.backbones.base import AtomFeatures, Backbone
from dielectric_gnn.models.fused import gatv2
from dielectric_gnn.models.fused.atom_pairs import AtomPairs
from dielectric_gnn.models.layers.embedding import GroupPeriodEmbedding
from dielectric_gnn.models.layers.fusable import FusedOption
from dielectric_gnn.models.layers.message_passing import GATv2Conv
from dielectric_gnn.models.layers.mlp import MLP
from dielectric_gnn.models.layers.radial import GaussianBasis

_WIDTH = 48
_NUM_BASIS = 56
_HEADS = 4


class OptiMate(Backbone):
    """Group and period of each element, distances as 56 Gaussians, two GATv2 layers (48 → 4·48 → 4·96).

    The sizes are those of the published model. With `FreeFormHead(hidden_dims=[1024, 1024, 1024],
    components=["im"], leaky_output=True, drude=False)` on top it has the published 4,902,545 parameters.

    Args:
        cutoff: Distance up to which atoms are neighbours (Å).
        fused: `auto` for the fused forms of the layers, `off` for the plain ones, which are slower but easy to read.
    """

    supports_orbits = True

    def __init__(self, cutoff: float = DEFAULT_CUTOFF, fused: FusedOption = "auto") -> None:
        super().__init__(scalar_dim=_HEADS * 2 * _WIDTH, cutoff=cutoff)
        self.node_embedding = GroupPeriodEmbedding()
        self.node_mlp = MLP([self.node_embedding.dim, _WIDTH, _WIDTH])
        self.edge_embedding = GaussianBasis(cutoff, _NUM_BASIS, width=2.0, envelope_exponent=None)
        self.first = GATv2Conv(_WIDTH, _WIDTH, _NUM_BASIS, _HEADS)
        self.second = GATv2Conv(_HEADS * _WIDTH, 2 * _WIDTH, _NUM_BASIS, _HEADS)
        self.set_fused(fused)

    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom: scalars (N, 384)."""
        counts = graph.orbits.edge_counts if graph.orbits else None
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers), graph.orbits.atom_counts if graph.orbits else 1)
        if self.fused and gatv2.is_faster(graph.edge_index):
            pairs = AtomPairs.from_edge_index(graph.edge_index, graph.num_atoms)
            edges = self.edge_embedding(graph.edge_lengths.index_select(0, pairs.order))
            counts = None if counts is None else counts.index_select(0, pairs.order)
            x = self.first.forward_by_pairs(x, pairs, edges, counts)
            return AtomFeatures(self.second.forward_by_pairs(x, pairs, edges, counts))
        edges = self.edge_embedding(graph.edge_lengths)
        x = self.first(x, graph.edge_index, edges, counts)
        return AtomFeatures(self.second(x, graph.edge_index, edges, counts))
