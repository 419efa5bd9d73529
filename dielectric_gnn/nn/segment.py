"""Sums and softmaxes over the rows that belong together."""

from __future__ import annotations

import torch
from torch import Tensor


def widened(values: Tensor) -> Tensor:
    """Half precisions as float32, others as they are: sums and statistics need the digits."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def segment_sum(values: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Sum the rows of each segment, in float32 or wider.

    Shapes:
        values (R, ...), segment (R,) int64 → (num_segments, ...); a segment without rows gives zero.
    """
    values = widened(values)
    out = values.new_zeros((num_segments, *values.shape[1:]))
    return out.index_add(0, segment, values)


def segment_softmax(logits: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Softmax over the rows of each segment, for every column on its own, in float32 or wider.

    Shapes:
        logits (R, ...), segment (R,) int64 → (R, ...).
    """
    logits = widened(logits)
    rows = segment.view(-1, *[1] * (logits.dim() - 1)).expand_as(logits)
    peak = logits.new_full((num_segments, *logits.shape[1:]), -torch.inf)
    # The shift cancels in the quotient, so no gradient needs to flow through it.
    peak = peak.scatter_reduce(0, rows, logits.detach(), reduce="amax")
    weights = (logits - peak.index_select(0, segment)).exp()
    return weights / segment_sum(weights, segment, num_segments).index_select(0, segment)
