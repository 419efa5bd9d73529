"""Layer norm over all atoms and features of a crystal."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from dielectric_gnn.models.layers.segment import at_least_float32, segment_sum, weight_by_count


class GraphLayerNorm(nn.Module):
    """Normalise over all rows and channels of each crystal, then scale and shift every channel.

    Equals `torch_geometric.nn.LayerNorm(mode="graph")`.

    Shapes:
        x (R, C), segment (R,) int64, the crystal of each row, counts (R,), how many equal rows each stands for; None
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
        out: Tensor = _Normalise.apply(
            at_least_float32(x), self.weight, self.bias, segment, num_segments, self.eps, counts
        )  # type: ignore[no-untyped-call]
        return out


class _Normalise(torch.autograd.Function):
    """Layer norm of segments as one step that saves the normalised rows and 1/σ of each."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        segment: Tensor,
        num_segments: int,
        eps: float,
        counts: Tensor | None,
    ) -> Tensor:
        rows = segment_sum(x.new_ones(x.shape[0]) if counts is None else counts, segment, num_segments)
        size = (rows * x.shape[1]).clamp(min=1)
        mean = segment_sum(weight_by_count(x.sum(dim=1), counts), segment, num_segments) / size
        normal = x - mean.index_select(0, segment)[:, None]
        squares = torch.linalg.vector_norm(normal, dim=1).square()
        variance = segment_sum(weight_by_count(squares, counts), segment, num_segments) / size
        inverse = (variance + eps).rsqrt().index_select(0, segment)[:, None]
        normal *= inverse
        ctx.save_for_backward(normal, inverse, weight, segment, size, counts)
        return torch.addcmul(bias, normal, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        normal, inverse, weight, segment, size, counts = ctx.saved_tensors
        # dx = (g − mean(g) − x̂ mean(g x̂)) / σ with g = γ dy and means over rows and channels of the segment. A row that
        # stands for several has the sum of their gradients already, and a share in the means for each of them.
        through = grad * normal
        grad_weight = through.sum(dim=0)
        sums = torch.stack([torch.mv(grad, weight), torch.mv(through, weight)], dim=1)
        means = segment_sum(sums, segment, size.shape[0]) / size[:, None]
        mean, mean_normal = weight_by_count(means.index_select(0, segment), counts).chunk(2, dim=1)
        torch.addcmul(mean, normal, mean_normal, out=through)
        grad_x = torch.addcmul(through, grad, weight, value=-1).mul_(-inverse)
        return grad_x, grad_weight, grad.sum(dim=0), None, None, None, None
