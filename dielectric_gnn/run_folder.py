"""Where a command writes, and which checkpoints it reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from dielectric_gnn.errors import InputError

CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints within a run's folder."""

PREDICTIONS = "predictions"
"""Folder of the predictions within a run's folder."""

_VARIABLE = "DIELECTRIC_GNN_RUN_DIR"
# What Lightning understands in place of a path.
_KEYWORDS = ("last", "best", "hpc", "registry")


def checkpoints_of(config: Mapping[str, Any]) -> list[str]:
    """The checkpoints that a verb shall use: several of an ensemble, one, or none.

    Raises:
        InputError: Both `ensemble` and `ckpt_path` are given.
    """
    ensemble, single = config.get("ensemble"), config.get("ckpt_path")
    if ensemble and single is not None:
        raise InputError("give either --ckpt_path or --ensemble, not both")
    if ensemble:
        return list(ensemble)
    return [] if single is None else [single]


def choose_run_dir(config: Mapping[str, Any]) -> Path:
    """The folder the user named, the run that the checkpoint belongs to, or a new one named after the time.

    Raises:
        InputError: Several processes, not launched by this command, would each choose their own.
    """
    if config.get("run_dir") is not None:
        return Path(config["run_dir"])
    if paths := checkpoints_of(config):
        folder = Path(paths[0]).resolve().parent
        return folder.parent if folder.name == CHECKPOINTS else folder
    if "LOCAL_RANK" not in os.environ:  # processes that this one launches take its choice
        os.environ[_VARIABLE] = datetime.now().strftime("runs/%Y%m%d-%H%M%S")
    if _VARIABLE not in os.environ:
        raise InputError("several processes that were not launched by this command need the same --run_dir")
    return Path(os.environ[_VARIABLE])


def check_start(run_dir: Path, ckpt_path: str | None) -> None:
    """Check that the checkpoint which a training shall continue exists.

    Raises:
        InputError: It does not.
    """
    last = run_dir / CHECKPOINTS / "last.ckpt"
    if ckpt_path is not None and ckpt_path not in _KEYWORDS and not Path(ckpt_path).is_file():
        raise InputError(f"{ckpt_path}: no such checkpoint to continue from; a stopped training leaves {last}")
