"""Pooling of atom features. Weights depend on invariant scalars only, so pooling preserves every symmetry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from dielectric_gnn.models.layers.segment import segment_softmax, segment_sum, weight_by_count
from dielectric_gnn.utils.errors import InputError


class Pooling(nn.Module, ABC):
    """Reduces atom features to features of the material, intensively: the result for a supercell is that of its cell.

    Shapes:
        scalars (N, F), batch (N,) int64 → (B, F).

    Args:
        dim: F.

    A subclass that sets `supports_orbits` has a further argument counts (N,): how many equal atoms each row stands for;
    None means one.
    """

    supports_orbits: ClassVar[bool] = False

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    @abstractmethod
    def forward(self, scalars: Tensor, batch: Tensor, num_crystals: int) -> Tensor:
        """Pool the atoms of each material."""


class MeanPooling(Pooling):
    """Mean over the atoms of each material."""

    supports_orbits = True

    def forward(self, scalars: Tensor, batch: Tensor, num_crystals: int, counts: Tensor | None = None) -> Tensor:
        """Mean of the rows of each material."""
        sizes = segment_sum(weight_by_count(scalars.new_ones(scalars.shape[0], 1), counts), batch, num_crystals)
        return segment_sum(weight_by_count(scalars, counts), batch, num_crystals) / sizes.clamp(min=1)


class VectorAttentionPooling(Pooling):
    """Each channel is averaged with its own softmax weights over the atoms: Σ_i softmax_i(W x + b) ⊙ x_i."""

    supports_orbits = True

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.attention = nn.Linear(dim, dim)

    def forward(self, scalars: Tensor, batch: Tensor, num_crystals: int, counts: Tensor | None = None) -> Tensor:
        """Weighted mean of the rows of each material."""
        weights = segment_softmax(self.attention(scalars), batch, num_crystals, counts)
        return segment_sum(weights * scalars, batch, num_crystals)


class ScalarAttentionPooling(Pooling):
    """Softmax-weighted mean of the atoms, one weight per atom: Σ_i softmax_i(w · x + b) x_i."""

    supports_orbits = True

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.attention = nn.Linear(dim, 1)

    def forward(self, scalars: Tensor, batch: Tensor, num_crystals: int, counts: Tensor | None = None) -> Tensor:
        """Weighted mean of the rows of each material."""
        weights = segment_softmax(self.attention(scalars), batch, num_crystals, counts)
        return segment_sum(weights * scalars, batch, num_crystals)


class TensorPooling(nn.Module):
    """l = 2 features of materials: each channel is averaged over the atoms, with softmax weights of their scalars.

    Shapes:
        scalars (N, F₀), tensors (N, 5, F₂), batch (N,) int64 → (B, 5, F₂).

    Args:
        scalar_dim: F₀.
        tensor_dim: F₂.
    """

    def __init__(self, scalar_dim: int, tensor_dim: int) -> None:
        super().__init__()
        self.attention = nn.Linear(scalar_dim, tensor_dim)

    def forward(self, scalars: Tensor, tensors: Tensor, batch: Tensor, num_crystals: int) -> Tensor:
        """Weighted mean of the tensors of each material."""
        weights = segment_softmax(self.attention(scalars), batch, num_crystals)
        return segment_sum(weights[:, None] * tensors, batch, num_crystals)


class Set2SetPooling(Pooling):
    """Set2Set (arXiv:1511.06391): an LSTM attends to the atoms several times; the result is projected to F channels.

    Args:
        dim: F.
        steps: Number of attention steps.
    """

    supports_orbits = True

    def __init__(self, dim: int, steps: int = 3) -> None:
        super().__init__(dim)
        if steps < 1:
            raise InputError(f"steps of Set2SetPooling is {steps}, expected at least 1")
        self.steps = steps
        self.cell = nn.LSTMCell(2 * dim, dim)
        self.projection = nn.Linear(2 * dim, dim)

    def forward(self, scalars: Tensor, batch: Tensor, num_crystals: int, counts: Tensor | None = None) -> Tensor:
        """Set2Set of the rows of each material."""
        hidden = memory = scalars.new_zeros(num_crystals, self.dim)
        summary = scalars.new_zeros(num_crystals, 2 * self.dim)
        for _ in range(self.steps):
            hidden, memory = self.cell(summary, (hidden, memory))
            logits = (scalars * hidden.index_select(0, batch)).sum(dim=1, keepdim=True)
            weights = segment_softmax(logits, batch, num_crystals, counts)
            summary = torch.cat([hidden, segment_sum(weights * scalars, batch, num_crystals)], dim=1)
        out: Tensor = self.projection(summary)
        return out
