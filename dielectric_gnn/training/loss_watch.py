"""Which material's loss was the first that is not finite, found without a wait for a GPU or for other processes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_MOST_STEPS = 50
"""Steps whose losses are held at most until they are looked at."""


class BadLoss(NamedTuple):
    """The first loss that is not finite: the material's position in its data set, and the batch within the epoch."""

    row: int
    batch: int


class LossWatch:
    """Looks at the loss of every material of every step.

    The gradient of an absolute error is its sign, and that of NaN is 0: a training on a bad label would go on, and end
    as if nothing were wrong. A look makes the host wait for a GPU, and several processes have to look together, so
    losses may be held for some steps; they are looked at in any case before weights are kept, by `first_bad`.
    """

    def __init__(self) -> None:
        self._held: list[tuple[int, Tensor, Tensor]] = []

    def add(self, losses: Tensor, rows: Tensor, batch: int) -> bool:
        """Take the losses of a step; returns whether so many are held that it is time to look.

        Args:
            losses: (B,), of the materials.
            rows: (B,), their positions in the data set.
            batch: Number of the step within its epoch.
        """
        self._held.append((batch, losses.detach(), rows))
        return len(self._held) >= _MOST_STEPS

    def first_bad(self) -> BadLoss | None:
        """The first loss that is not finite among those that were not looked at yet."""
        held, self._held = self._held, []
        if not held or bool(torch.cat([losses for _, losses, _ in held]).isfinite().all()):
            return None
        for batch, losses, rows in held:
            if bad := (~losses.isfinite()).nonzero().flatten().tolist():
                return BadLoss(int(rows[bad[0]]), batch)
        return None
