"""Layer norm over all atoms and features of a crystal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dielectric_gnn.nn.segment import segment_sum, widened


class GraphLayerNorm(nn.Module):
    """Normalise over all rows and channels of each crystal, then scale and shift every channel.

    Equals `torch_geometric.nn.LayerNorm(mode="graph")`.

    Shapes:
        x (R, C), segment (R,) int64, the crystal of each row → (R, C).

    Args:
        dim: C.
        eps: Added to the variance.
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, segment: Tensor, num_segments: int) -> Tensor:
        """Normalise `x` within each segment; statistics in float32 or wider."""
        x = widened(x)
        ones = x.new_ones(x.shape[0])
        norm = (segment_sum(ones, segment, num_segments) * x.shape[1]).clamp(min=1)
        mean = segment_sum(x.sum(dim=1), segment, num_segments) / norm
        centred = x - mean.index_select(0, segment)[:, None]
        variance = segment_sum(centred.square().sum(dim=1), segment, num_segments) / norm
        scale = (variance + self.eps).rsqrt().index_select(0, segment)[:, None]
        return centred * scale * self.weight + self.bias
