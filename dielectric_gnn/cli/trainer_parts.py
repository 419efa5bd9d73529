"""Callbacks and loggers that the command adds to Lightning's trainer, and filters of its warnings."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from dielectric_gnn.training.callbacks.best_checkpoint import BestCheckpoint
from dielectric_gnn.training.callbacks.graceful_stop import GracefulStop
from dielectric_gnn.training.callbacks.random_state import RandomState
from dielectric_gnn.training.run_folder import CHECKPOINTS
from dielectric_gnn.utils.errors import InputError

_PROCESSES_PER_CORE = 4

_DEVICES = re.compile(r"auto|-1|[1-9]\d*|\d+(, ?\d+)*,|\d+(, ?\d+)+|\[\d+(, ?\d+)*\]")


def fit_callbacks(
    run_dir: Path, requeue: bool, min_delta: float = 0.0, from_epoch: int = 0, saves: bool = True, logs: bool = True
) -> list[Callback]:
    """Checkpoints, stopping and random state of a training.

    Args:
        run_dir: Folder of the run.
        requeue: Requeue the SLURM job when a signal announces its time limit.
        min_delta: As for `BestCheckpoint`.
        from_epoch: As for `BestCheckpoint`.
        saves: Write checkpoints; if false, only an interrupted training writes one.
        logs: Log learning rates; requires a logger.
    """
    folder = run_dir / CHECKPOINTS
    best = BestCheckpoint(folder, min_delta, from_epoch)
    last = ModelCheckpoint(folder, "last", save_top_k=1, save_on_train_epoch_end=True, enable_version_counter=False)
    return [
        *([best, last] if saves else []),
        GracefulStop(folder / "last.ckpt", requeue),
        RandomState(),
        *([LearningRateMonitor("epoch")] if logs else []),
    ]


def check_devices(devices: Any, on_gpus: bool = False) -> None:
    """Raise InputError unless `trainer.devices` is a number of them, a list of their numbers, or `auto`.

    Lightning refuses more GPUs than there are, but on CPUs would start any number of processes.
    """
    if not _DEVICES.fullmatch(str(devices)):
        raise InputError(
            f"trainer.devices is {devices}, expected a number (at least 1, or -1 for all), a list such as [0, 1], "
            "or auto"
        )
    most = _PROCESSES_PER_CORE * (os.cpu_count() or 1)
    if not on_gpus and str(devices).isdecimal() and int(devices) > most:
        raise InputError(
            f"trainer.devices is {devices}, but each device is a process; {os.cpu_count()} cores allow at most {most}"
        )


def loggers(run_dir: Path) -> list[Any]:
    """TensorBoard, and CSV in a new folder for every launch, so that a resumed run keeps its history."""
    csv_logger = CSVLogger(run_dir, name="csv")
    return [csv_logger, TensorBoardLogger(run_dir, name="", version="tensorboard")]


def as_list(value: Any) -> list[Any]:
    """The value of an option that may be missing, one object or several."""
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence | Mapping) else [value]


def callback_settings(callbacks: Any) -> dict[str, Any] | None:
    """Options of the callbacks of a parsed configuration by class path, for comparison when a training resumes."""
    settings: dict[str, Any] = {}
    for one in as_list([callbacks] if isinstance(callbacks, Mapping) else callbacks):
        path = one["class_path"] if isinstance(one, Mapping) else str(one)
        number = sum(key.split("#")[0] == path for key in settings)
        name = f"{path}#{number + 1}" if number else path
        settings[name] = (one.get("init_args") if isinstance(one, Mapping) else None) or {}
    return settings or None


def quiet() -> None:
    """Filter warnings of Lightning that do not apply here."""
    for message in (
        ".*does not have many workers.*",  # gathering takes 0.005 ms per material: workers would be slower
        ".*is smaller than the logging interval.*",  # metrics are logged once per epoch
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*`torch.jit.*` is deprecated.*",
        ".*recommended to use `self.log\\(.*sync_dist=True.*",  # the means are already taken over all processes
        ".*`srun` command is available on your system but is not used.*",  # SLURM is not used
        ".*callbacks used to create the checkpoint need to be provided.*",  # these callbacks are used by `fit` only
        ".*`training_step` returned `None`.*",  # baselines have no gradient and no optimiser
        ".*`LightningModule.configure_optimizers` returned `None`.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: not any(word in record.getMessage() for word in ("Tip:", "TPU available", "💡"))
    )
