"""What a training says of itself: what is trained on what and, where no terminal watches, a line per epoch."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from dielectric_gnn.data.splits import SPLIT_NAMES
from dielectric_gnn.training.schedule import learning_rate


class ProgressBar(RichProgressBar):
    """Lightning's bar without the logger's version number, which says nothing here."""

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """What the bar shows: the losses."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


class TrainingLines(Callback):
    """Prints model, parameters and data once and, for log files and batch systems, one plain line per epoch.

    Args:
        every_epoch: Whether to print the lines per epoch; a progress bar replaces them in a terminal.
    """

    def __init__(self, every_epoch: bool) -> None:
        self.every_epoch = every_epoch
        self._started = 0.0
        self._rate = 0.0
        self._validated = False  # in this epoch

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what is trained on what."""
        if not trainer.is_global_zero:
            return
        module: Any = pl_module
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        parts = [type(part).__name__ for part in (module.backbone, module.pooling, module.head) if part is not None]
        kind = "values of its state" if module.head is None else "trainable parameters"
        sizes = ", ".join(f"{data.indices[name].size} {name}" for name in SPLIT_NAMES)
        sys.stdout.write(
            f"model: {' → '.join(parts)}, {module.num_parameters:,} {kind}\n"
            f"data: {data.source_name}, {sizes} materials, broadening {data.store.broadening} eV\n"
        )
        sys.stdout.flush()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A training that goes on within an epoch does not start it."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the time, and the learning rate before the schedule changes it."""
        self._started = time.perf_counter()
        self._validated = False
        self._rate = learning_rate(trainer.optimizers)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that the validation loss is of this epoch."""
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the line; Lightning keeps the loss of the last validation, which may be of an earlier epoch."""
        if not (self.every_epoch and trainer.is_global_zero):
            return
        seconds = time.perf_counter() - self._started
        losses = " ".join(
            f"{name} {float(trainer.callback_metrics[name]):.4f}"
            for name in ("train/loss", *(["val/loss"] if self._validated else []))
            if name in trainer.callback_metrics
        )
        of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        sys.stdout.write(f"epoch {trainer.current_epoch + 1}{of} {losses} lr {self._rate:.2e} {seconds:.2f} s\n")
        sys.stdout.flush()
