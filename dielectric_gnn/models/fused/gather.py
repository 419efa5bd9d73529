"""Gather of rows whose gradient is gathered as well, where autograd would add rows to scattered positions.

y = x[index] has the gradient dx_r = Σ_{k: index_k = r} dy_k. Where every row is used equally often, the positions of
its uses are a table, and the sum is a few gathers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def gather_rows(rows: Tensor, index: Tensor, uses: Tensor) -> Tensor:
    """`rows[index]`, whose gradient is a sum of gathers.

    Shapes:
        rows (R, C), index (S,) int64, uses (k, R) int64, the k positions in `index` that use each row; the gradient at
        all other positions must be zero → (S, C).
    """
    out: Tensor = _GatherRows.apply(rows, index, uses)  # type: ignore[no-untyped-call]
    return out


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor, uses: Tensor) -> Tensor:
        ctx.save_for_backward(uses)
        return rows.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (uses,) = ctx.saved_tensors
        total = grad.index_select(0, uses[0])
        for positions in uses[1:]:
            total += grad.index_select(0, positions)
        return total, None, None
