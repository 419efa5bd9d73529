"""Second moments Σ h hᵀ of the rows of segments, whose gradient is one product too.

With M = Σ_r h_r h_rᵀ, dh_r = (dM + dMᵀ) h_r; autograd alone would compute the two terms as two products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dielectric_gnn.models.fused.padded_segments import PaddedSegments
from dielectric_gnn.models.layers.segment import at_least_float32, segment_count


def second_moments(rows: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Σ h hᵀ over the rows of each segment, in float32 or wider.

    Shapes:
        rows h (R, F), segment (R,) int64, sorted → (num_segments, F, F).
    """
    rows = at_least_float32(rows)
    if rows.device.type != "cpu":
        return padded_second_moments(rows, segment, num_segments)
    counts = segment_count(segment, num_segments).tolist()
    out: Tensor = _SecondMoments.apply(rows, counts)  # type: ignore[no-untyped-call]
    return out


def padded_second_moments(rows: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """The same by batched products of padded segments, without a synchronisation of a GPU."""
    padded = PaddedSegments.from_segment(segment, num_segments, size=64)
    return padded.weighted_sum(padded.pad(rows), rows)


class _SecondMoments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: Sequence[int]) -> Tensor:
        ctx.save_for_backward(rows)
        ctx.counts = counts
        out = rows.new_empty(len(counts), rows.shape[1], rows.shape[1])
        for part, total in zip(rows.split(counts), out, strict=True):  # type: ignore[no-untyped-call]
            torch.mm(part.T, part, out=total)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        grad_rows = torch.empty_like(rows)
        for part, total, out in zip(rows.split(ctx.counts), grad, grad_rows.split(ctx.counts), strict=True):  # type: ignore[no-untyped-call]
            torch.mm(part, total + total.T, out=out)
        return grad_rows, None
