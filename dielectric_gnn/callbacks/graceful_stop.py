"""Ctrl-C and SIGTERM end a training with a checkpoint, at the next batch."""

from __future__ import annotations

import signal
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info


class TrainingInterrupted(SystemExit):
    """Raised once the checkpoint of an interrupted training is written; ends the process with 128 + signal."""


class GracefulStop(Callback):
    """On SIGINT or SIGTERM, finish the batch, write `last.ckpt` and stop; a second signal stops at once.

    The handler itself only notes the signal: a checkpoint written inside it could meet half an optimiser step.

    Args:
        path: Where to write the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._received: int | None = None
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the two signals."""
        self._received = None
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._note)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop here if a signal has come and the gradients of this batch are used up."""
        batch_idx = kwargs.get("batch_idx", args[-1])
        stop = self._received is not None and (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if trainer.world_size > 1:  # every process must leave at the same batch
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if not stop:
            return
        trainer.save_checkpoint(self.path)
        rank_zero_info(
            f"\nInterrupted in epoch {trainer.current_epoch}; to go on, repeat the command (--ckpt_path {self.path})"
        )
        raise TrainingInterrupted(128 + (self._received or signal.SIGTERM))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the signals back."""
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        # The next signal of either kind acts as it did before: at once.
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._previous = {}
