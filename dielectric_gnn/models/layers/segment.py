"""Sums and softmaxes over segments: the rows that belong to one atom, edge or material."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Half precisions as float32, others unchanged: sums and statistics lose too much accuracy in half precision."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def in_autocast_precision(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors in the precision of an enabled autocast, otherwise that of the first: autograd functions are not cast."""
    device = tensors[0].device.type
    enabled = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if enabled else tensors[0].dtype
    return tuple(tensor.to(dtype) for tensor in tensors)


def weight_by_count(values: Tensor, counts: Tensor | None) -> Tensor:
    """Rows (R, ...) times how often each occurs (R,); None means once."""
    return values if counts is None else values * counts.view(-1, *[1] * (values.dim() - 1))


def segment_sum(values: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Sum the rows of each segment, in float32 or wider.

    Shapes:
        values (R, ...), segment (R,) int64 → (num_segments, ...); a segment without rows gives zero.
    """
    values = at_least_float32(values)
    out = values.new_zeros((num_segments, *values.shape[1:]))
    return out.index_add(0, segment, values)


def segment_count(segment: Tensor, num_segments: int) -> Tensor:
    """Number of rows of each segment, as integers: segment (R,) int64 → (num_segments,) int64."""
    return segment.new_zeros(num_segments).index_add_(0, segment, torch.ones_like(segment))


def segment_softmax(logits: Tensor, segment: Tensor, num_segments: int, counts: Tensor | None = None) -> Tensor:
    """Softmax over the rows of each segment, for every column on its own, in float32 or wider.

    A row that stands for several equal ones gets the weight of all of them: its logit grows by the logarithm of their
    number.

    Shapes:
        logits (R, ...), segment (R,) int64, counts (R,), how many rows each stands for; None means one → (R, ...).
    """
    logits = at_least_float32(logits)
    if counts is not None:
        logits = logits + counts.log().view(-1, *[1] * (logits.dim() - 1))
    rows = segment.view(-1, *[1] * (logits.dim() - 1)).expand_as(logits)
    peak = logits.new_full((num_segments, *logits.shape[1:]), -torch.inf)
    # The shift cancels in the quotient, so no gradient needs to flow through it.
    peak = peak.scatter_reduce(0, rows, logits.detach(), reduce="amax")
    weights = (logits - peak.index_select(0, segment)).exp()
    return weights / segment_sum(weights, segment, num_segments).index_select(0, segment)
