"""Base class of the equivariant backbones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.models.backbones.base import AtomFeatures, Backbone
from dielectric_gnn.models.layers.edge_encoder import EdgeEncoder
from dielectric_gnn.models.layers.embedding import NodeEmbedding
from dielectric_gnn.models.layers.equivariant import EquivariantNorm, NeighbourEmbedding
from dielectric_gnn.models.layers.equivariant_edges import Edges
from dielectric_gnn.models.layers.radial import RadialBasis
from dielectric_gnn.models.layers.so3 import validated_degree
from dielectric_gnn.utils.errors import InputError


class EquivariantBackbone(Backbone):
    """Scalars and tensors of natural parity, (−1)^l for degree l, on every atom: embedding of elements, layers, norm.

    A subclass builds its layers with `degrees_after(layer)`, calls `set_fused`, and applies the layers in `propagate`.

    Args:
        width: C, channels of every degree.
        l_max: Highest degree of the features, 1 to 3.
        num_layers: Layers, at least one.
        cutoff: Distance up to which atoms are neighbours (Å).
        tensors: Whether to return l = 2 features too.
        node_embedding: Elements as features; a subclass of `NodeEmbedding`, by class path.
        edge_embedding: Distances as features; a subclass of `RadialBasis`, by class path.
    """

    def __init__(
        self,
        width: int,
        l_max: int,
        num_layers: int,
        cutoff: float,
        tensors: bool,
        node_embedding: Callable[[], NodeEmbedding],
        edge_embedding: Callable[[float], RadialBasis],
    ) -> None:
        super().__init__(scalar_dim=width, cutoff=cutoff, tensor_dim=width if tensors else 0)
        name = type(self).__name__
        self.l_max = validated_degree(l_max, name)
        self.num_layers = num_layers
        if tensors and l_max < 2:
            raise InputError(
                f"{name} was given tensors true, which needs l = 2, but its l_max is {l_max}; give l_max 2 or 3, or "
                "tensors false"
            )
        if num_layers < 1:
            raise InputError(f"{name} has num_layers {num_layers}, expected at least 1")
        self.node_embedding = node_embedding()
        self.node_mlp = nn.Sequential(nn.Linear(self.node_embedding.dim, width), nn.SiLU(), nn.Linear(width, width))
        self.edge_encoder = EdgeEncoder(width, edge_embedding, l_max, cutoff)
        self.neighbour_embedding = NeighbourEmbedding(width, l_max)
        self.final_norm = EquivariantNorm(self.degrees_after(num_layers - 1), width)

    def degrees_after(self, layer: int) -> list[int]:
        """Degrees that a layer returns: all of them, or in the last layer those that are used."""
        if layer < self.num_layers - 1:
            return list(range(self.l_max + 1))
        return [0, 2] if self.tensor_dim else [0]

    @abstractmethod
    def propagate(self, x: Tensor, edges: Edges) -> Tensor:
        """Run the layers: features (N, (l_max + 1)², C) → those of the degrees that are used."""

    def read_out(self, x: Tensor) -> AtomFeatures:
        """Output of the backbone from the features of the last layer."""
        x = self.final_norm(x)
        return AtomFeatures(x[:, 0], x[:, 1:] if self.tensor_dim else None)

    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom: scalars (N, C) and, with `tensors`, tensors (N, 5, C)."""
        elements = self.node_mlp(self.node_embedding(graph.atomic_numbers))
        edges = self.edge_encoder(graph, elements)
        return self.read_out(self.propagate(self.neighbour_embedding(elements, edges), edges))
