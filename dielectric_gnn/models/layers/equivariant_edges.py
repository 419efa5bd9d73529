"""The edges of a batch as equivariant layers use them, and sums of messages over the neighbours of each atom."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from dielectric_gnn.models.layers.segment import segment_sum

MESSAGE_SCALE = 1 / math.sqrt(30)
"""Factor of sums over neighbours; a constant instead of the number of neighbours, on which features may depend."""


@dataclass(frozen=True)
class Edges:
    """Geometry and state of the edges of a batch, computed once for all layers.

    A layer computes messages in rows and sums them at the source of each edge. Here every edge has a row (R = E). In
    the fused form, `fused.atom_pairs.PairedEdges`, the edges to all periodic images of one atom share a row, and layers
    are written so that this gives the same sums: a message is linear in what `merge` returns.

    Shapes:
        source, target: (E,) int64. directions: (E, 3), unit vectors from source to target. envelope: (E, 1), 1 at zero
        distance and 0 at the cutoff. harmonics: (E, K), those of the directions times the envelope. state: (E, C), a
        function of the distance and both elements. num_atoms: N.
    """

    source: Tensor
    target: Tensor
    directions: Tensor
    envelope: Tensor
    harmonics: Tensor
    state: Tensor
    num_atoms: int

    def at_source(self, x: Tensor) -> Tensor:
        """Features of atoms (N, ...) at the source of each row (R, ...)."""
        return x[self.source]

    def at_target(self, x: Tensor) -> Tensor:
        """Features of atoms (N, ...) at the target of each row (R, ...)."""
        return x[self.target]

    def expand(self, rows: Tensor) -> Tensor:
        """Rows (R, ...) at every edge (E, ...)."""
        return rows

    def merge(self, values: Tensor) -> Tensor:
        """Sums of values of edges (E, ...) over the edges of each row (R, ...)."""
        return values

    def merge_products(self, values: Tensor) -> Tensor:
        """Sums of env_ij Y(r̂_ij) ⊗ v_ij over the edges of each row: values (E, C) → (R, K, C)."""
        return self.harmonics[:, :, None] * values[:, None]

    def sum_at_source(self, messages: Tensor) -> Tensor:
        """Σ_j m_ij: messages in rows (R, ...) → (N, ...)."""
        return segment_sum(messages, self.source, self.num_atoms)

    def moments(self, values: Tensor) -> Tensor:
        """Σ_j env_ij Y(r̂_ij) ⊗ v_ij: values (E, C) → (N, K, C)."""
        return segment_sum(self.harmonics[:, :, None] * values[:, None], self.source, self.num_atoms)
