"""The folder of a run: where commands write, which checkpoints they read, and the lock against simultaneous writers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import remove_temporary_files
from dielectric_gnn.utils.locks import RUN_LOCK, FolderLock, is_first_process, is_restarted_job, lock_folder
from dielectric_gnn.utils.text import on_one_line, printable

CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints within a run's folder."""

PREDICTIONS = "predictions"
"""Folder of the predictions within a run's folder."""

_WRITERS = {
    "fit": (RUN_LOCK, ("", CHECKPOINTS)),
    "test": (".test.lock", ("test",)),
    "predict": (".predict.lock", (PREDICTIONS,)),
}
"""Lock and folders of each command that writes. `validate` writes its configuration only."""

_VARIABLE = "DIELECTRIC_GNN_RUN_DIR"
_KEYWORDS = ("last", "best")


def checkpoints_of(config: Mapping[str, Any]) -> list[str]:
    """The checkpoints of a command: those of an ensemble, one, or none.

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
    """The folder given by the user, else that of the checkpoint's run, else a new one named by date and time.

    Raises:
        InputError: Several processes that were not launched by this command, or the launches of a requeued job, would
            each choose another folder; or `ckpt_path` is `last` or `best`; or the name is empty or not printable.
    """
    if config.get("run_dir") is not None:
        return _named_run_dir(config["run_dir"])
    if config.get("requeue"):
        raise InputError("requeue is true, but a requeued job finds its training only with a fixed --run_dir; give one")
    if config.get("ckpt_path") in _KEYWORDS:
        raise InputError(
            f"--ckpt_path {config['ckpt_path']} refers to the checkpoint of a run; give its --run_dir too, or a path"
        )
    if paths := checkpoints_of(config):
        folder = Path(paths[0]).resolve().parent
        return folder.parent if folder.name == CHECKPOINTS else folder
    if "LOCAL_RANK" not in os.environ:  # processes launched by this one use the same folder
        os.environ[_VARIABLE] = datetime.now().strftime("runs/%Y%m%d-%H%M%S")
    if _VARIABLE not in os.environ:
        raise InputError("several processes that were not launched by this command need the same --run_dir")
    return Path(os.environ[_VARIABLE])


def _named_run_dir(name: str) -> Path:
    if not name.strip():
        raise InputError("--run_dir is empty, expected the name of a folder; leave it out for a new one")
    if any(control in name for control in "\n\t") or name != printable(name):
        raise InputError(f"--run_dir is {on_one_line(name)!r}, with control characters; choose another name")
    return Path(name)


def final_checkpoint(run_dir: Path) -> Path:
    """The checkpoint that a training ends with: `best.ckpt`, or `last.ckpt` if nothing was validated."""
    best = run_dir / CHECKPOINTS / "best.ckpt"
    return best if best.is_file() else best.with_name("last.ckpt")


def lock_run(run_dir: Path, verb: str) -> FolderLock:
    """Lock the files that a command writes, and remove temporary files of commands that were killed.

    A training, a test and a prediction may run at the same time, since they write to different folders; two commands of
    the same kind may not. The first process of a launch holds the lock for all its processes.

    Raises:
        InputError: Another command holds the lock.
    """
    if verb not in _WRITERS or not is_first_process():
        return FolderLock()
    name, folders = _WRITERS[verb]
    lock = lock_folder(run_dir, f"dielectric-gnn {verb}", name)
    for folder in folders:
        remove_temporary_files(run_dir / folder)
    return lock


def named_checkpoint(run_dir: Path, config: Mapping[str, Any]) -> str | None:
    """The checkpoint given to resume from; `last` and `best` refer to the folder of the run.

    In a job that SLURM has requeued it is last.ckpt of the folder, if it exists: the options of the first launch would
    otherwise restart the training from its beginning.

    Raises:
        InputError: It does not exist, or `fine_tune_from` is given as well.
    """
    path = config["ckpt_path"]
    if path is None:
        return None
    if config["fine_tune_from"] is not None:
        raise InputError("give --ckpt_path to continue a training or --fine_tune_from to begin one, not both")
    folder = run_dir / CHECKPOINTS
    if is_restarted_job() and (folder / "last.ckpt").is_file():
        return str(folder / "last.ckpt")
    if path in _KEYWORDS:
        path = str(folder / f"{path}.ckpt")
    if not Path(path).is_file():
        raise InputError(f"{path}: no such checkpoint to continue from; a stopped training leaves {folder}/last.ckpt")
    return str(path)
