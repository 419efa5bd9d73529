"""Layer norm of segments as one autograd function that saves the normalised rows x̂ and 1/σ of each segment.

y = γ ⊙ x̂ + β with x̂ = (x − mean) / σ, mean and σ over all rows and channels of a segment. With g = γ ⊙ dy:
dx = (g − mean(g) − x̂ mean(g x̂)) / σ, dγ = Σ x̂ ⊙ dy, dβ = Σ dy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dielectric_gnn.models.layers.segment import segment_sum, weight_by_count


def graph_layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, segment: Tensor, num_segments: int, eps: float, counts: Tensor | None
) -> Tensor:
    """The norm of `GraphLayerNorm`; shapes as there, `x` in float32 or wider."""
    out: Tensor = _Normalise.apply(x, weight, bias, segment, num_segments, eps, counts)  # type: ignore[no-untyped-call]
    return out


class _Normalise(torch.autograd.Function):
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
        # The gradient of a row that stands for several equal rows is already the sum of theirs; in the means, the row
        # counts once for each of them.
        through = grad * normal
        grad_weight = through.sum(dim=0)
        sums = torch.stack([torch.mv(grad, weight), torch.mv(through, weight)], dim=1)
        means = segment_sum(sums, segment, size.shape[0]) / size[:, None]
        mean, mean_normal = weight_by_count(means.index_select(0, segment), counts).chunk(2, dim=1)
        torch.addcmul(mean, normal, mean_normal, out=through)
        grad_x = torch.addcmul(through, grad, weight, value=-1).mul_(-inverse)
        return grad_x, grad_weight, grad.sum(dim=0), None, None, None, None
