"""Layer norm over all atoms and features of a material."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dielectric_gnn.models.fused.layer_norm import graph_layer_norm
from dielectric_gnn.models.layers.fusable import Fusable
from dielectric_gnn.models.layers.segment import at_least_float32, segment_sum, weight_by_count


class GraphLayerNorm(Fusable):
    """Normalise over all rows and channels of each material, then scale and shift every channel.

    Equals `torch_geometric.nn.LayerNorm(mode="graph")`.

    Shapes:
        x (R, C), segment (R,) int64, the material of each row, counts (R,), how many equal rows each stands for; None
        means one → (R, C).

    Args:
        dim: C.
        eps: Added to the variance.
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, segment: Tensor, num_segments: int, counts: Tensor | None = None) -> Tensor:
        """Normalise `x` within each segment; statistics in float32 or wider."""
        x = at_least_float32(x)
        if self.fused:
            return graph_layer_norm(x, self.weight, self.bias, segment, num_segments, self.eps, counts)
        rows = segment_sum(weight_by_count(x.new_ones(x.shape[0]), counts), segment, num_segments)
        size = (rows * x.shape[1]).clamp(min=1)
        mean = segment_sum(weight_by_count(x.sum(dim=1), counts), segment, num_segments) / size
        centred = x - mean[segment][:, None]
        squares = weight_by_count(centred.square().sum(dim=1), counts)
        variance = segment_sum(squares, segment, num_segments) / size
        return centred * (variance + self.eps).rsqrt()[segment][:, None] * self.weight + self.bias
