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
_KEYWORDS = ("last", "best")


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
        InputError: Several processes, not launched by this command, or launches of a job that is requeued, would each
            choose their own; or the checkpoint is named by a word alone.
    """
    if config.get("run_dir") is not None:
        return Path(config["run_dir"])
    if config.get("requeue"):
        raise InputError("requeue is true, but a job that runs again finds its training only by --run_dir; give one")
    if config.get("ckpt_path") in _KEYWORDS:
        raise InputError(f"--ckpt_path {config['ckpt_path']} is that of a run; give its --run_dir too, or a path")
    if paths := checkpoints_of(config):
        folder = Path(paths[0]).resolve().parent
        return folder.parent if folder.name == CHECKPOINTS else folder
    if "LOCAL_RANK" not in os.environ:  # processes that this one launches take its choice
        os.environ[_VARIABLE] = datetime.now().strftime("runs/%Y%m%d-%H%M%S")
    if _VARIABLE not in os.environ:
        raise InputError("several processes that were not launched by this command need the same --run_dir")
    return Path(os.environ[_VARIABLE])


def named_checkpoint(run_dir: Path, config: Mapping[str, Any]) -> str | None:
    """The checkpoint that a training was told to continue; `last` and `best` are those of its folder.

    Raises:
        InputError: It does not exist, or the training shall begin from the weights of another too.
    """
    path = config["ckpt_path"]
    if path is None:
        return None
    if config["fine_tune_from"] is not None:
        raise InputError("give --ckpt_path to continue a training or --fine_tune_from to begin one, not both")
    folder = run_dir / CHECKPOINTS
    if path in _KEYWORDS:
        path = str(folder / f"{path}.ckpt")
    if not Path(path).is_file():
        raise InputError(f"{path}: no such checkpoint to continue from; a stopped training leaves {folder}/last.ckpt")
    return str(path)
