"""One command at a time writes into a folder: a lock of the operating system, which ends with the process.

The file stays when the lock is gone; what it says of the last holder has no effect. A process that is killed leaves no
lock behind. Child processes hold it too where they get its descriptor, such as the trainings of a study.
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

RUN = ".lock"
"""Name of the lock of everything in a folder: of a run, or of what a tool writes."""

HELD = "DIELECTRIC_GNN_LOCK"
"""Environment variable of child processes: the lock that their launch holds for them."""

_POLL_S = 0.2
_RESTART_WAIT_S = 120.0
"""How long a requeued job waits for its former self, or for the file server to notice that its node is gone."""

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK", "OMPI_COMM_WORLD_RANK")
_open_descriptors: set[int] = set()


class FolderLock:
    """A lock that this process holds; or that its launch holds for it, where there is no descriptor.

    Args:
        descriptor: Of the open file.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = descriptor

    def release(self) -> None:
        """Give it up. Child processes that have the descriptor keep it."""
        if self.descriptor is not None:
            with suppress(OSError):
                os.ftruncate(self.descriptor, 0)
            _open_descriptors.discard(self.descriptor)
            os.close(self.descriptor)
            self.descriptor = None


@contextmanager
def locked(folder: Path, work: str, name: str = RUN) -> Iterator[None]:
    """Hold the lock of a folder inside; see `lock_folder`."""
    lock = lock_folder(folder, work, name)
    try:
        yield
    finally:
        lock.release()


def lock_folder(folder: Path, work: str, name: str = RUN) -> FolderLock:
    """Take the lock of a folder, which is made where it is absent.

    On a file system without locks a line says so, and nothing is locked. A job that SLURM has requeued waits for up to
    two minutes.

    Args:
        folder: What is written to.
        work: Of this process, for the message of a process that comes second.
        name: Of the file; different work that may go on at the same time has different names.

    Raises:
        InputError: Another process holds it.
    """
    path = folder / name
    if os.environ.get(HELD) == str(path.resolve()):
        return FolderLock()
    deadline = time.monotonic() + (_RESTART_WAIT_S if is_restarted_job() else 0.0)
    while (lock := try_lock(path, work)) is None:
        if time.monotonic() >= deadline:
            raise InputError(
                f"{folder}: in use by {_holder(path)}; wait until it ends, stop it, or choose another folder"
            )
        time.sleep(_POLL_S)
    return lock


def wait_for_lock(path: Path, work: str, wait: Callable[[float], bool]) -> FolderLock | None:
    """Take a lock once it is free.

    Args:
        path: Of the file.
        work: As for `lock_folder`.
        wait: Called with seconds to wait for; true ends the waiting.

    Returns:
        None if the waiting was ended.
    """
    while (lock := try_lock(path, work)) is None:
        if wait(_POLL_S):
            return None
    return lock


def try_lock(path: Path, work: str) -> FolderLock | None:
    """Take a lock; None if another process holds it.

    Raises:
        OSError: The file cannot be opened.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        # A file that was deleted meanwhile guards no name.
        if not lock_descriptor(descriptor, blocking=False) or os.fstat(descriptor).st_nlink == 0:
            os.close(descriptor)
            return None
    except OSError as error:
        os.close(descriptor)
        if error.errno not in _NO_LOCKS:
            raise
        sys.stderr.write(
            f"{path.parent}: the file system has no locks ({error.strerror}); let no second command write there\n"
        )
        return FolderLock()
    _open_descriptors.add(descriptor)
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "work": work, "since": datetime.now().isoformat()[:19]}
    with suppress(OSError):  # a full disk: who holds the lock stays unknown
        os.ftruncate(descriptor, 0)
        # Windows locks the first byte against reading.
        os.write(descriptor, b"\n" + json.dumps(owner).encode() + b"\n")
    return FolderLock(descriptor)


def is_first_process() -> bool:
    """Whether this is the first process of its launch, by the variables of Lightning, torchrun, SLURM and MPI."""
    rank = next((os.environ[key] for key in _RANKS if key in os.environ), "0")
    node = os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0"))
    return rank == "0" and ("RANK" in os.environ or node == "0")


def is_restarted_job() -> bool:
    """Whether SLURM has requeued the job that this is part of."""
    return os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")


def _holder(path: Path) -> str:
    """Who holds a lock, as far as the file says."""
    try:
        with path.open("rb") as file:
            file.seek(1)
            owner = json.loads(file.read(4096))
        words = f"{owner['work']}, process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
    return on_one_line(words)


def _close_in_child() -> None:
    """A forked process, such as a worker of a data loader, must not keep the lock when its parent is gone."""
    for descriptor in _open_descriptors:
        os.close(descriptor)
    _open_descriptors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)
