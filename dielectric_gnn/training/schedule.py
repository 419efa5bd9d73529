"""Learning-rate schedules, and the scaling of the learning rate with the size of the model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from dielectric_gnn.utils.errors import InputError


@dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up from `start_lr` to the optimiser's rate, then cosine annealing to zero (arXiv:2602.05702).

    Args:
        warmup_epochs: Length of the warm-up.
        start_lr: Learning rate of the first epoch (or step).
        cosine_epochs: Length of the annealing; null means all epochs after the warm-up.
        interval: Whether the rate changes once per epoch, as published, or at every step.
    """

    warmup_epochs: int = 5
    start_lr: float = 1e-7
    cosine_epochs: int | None = None
    interval: Literal["epoch", "step"] = "epoch"

    def __post_init__(self) -> None:
        if self.warmup_epochs < 0 or self.start_lr < 0 or (self.cosine_epochs or 1) < 1:
            raise InputError(f"{self}: lengths and start_lr must not be negative, cosine_epochs at least 1")

    def rate(self, epoch: float, peak: float, max_epochs: int) -> float:
        """Learning rate after `epoch` epochs (fractions count with `interval: step`), for the optimiser's `peak`."""
        if epoch < self.warmup_epochs:
            return self.start_lr + (peak - self.start_lr) * epoch / self.warmup_epochs
        length = self.cosine_epochs or max(max_epochs - self.warmup_epochs, 1)
        return peak * 0.5 * (1 + math.cos(math.pi * min((epoch - self.warmup_epochs) / length, 1.0)))

    def build(self, optimizer: Optimizer, max_epochs: int | None, steps_per_epoch: int) -> LambdaLR:
        """The PyTorch scheduler.

        Raises:
            InputError: The number of epochs is unlimited, so that no annealing can be planned.
        """
        if self.cosine_epochs is None and (max_epochs is None or max_epochs < 1):
            raise InputError("a cosine schedule needs trainer.max_epochs, or schedule.cosine_epochs")
        unit = steps_per_epoch if self.interval == "step" else 1

        def factor(peak: float, count: int) -> float:
            return self.rate(count / unit, peak, max_epochs or 1) / peak if peak else 1.0

        return LambdaLR(optimizer, [partial(factor, float(group["lr"])) for group in optimizer.param_groups])


@dataclass(frozen=True)
class SchedulerConfig:
    """Any PyTorch scheduler, with the settings that Lightning has for one.

    Args:
        scheduler: A class of `torch.optim.lr_scheduler`, or another subclass of `LRScheduler`, by class path; in
            Python, the class or a `functools.partial` of it.
        interval: Whether the scheduler advances once per epoch or at every step.
        frequency: It advances after this many epochs or steps.
        monitor: The metric that `ReduceLROnPlateau` follows.
    """

    scheduler: Callable[[Optimizer], LRScheduler]
    interval: Literal["epoch", "step"] = "epoch"
    frequency: int = 1
    monitor: str = "val/loss"

    def __post_init__(self) -> None:
        if self.frequency < 1:
            raise InputError(f"model.lr_scheduler.frequency is {self.frequency}, expected at least 1")

    def for_lightning(self, optimizer: Optimizer) -> Any:
        """The value of `lr_scheduler` that `configure_optimizers` returns."""
        settings = {"interval": self.interval, "frequency": self.frequency, "monitor": self.monitor}
        return {"scheduler": self.scheduler(optimizer), **settings}


@dataclass(frozen=True)
class LearningRateScaling:
    """Reduce the learning rate of larger models: lr = lr₀ · (N₀ / N)^γ, as in the published width scaling.

    Args:
        reference_parameters: N₀, the trainable parameters of the model that the optimiser's rate lr₀ was tuned for.
        exponent: γ.
    """

    reference_parameters: int
    exponent: float = 1.0

    def __post_init__(self) -> None:
        if self.reference_parameters < 1:
            raise InputError(f"reference_parameters is {self.reference_parameters}, expected at least 1")

    def factor(self, parameters: int) -> float:
        """Factor of the learning rate of a model with `parameters` trainable parameters."""
        return float((self.reference_parameters / parameters) ** self.exponent)


def learning_rate(optimizers: Sequence[Optimizer]) -> float:
    """The present rate of the first parameters; 0 without any, as of a baseline."""
    return next((float(group["lr"]) for optimizer in optimizers for group in optimizer.param_groups), 0.0)
