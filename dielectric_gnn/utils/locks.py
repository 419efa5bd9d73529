"""Folder locks, so that one command at a time writes into a folder: locks of the operating system.

The lock ends with the process, also if the process is killed. The file remains; its content, which names the last
holder, has no effect. Child processes that inherit the descriptor, such as the trainings of a study, hold the lock too.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import lock_descriptor

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.text import on_one_line

RUN_LOCK = ".lock"
"""File name of the lock of a run folder, or of a folder that a tool writes to."""

INHERITED_LOCK = "DIELECTRIC_GNN_LOCK"
"""Environment variable of child processes: the lock that the parent process holds for them."""

_POLL_SECONDS = 0.2
_RESTART_WAIT_SECONDS = 120.0
"""How long a requeued job waits for its previous process to end, or for the file server to release its lock."""

_UNSUPPORTED_ERRORS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "OMPI_COMM_WORLD_RANK")
_open_descriptors: set[int] = set()


class FolderLock:
    """A lock that this process holds, or without a descriptor one that its parent process holds for it.

    Args:
        descriptor: Descriptor of the open lock file.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = descriptor

    def release(self) -> None:
        """Release the lock. Child processes that inherited the descriptor keep it."""
        if self.descriptor is not None:
            with suppress(OSError):
                os.ftruncate(self.descriptor, 0)
            _open_descriptors.discard(self.descriptor)
            os.close(self.descriptor)
            self.descriptor = None


@contextmanager
def locked(folder: Path, work: str, name: str = RUN_LOCK) -> Iterator[None]:
    """Hold the lock of a folder in the context; see `lock_folder`."""
    lock = lock_folder(folder, work, name)
    try:
        yield
    finally:
        lock.release()


def lock_folder(folder: Path, work: str, name: str = RUN_LOCK) -> FolderLock:
    """Acquire the lock of a folder, which is created if it does not exist.

    On a file system without locks a line on stderr reports it, and nothing is locked. A job that SLURM has requeued
    waits for up to two minutes.

    Args:
        folder: The folder to write to.
        work: What this process does, for the message of a second process.
        name: Name of the lock file; kinds of work that may run at the same time have different names.

    Raises:
        InputError: Another process holds the lock.
    """
    path = folder / name
    if os.environ.get(INHERITED_LOCK) == str(path.resolve()):
        return FolderLock()
    deadline = time.monotonic() + (_RESTART_WAIT_SECONDS if is_restarted_job() else 0.0)
    while (lock := try_lock(path, work)) is None:
        if time.monotonic() >= deadline:
            raise InputError(
                f"{folder}: in use by {_holder(path)}; wait until it ends, stop it, or choose another folder"
            )
        time.sleep(_POLL_SECONDS)
    return lock


def wait_for_lock(path: Path, work: str, wait: Callable[[float], bool]) -> FolderLock | None:
    """Acquire a lock once it is free.

    Args:
        path: The lock file.
        work: As for `lock_folder`.
        wait: Waits for the given number of seconds; returns true to stop waiting.

    Returns:
        The lock; None if the waiting was stopped.
    """
    while (lock := try_lock(path, work)) is None:
        if wait(_POLL_SECONDS):
            return None
    return lock


def try_lock(path: Path, work: str) -> FolderLock | None:
    """Acquire a lock; return None if another process holds it.

    Raises:
        OSError: The file cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        # A lock on a file that was deleted meanwhile has no effect.
        if not lock_descriptor(descriptor, blocking=False) or os.fstat(descriptor).st_nlink == 0:
            os.close(descriptor)
            return None
    except OSError as error:
        os.close(descriptor)
        if error.errno not in _UNSUPPORTED_ERRORS:
            raise
        sys.stderr.write(
            f"{path.parent}: the file system has no locks ({error.strerror}); do not start a second command there\n"
        )
        return FolderLock()
    _open_descriptors.add(descriptor)
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "work": work, "since": datetime.now().isoformat()[:19]}
    with suppress(OSError):  # on a full disk the holder stays unknown
        os.ftruncate(descriptor, 0)
        # Windows locks the first byte against reading.
        os.write(descriptor, b"\n" + json.dumps(owner).encode() + b"\n")
    return FolderLock(descriptor)


def is_first_process() -> bool:
    """Return whether this is the first process of its launch (Lightning, torchrun, SLURM or MPI)."""
    rank = next((os.environ[key] for key in _RANK_VARIABLES if key in os.environ), "0")
    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    return rank == "0" and ("RANK" in os.environ or node == "0")


def is_restarted_job() -> bool:
    """Return whether this process belongs to a job that SLURM has requeued."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")


def _holder(path: Path) -> str:
    """Return a description of the holder of a lock, from its file."""
    try:
        with path.open("rb") as file:
            file.seek(1)
            owner = json.loads(file.read(4096))
        words = f"{owner['work']}, process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
    return on_one_line(words)


def _close_in_child() -> None:
    """Release locks in a forked process: a worker of a data loader must not keep the lock after its parent ended."""
    for descriptor in _open_descriptors:
        os.close(descriptor)
    _open_descriptors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
