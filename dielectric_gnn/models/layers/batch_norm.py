"""Batch norm over rows that may stand for several equal rows, as the classes of orbit graphs do."""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.models.layers.segment import at_least_float32

Counts: TypeAlias = int | Tensor
"""How many equal rows each row stands for: one number for all, or (R,)."""


class BatchNorm(nn.BatchNorm1d):
    """Batch norm whose rows may stand for several equal rows, and which accepts fewer than two rows.

    Batches of fewer than two rows occur for structures without a three-body pair and for isolated atoms without an
    edge. Such a batch is normalised as in evaluation.

    Shapes:
        (R, C) → (R, C).
    """

    # None of them is None here: `affine` and `track_running_stats` stay true.
    momentum: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(self, input: Tensor, counts: Counts = 1) -> Tensor:
        """Normalise every channel."""
        rows = input.shape[0]
        if self.training and rows < 2 and (rows == 0 or int(counts) < 2):
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if not self.training or (isinstance(counts, int) and counts == 1):
            out: Tensor = super().forward(input)
            return out
        if rows == 1:
            return self(input.repeat(int(counts), 1))[:1]
        if isinstance(counts, Tensor):
            return self._normalise_weighted(input, counts)
        # With momentum 1 the buffers receive the statistics of this batch alone.
        mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        out = F.batch_norm(input, mean, variance, self.weight, self.bias, True, 1.0, self.eps)
        self.update_running_statistics(mean, variance * ((rows - 1) / rows), rows * counts)
        return out

    def _normalise_weighted(self, input: Tensor, counts: Tensor) -> Tensor:
        """Normalise with statistics that count each row as often as `counts` says."""
        with torch.autocast(input.device.type, enabled=False):
            input, num = at_least_float32(input), counts.sum()
            share = counts / num
            mean = share @ input
            centred = input - mean
            variance = share @ centred.square()
            self.update_running_statistics(mean.detach(), variance.detach(), num)
            return torch.addcmul(self.bias, centred, self.weight * (variance + self.eps).rsqrt())

    @torch.no_grad()
    def update_running_statistics(self, mean: Tensor, variance: Tensor, rows: Counts) -> None:
        """Update the running statistics by the biased statistics of a batch of `rows` rows."""
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var) * (rows / (rows - 1)), self.momentum)


def normalise_rows(norm: nn.Module, rows: Tensor, counts: Counts) -> Tensor:
    """Norm by a `BatchNorm`, or by another module in its place, such as `nn.LayerNorm` and `nn.SyncBatchNorm`."""
    out: Tensor
    if isinstance(norm, BatchNorm):
        out = norm(rows, counts)
        return out
    if isinstance(norm, nn.LayerNorm | nn.Identity):  # no statistics over rows
        out = norm(rows)
        return out
    # Another module has no argument for counts: each row is repeated, and the first of its copies kept.
    repeats = torch.as_tensor(counts, device=rows.device).long().expand(rows.shape[0])
    out = norm(rows.repeat_interleave(repeats, dim=0)).index_select(0, repeats.cumsum(0) - repeats)
    return out
