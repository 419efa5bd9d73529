"""Detect losses that are not finite, and the material they belong to, with few synchronisations."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_CHECK_EVERY_N_STEPS = 50
"""Losses of this many steps are kept before they are checked."""


class NonFiniteLoss(NamedTuple):
    """The first loss that is not finite: the material's position in its data set, and the batch within the epoch."""

    row: int
    batch: int


class LossMonitor:
    """Checks that the loss of every material in every step is finite.

    The gradient of an absolute error is its sign, which is 0 for NaN: without a check, a training on an invalid label
    would run to its end. A check synchronises the host with the GPU, and all processes with each other, so losses are
    kept for some steps and checked together; `first_non_finite` also checks them before weights are saved.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[int, Tensor, Tensor]] = []

    def add(self, losses: Tensor, rows: Tensor, batch: int) -> bool:
        """Keep the losses of a step; returns whether enough steps are kept for a check.

        Args:
            losses: (B,), of the materials.
            rows: (B,), their positions in the data set.
            batch: Number of the step within its epoch.
        """
        self._kept.append((batch, losses.detach(), rows))
        return len(self._kept) >= _CHECK_EVERY_N_STEPS

    def first_non_finite(self) -> NonFiniteLoss | None:
        """The first loss that is not finite among those kept since the last check."""
        kept, self._kept = self._kept, []
        if not kept or bool(torch.cat([losses for _, losses, _ in kept]).isfinite().all()):
            return None
        for batch, losses, rows in kept:
            if bad := (~losses.isfinite()).nonzero().flatten().tolist():
                return NonFiniteLoss(int(rows[bad[0]]), batch)
        return None
