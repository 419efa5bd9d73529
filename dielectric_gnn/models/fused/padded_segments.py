"""Weighted sums over segments as batched matrix products.

S_skc = Σ_r w_rk v_rc over the rows r of a segment s is a small matrix product. The plain form writes all R · K · C
products to memory and reads them again for the sum, which costs more than the arithmetic. Here every segment is cut
into blocks of `size` rows, padded with zeros; all blocks are multiplied in one batched product, and only their K · C
results are summed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dielectric_gnn.models.layers.segment import segment_count, segment_sum


@dataclass(frozen=True)
class PaddedSegments:
    """Rows of sorted segments in blocks of equal size, padded with zeros.

    At most R // size + num_segments blocks are needed; that many are allocated, so that no shape depends on values.

    Shapes:
        slot: (R,) int64, position of each row among the rows of all blocks. owner: (num_blocks,) int64, the segment of
        each block; an empty block has an arbitrary owner and adds zero to it.
    """

    slot: Tensor
    owner: Tensor
    size: int
    num_segments: int

    @classmethod
    def from_segment(cls, segment: Tensor, num_segments: int, size: int = 8) -> PaddedSegments:
        """Blocks for rows that are sorted by their segment (R,)."""
        count = segment_count(segment, num_segments)
        blocks = (count + size - 1) // size
        first_row, first_block = count.cumsum(0) - count, blocks.cumsum(0) - blocks
        # Row r of a segment is row r of the blocks of the segment.
        shift = (size * first_block - first_row).index_select(0, segment)
        slot = torch.arange(segment.shape[0], device=segment.device) + shift
        owner = segment.new_zeros(num_segments + segment.shape[0] // size).scatter(0, slot // size, segment)
        return cls(slot, owner, size, num_segments)

    def pad(self, values: Tensor) -> Tensor:
        """Rows (R, C) → (num_blocks, size, C)."""
        num_blocks, width = self.owner.shape[0], values.shape[1]
        rows = values.new_zeros(num_blocks * self.size, width).index_copy_(0, self.slot, values)
        return rows.view(num_blocks, self.size, width)

    def unpad(self, blocks: Tensor) -> Tensor:
        """Rows of the blocks (num_blocks · size, C) → (R, C), in the original order."""
        return blocks.index_select(0, self.slot)

    def weighted_sum(self, weights: Tensor, values: Tensor) -> Tensor:
        """Σ_r w_rk v_rc over the rows of each segment.

        Shapes:
            weights (num_blocks, size, K), from `pad`; values (R, C) → (num_segments, K, C).
        """
        sums = weights.mT @ self.pad(values)
        return segment_sum(sums.flatten(1), self.owner, self.num_segments).view(-1, *sums.shape[1:])
