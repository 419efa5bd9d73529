"""Rotations of all edges of a pair of atoms as one matrix product.

The edges between two atoms rotate the same features x: [D_1; D_2; …] x is one product, without a copy of x for each
edge; and Σ_e env_e D_eᵀ m_e = [env_1 D_1; env_2 D_2; …]ᵀ [m_1; m_2; …] is one as well.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dielectric_gnn.models.fused.atom_pairs import PairedEdges
from dielectric_gnn.models.layers.frames import Frames
from dielectric_gnn.models.layers.segment import segment_sum


class PairedFrames(Frames):
    """Frames of edges that are sorted by pair; arguments and results as those of `Frames`."""

    def __init__(self, edges: PairedEdges, rotations: Tensor, order: Tensor, rows: list[int]) -> None:
        super().__init__(edges, rotations, order, rows)
        self.padded = edges.pairs.padded_edges()
        self.source = edges.pairs.source.index_select(0, self.padded.owner)
        self.into = [self._stack(rotation) for rotation in self.by_order]
        self.back = [self._stack(rotation * edges.envelope[:, :, None]).mT for rotation in self.by_order]

    def _stack(self, rotation: Tensor) -> Tensor:
        """Matrices of edges (E, rows, K) below each other in each block: (num_blocks, size · rows, K)."""
        rows, columns = rotation.shape[1:]
        return self.padded.pad(rotation.flatten(1)).view(-1, self.padded.size * rows, columns)

    def rotate_in(self, x: Tensor) -> list[Tensor]:
        """D x of every edge: features of pairs (P, K, C) → for each |m|, (E, rows · C)."""
        width, size = x.shape[2], self.padded.size
        with torch.autocast(x.device.type, enabled=False):
            of_block = x.to(self.into[0].dtype).index_select(0, self.padded.owner)
            rotated = [rotation @ of_block for rotation in self.into]
            return [self.padded.unpad(rows.view(-1, rows.shape[1] // size * width)) for rows in rotated]

    def rotate_back_and_sum(self, messages: list[Tensor], width: int) -> Tensor:
        """Σ_j env_ij Dᵀ m_ij: for each |m|, (E, rows · C) → (N, K, C)."""
        with torch.autocast(messages[0].device.type, enabled=False):
            padded = [self.padded.pad(message.to(self.back[0].dtype)) for message in messages]
            sums = [
                rotation @ message.view(message.shape[0], rotation.shape[2], width)
                for rotation, message in zip(self.back, padded, strict=True)
            ]
            return segment_sum(torch.stack(sums).sum(dim=0), self.source, self.edges.num_atoms)
