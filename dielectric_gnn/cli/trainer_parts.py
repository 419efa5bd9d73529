"""What the command gives to Lightning's trainer beside its options: checkpoints, loggers, silence."""

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
        requeue: Requeue the SLURM job when its time limit is announced.
        min_delta: As for `BestCheckpoint`.
        from_epoch: As for `BestCheckpoint`.
        saves: Write checkpoints; without, only an interrupted training leaves one.
        logs: There is a logger, for learning rates.
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
            f"trainer.devices is {devices}, expected how many (at least 1, or -1 for all), a list as in [0, 1], or auto"
        )
    most = _PROCESSES_PER_CORE * (os.cpu_count() or 1)
    if not on_gpus and str(devices).isdecimal() and int(devices) > most:
        raise InputError(
            f"trainer.devices is {devices}, but each is a process, of which {os.cpu_count()} cores bear at most {most}"
        )


def loggers(run_dir: Path) -> list[Any]:
    """TensorBoard, and CSV in a new folder for every launch, so that a continued run keeps its history."""
    csv_logger = CSVLogger(run_dir, name="csv")
    return [csv_logger, TensorBoardLogger(run_dir, name="", version="tensorboard")]


def as_list(value: Any) -> list[Any]:
    """What an option holds that may be missing, one thing or several."""
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
    """Silence advice that does not apply here."""
    for message in (
        ".*does not have many workers.*",  # gathering takes 0.005 ms per crystal: workers would only cost
        ".*is smaller than the logging interval.*",  # metrics are logged once per epoch
        ".*isinstance\\(treespec, LeafSpec\\).*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*`torch.jit.*` is deprecated.*",
        ".*recommended to use `self.log\\(.*sync_dist=True.*",  # our means are of all processes already
        ".*`srun` command is available on your system but is not used.*",  # also where nobody asked for SLURM
        ".*callbacks used to create the checkpoint need to be provided.*",  # they serve `fit` alone
    ):
        warnings.filterwarnings("ignore", message=message)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: not any(word in record.getMessage() for word in ("Tip:", "TPU available", "💡"))
    )
