"""The checkpoint of lowest validation loss, optionally by the rule of the published study."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from dielectric_gnn.utils.errors import InputError


class BestCheckpoint(ModelCheckpoint):
    """Keeps `best.ckpt`, replaced whenever `val/loss` improves.

    The study (arXiv:2602.05702) counts only improvements of more than 1e-3 over the lowest loss that counted before,
    from the first epoch on, and writes none before the eleventh epoch: `min_delta=1e-3, from_epoch=10`. Where its rule
    would leave no checkpoint at all, the last state is kept.

    Args:
        folder: Where the checkpoint goes.
        min_delta: By how much the loss must fall below the lowest one that counted.
        from_epoch: Epochs, counted from 0, before which nothing is written.

    Raises:
        InputError: A negative number.
    """

    def __init__(self, folder: Path, min_delta: float = 0.0, from_epoch: int = 0) -> None:
        if not 0 <= min_delta < math.inf or from_epoch < 0:
            raise InputError(
                f"best_min_delta is {min_delta} and best_from_epoch {from_epoch}, expected numbers of at least 0"
            )
        super().__init__(folder, "best", monitor="val/loss", save_top_k=1, enable_version_counter=False)
        self.min_delta = min_delta
        self.from_epoch = from_epoch
        self.lowest = math.inf

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Whether the epoch that has ended is written."""
        if current is None:
            return False
        improved = bool(trainer.strategy.reduce_boolean_decision(bool(current < self.lowest - self.min_delta)))
        if improved:
            self.lowest = float(current)
        return improved and trainer.current_epoch >= self.from_epoch

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the last state where the rule of the study has written no epoch."""
        super().on_train_end(trainer, pl_module)
        strict = self.min_delta > 0 or self.from_epoch > 0
        if strict and not self.best_model_path and trainer.current_epoch > 0:
            path = Path(self.dirpath or ".") / "best.ckpt"
            trainer.save_checkpoint(path)
            rank_zero_info(
                f"from epoch {self.from_epoch} on, no validation loss was lower by {self.min_delta:g}: {path} is the "
                "last state"
            )

    def state_dict(self) -> dict[str, Any]:
        """The state of `ModelCheckpoint`, and the lowest loss that counted."""
        return {**super().state_dict(), "lowest": self.lowest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore it; a state of before has no `lowest`, which then is that of the best checkpoint."""
        super().load_state_dict(state_dict)
        score = state_dict.get("best_model_score")
        self.lowest = float(state_dict.get("lowest", math.inf if score is None else score))
