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
        x (N, C); edge_index (2, E), receivers and senders; edges (E, C), or the same features in factors, which include
        edge_index and edge_counts; batch (N,) int64, the material of each node; counts (N,) and edge_counts (E,), how
        many equal nodes and edges each row stands for, None means one → (N, C).

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
        edge_index: Tensor,
        edges: Tensor | FactoredFeatures,
        batch: Tensor,
        num_crystals: int,
        counts: Tensor | None = None,
        edge_counts: Tensor | None = None,
    ) -> Tensor:
        """Update every node."""
        return self.convolve(x, edge_index, edges, counts, edge_counts)

    def convolve(
        self,
        x: Tensor,
        edge_index: Tensor,
        edges: Tensor | FactoredFeatures,
        counts: Tensor | None,
        edge_counts: Tensor | None,
    ) -> Tensor:
        """The message passing.

        Raises:
            InputError: The graph is an orbit graph, which the layer does not support.
        """
        if counts is not None and not self.conv.supports_orbits:
            raise InputError(f"{type(self.conv).__name__} does not support orbit graphs; set data.symmetry to full")
        if isinstance(edges, FactoredFeatures):
            return self.conv.forward_factored(x, edges)
        out: Tensor = self.conv(x, edge_index, edges, **({} if edge_counts is None else {"counts": edge_counts}))
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
        edge_index: Tensor,
        edges: Tensor | FactoredFeatures,
        batch: Tensor,
        num_crystals: int,
        counts: Tensor | None = None,
        edge_counts: Tensor | None = None,
    ) -> Tensor:
        """Update every node."""
        x = self.convolve(x, edge_index, edges, counts, edge_counts)
        x = self.mlp.residual(x, 1 if counts is None else counts)
        out: Tensor = self.norm(x, batch, num_crystals, counts)
        return out
