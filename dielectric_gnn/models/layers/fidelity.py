"""Which quality of labels a prediction is of, as a learned vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dielectric_gnn.utils.errors import InputError


class FidelityEmbedding(nn.Module):
    """A vector for every fidelity but the highest, 0, whose vector is zero.

    Added to the pooled features, it lets the head predict how labels of a lower fidelity differ, while backbone and
    pooling learn from all. All vectors are zero before training.

    Shapes:
        fidelities (B,) int64, or None for the highest → (B, dim).

    Args:
        num: Number of fidelities.
        dim: Number of pooled features.

    Raises:
        InputError: `num` is less than 2.
    """

    def __init__(self, num: int, dim: int) -> None:
        super().__init__()
        if num < 2:
            raise InputError(f"model.fidelities is {num}, expected at least 2, or null for one")
        self.num = num
        self.vectors = nn.Parameter(torch.zeros(num - 1, dim))

    def forward(self, fidelities: Tensor | None, num_crystals: int) -> Tensor:
        """Vectors of the materials of a batch."""
        vectors = torch.cat([self.vectors.new_zeros(1, self.vectors.shape[1]), self.vectors])
        if fidelities is None:
            fidelities = torch.zeros(num_crystals, dtype=torch.int64, device=vectors.device)
        return vectors.index_select(0, fidelities)
