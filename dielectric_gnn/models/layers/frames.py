"""Rotation of features into the frames of edges, and of messages back."""

from __future__ import annotations

import torch
from torch import Tensor

from dielectric_gnn.models.layers.equivariant_edges import Edges


class Frames:
    """Rotates features into the frame of each edge, and sums messages rotated back.

    Components are grouped by |m| in the frame: `rows` of them for each |m|.

    Shapes:
        rotations (E, K, K), block-diagonal in e3nn's order.

    Args:
        edges: Edges of a batch.
        rotations: Wigner matrices D of their frames.
        order: Positions of the components, sorted by |m|: (K,) int64.
        rows: Number of components of each |m|.
    """

    def __init__(self, edges: Edges, rotations: Tensor, order: Tensor, rows: list[int]) -> None:
        self.edges = edges
        self.by_order = torch.split(rotations.index_select(1, order), rows, dim=1)

    def rotate_in(self, x: Tensor) -> list[Tensor]:
        """D x of every edge: rows of messages (E, K, C) → for each |m|, (E, rows · C)."""
        # Like sums over neighbours, in full precision, so that the rotation back is the inverse.
        with torch.autocast(x.device.type, enabled=False):
            return [(rotation @ x.to(rotation.dtype)).flatten(1) for rotation in self.by_order]

    def rotate_back_and_sum(self, messages: list[Tensor], width: int) -> Tensor:
        """Σ_j env_ij Dᵀ m_ij: for each |m|, (E, rows · C) → (N, K, C)."""
        with torch.autocast(messages[0].device.type, enabled=False):
            back = [
                rotation.mT @ message.to(rotation.dtype).view(*rotation.shape[:2], width)
                for rotation, message in zip(self.by_order, messages, strict=True)
            ]
            return self.edges.sum_at_source(torch.stack(back).sum(dim=0) * self.edges.envelope[:, :, None])
