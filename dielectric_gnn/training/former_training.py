"""Find the training that the folder of a run already contains, and delete it on request."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dielectric_gnn.data.datamodule import TRAIN_IDS
from dielectric_gnn.training.run_folder import CHECKPOINTS
from dielectric_gnn.training.run_record import RECORD, RunRecord, read_record
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.locks import is_first_process, is_restarted_job

_WRITTEN = (
    f"{CHECKPOINTS}/*.ckpt",
    RECORD,
    TRAIN_IDS,
    "fit.yaml",
    "rejects_fit.csv",
    "csv/version_*/metrics.csv",
    "csv/version_*/hparams.yaml",
    "csv/version_*/fit.yaml",
    "tensorboard/events.out.tfevents.*",
    "tensorboard/hparams.yaml",
)
"""Files that a training writes into the folder of its run."""

_FOLDERS = (CHECKPOINTS, "csv/version_*", "csv", "tensorboard")


def training_in(run_dir: Path) -> str | None:
    """Describe the training that a folder contains; None if a new training would replace nothing of value.

    A training that was stopped in its first epoch leaves a record and logs only, which a new training may replace.
    """
    checkpoints = sorted(path.name for path in (run_dir / CHECKPOINTS).glob("*.ckpt") if path.name[0] != ".")
    if checkpoints:
        return " and ".join(checkpoints)
    path = run_dir / RECORD
    if not path.is_file():
        return None
    record = record_in(run_dir)
    if record is None:
        return f"a {RECORD} that cannot be read"
    if record.status == "finished" or record.epochs > 1:
        return f"a {RECORD} of {record.epochs} epochs"
    return None


def record_in(run_dir: Path) -> RunRecord | None:
    """The run record of a folder; None if there is no readable one."""
    try:
        return read_record(run_dir / RECORD)
    except InputError:
        return None


def check_no_training(run_dir: Path) -> None:
    """Raise InputError if a new training would replace one that a folder holds."""
    found = training_in(run_dir)
    if found is None:
        return
    last = run_dir / CHECKPOINTS / "last.ckpt"
    lost = ""
    if not last.exists():
        linked = f" (it is a link to {last.readlink()}, which does not exist)" if last.is_symlink() else ""
        lost = f", but no last.ckpt to continue{linked}"
    raise InputError(f"{run_dir} contains a training: {found}{lost}; {ways_on(run_dir)}")


def ways_on(run_dir: Path, damaged: Path | None = None) -> str:
    """The commands a user can choose from if a folder contains a training.

    Args:
        run_dir: The folder.
        damaged: A checkpoint that cannot be used.
    """
    folder = run_dir / CHECKPOINTS
    there = [path for path in (folder / "last.ckpt", folder / "best.ckpt") if path.is_file() and path != damaged]
    ways = [f"continue it with --ckpt_path {shlex.quote(str(path))}" for path in there[:1]]
    return ", ".join([*ways, "discard it with --overwrite, or choose another --run_dir"])


def overwrites(run_dir: Path, config: Mapping[str, Any]) -> bool:
    """Whether the training in the folder is to be discarded before the new one starts.

    A job that SLURM has requeued never discards it, because the job itself wrote it.

    Raises:
        InputError: The new training starts from a checkpoint that would be discarded.
    """
    if not config["overwrite"]:
        return False
    if is_restarted_job():
        if is_first_process():
            sys.stderr.write(f"this job was requeued, so --overwrite has no effect on the training in {run_dir}\n")
        return False
    for key in ("ckpt_path", "fine_tune_from"):
        path = config[key]
        if path in ("last", "best") or (path is not None and is_checkpoint_of(run_dir, path)):
            raise InputError(
                f"--overwrite would discard {path}, which is given by --{key}; leave out one of the two options"
            )
    return True


def discard_training(run_dir: Path) -> None:
    """Delete the files that a training writes; results of tests, predictions and other files stay."""
    for pattern in _WRITTEN:
        for path in run_dir.glob(pattern):
            path.unlink()
    for pattern in _FOLDERS:
        for folder in run_dir.glob(pattern):
            with suppress(OSError):  # not empty: it contains other files
                folder.rmdir()


def is_checkpoint_of(run_dir: Path, path: str) -> bool:
    """Whether a checkpoint lies in the folder of a run."""
    return os.path.realpath(Path(path).parent) == os.path.realpath(run_dir / CHECKPOINTS)
