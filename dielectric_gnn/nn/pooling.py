"""From atoms to crystals. Weights come from invariant scalars only, so pooling keeps every symmetry."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from dielectric_gnn.nn.segment import segment_softmax, segment_sum


class Pooling(nn.Module, ABC):
    """Reduces atom features to crystal features, intensively: a supercell gives what its cell gives.

    Shapes:
        scalars (N, F), batch (N,) int64 → (B, F).

    Args:
        dim: F.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    @abstractmethod
    def forward(self, scalars: Tensor, batch: Tensor, num_crystals: int) -> Tensor:
        """Pool the atoms of each crystal."""


class MeanPooling(Pooling):
    """Mean over the atoms of each crystal."""

    def forward(self, scalars: Tensor, batch: Tensor, num_crystals: int) -> Tensor:
        """Mean of each crystal's rows."""
        counts = segment_sum(scalars.new_ones(scalars.shape[0], 1), batch, num_crystals)
        return segment_sum(scalars, batch, num_crystals) / counts.clamp(min=1)


class VectorAttentionPooling(Pooling):
    """Each channel is averaged with its own softmax weights over the atoms: Σ_i softmax_i(W x + b) ⊙ x_i."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.attention = nn.Linear(dim, dim)

    def forward(self, scalars: Tensor, batch: Tensor, num_crystals: int) -> Tensor:
        """Weighted mean of each crystal's rows."""
        weights = segment_softmax(self.attention(scalars), batch, num_crystals)
        return segment_sum(weights * scalars, batch, num_crystals)
