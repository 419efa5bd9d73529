"""Sums and softmaxes over the rows that belong together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Half precisions as float32, others as they are: sums and statistics need the digits."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


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


@dataclass(frozen=True)
class Blocks:
    """Rows of sorted segments in blocks of equal size, filled up with zeros, so that sums become matrix products.

    Σ_r w_rk v_rc over the rows r of a segment is a small matrix product. The usual way writes all R · K · C products to
    memory and reads them again for the sum, which costs far more than the arithmetic. Here every segment is cut into
    blocks of `size` rows, all blocks are multiplied in one batched product, and only their K · C results are summed.
    At most R // size + num_segments blocks are needed; that many are made, so that no size depends on the values.

    Shapes:
        slot: (R,) int64, place of each row among those of all blocks. owner: (num_blocks,) int64, the segment of each
        block; an empty block has some owner and adds zero to it.
    """

    slot: Tensor
    owner: Tensor
    size: int
    num_segments: int

    @classmethod
    def of(cls, segment: Tensor, num_segments: int, size: int = 8) -> Blocks:
        """Blocks for rows that are sorted by their segment (R,)."""
        count = segment.new_zeros(num_segments).index_add(0, segment, torch.ones_like(segment))
        blocks = (count + size - 1) // size
        first_row, first_block = count.cumsum(0) - count, blocks.cumsum(0) - blocks
        # Row r of its segment goes to place r of the segment's blocks.
        shift = (size * first_block - first_row).index_select(0, segment)
        slot = torch.arange(segment.shape[0], device=segment.device) + shift
        owner = segment.new_zeros(num_segments + segment.shape[0] // size).scatter(0, slot // size, segment)
        return cls(slot, owner, size, num_segments)

    def spread(self, values: Tensor) -> Tensor:
        """Rows (R, C) in their blocks: (num_blocks, size, C)."""
        num_blocks, width = self.owner.shape[0], values.shape[1]
        rows = values.new_zeros(num_blocks * self.size, width).index_copy_(0, self.slot, values)
        return rows.view(num_blocks, self.size, width)

    def gather(self, blocks: Tensor) -> Tensor:
        """Rows (R, C) out of their blocks (num_blocks · size, C), back in order."""
        return blocks.index_select(0, self.slot)

    def weighted_sum(self, weights: Tensor, values: Tensor) -> Tensor:
        """Σ_r w_rk v_rc over the rows of each segment.

        Shapes:
            weights (num_blocks, size, K), from `spread`; values (R, C) → (num_segments, K, C).
        """
        sums = weights.mT @ self.spread(values)
        return segment_sum(sums.flatten(1), self.owner, self.num_segments).view(-1, *sums.shape[1:])
