"""The block around a message-passing layer."""

from __future__ import annotations

from torch import Tensor, nn

from dielectric_gnn.models.fused.edge_features import FactoredFeatures
from dielectric_gnn.models.layers.message_passing import MessagePassingFactory
from dielectric_gnn.models.layers.mlp import MLP, Activation
from dielectric_gnn.models.layers.norm import GraphLayerNorm
from dielectric_gnn.utils.errors import InputError


class ConvolutionBlock(nn.Module):
    """Message passing alone.

    Shapes:
        x (N, C), edge_index (2, E), edges (E, C), batch (N,) the crystal of each node, counts (N,), how many nodes
        each row stands for; None means one → (N, C).

    Args:
        dim: Width C of nodes and edges.
        message_passing: Builds the layer from the widths of nodes and edges.
    """

    def __init__(self, dim: int, message_passing: MessagePassingFactory) -> None:
        super().__init__()
        self.conv = message_passing(dim, dim)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | None,
        edges: Tensor | FactoredFeatures,
        batch: Tensor,
        num_crystals: int,
        counts: Tensor | None = None,
    ) -> Tensor:
        """Update every node; features in factors know their links themselves."""
        if isinstance(edges, FactoredFeatures) and not isinstance(edges, self.conv.takes):
            edge_index, edges, link_counts = edges.dense()
            if link_counts is not None:
                raise InputError(f"{type(self.conv).__name__} takes no orbit graphs; set data.symmetry to full")
        out: Tensor = self.conv(x, edge_index, edges)
        return out


class InteractionBlock(ConvolutionBlock):
    """Message passing, then x + MLP(x), then graph layer norm; as in a transformer encoder (arXiv:1706.03762).

    Shapes:
        As `ConvolutionBlock`.

    Args:
        dim: Width C of nodes and edges.
        message_passing: Builds the layer from the widths of nodes and edges.
        expansion: Hidden width of the MLP in units of C.
        activation: Of the MLP.
    """

    def __init__(
        self, dim: int, message_passing: MessagePassingFactory, expansion: int, activation: Activation = "relu"
    ) -> None:
        super().__init__(dim, message_passing)
        self.mlp = MLP([dim, expansion * dim, dim], activation)
        self.norm = GraphLayerNorm(dim)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | None,
        edges: Tensor | FactoredFeatures,
        batch: Tensor,
        num_crystals: int,
        counts: Tensor | None = None,
    ) -> Tensor:
        """Update every node."""
        x = super().forward(x, edge_index, edges, batch, num_crystals, counts)
        x = self.mlp.residual(x, 1 if counts is None else counts)
        out: Tensor = self.norm(x, batch, num_crystals, counts)
        return out
