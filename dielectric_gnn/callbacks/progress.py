"""Progress where no terminal watches: one plain line per epoch."""

from __future__ import annotations

import sys
import time

from lightning.pytorch import Callback, LightningModule, Trainer


class EpochLines(Callback):
    """Prints epoch, losses, learning rate and time per epoch, for log files and batch systems."""

    def __init__(self) -> None:
        self._started = 0.0
        self._rate = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the time, and the learning rate before the schedule changes it."""
        self._started = time.perf_counter()
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line."""
        if not trainer.is_global_zero:
            return
        seconds = time.perf_counter() - self._started
        losses = " ".join(
            f"{name} {float(trainer.callback_metrics[name]):.4f}"
            for name in ("train/loss", "val/loss")
            if name in trainer.callback_metrics
        )
        of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        sys.stdout.write(f"epoch {trainer.current_epoch + 1}{of} {losses} lr {self._rate:.2e} {seconds:.2f} s\n")
        sys.stdout.flush()
