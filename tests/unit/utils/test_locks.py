"""Locks of folders: held by one process at a time, gone with it, and never in the way of other work."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dielectric_gnn.training.run_folder import lock_run
from dielectric_gnn.utils import locks
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.locks import (
    INHERITED_LOCK,
    RUN_LOCK,
    FolderLock,
    is_first_process,
    lock_folder,
    locked,
    try_lock,
    wait_for_lock,
)

HOLD = """
import sys, time
from pathlib import Path
from dielectric_gnn.utils.locks import lock_folder
lock = lock_folder(Path(sys.argv[1]), "the holder")
print("held", flush=True)
time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lock of `tmp_path`."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_process_is_refused_and_knows_by_whom(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    with pytest.raises(InputError) as caught:
        lock_folder(tmp_path, "the second")
    message = str(caught.value)
    assert str(tmp_path) in message and "the holder" in message and f"process {holder.pid} on" in message
    assert "wait until" in message and "\n" not in message


def test_a_kill_leaves_no_lock(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    holder.kill()
    holder.wait()
    assert (tmp_path / RUN_LOCK).stat().st_size > 0, "the file still names the one that was killed"
    with locked(tmp_path, "the second"):
        assert json.loads((tmp_path / RUN_LOCK).read_text())["pid"] == os.getpid()
    assert (tmp_path / RUN_LOCK).stat().st_size == 0


def test_a_damaged_file_is_no_obstacle_and_no_way_to_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / RUN_LOCK
    path.write_text("{not JSON")
    lock = lock_folder(tmp_path, "first")
    for content, expected in (
        (b"\nnonsense", "another process"),
        (json.dumps({"pid": "\x1b[2J", "host": "a\nb", "work": "w", "since": "s"}).encode().rjust(200), r"\x1b[2J"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            lock_folder(tmp_path, "second")
        assert expected in str(caught.value) and "\x1b" not in str(caught.value) and "\n" not in str(caught.value)
    lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_forked_workers_do_not_keep_it(tmp_path: Path) -> None:
    """Workers of a data loader may outlive the process that was killed."""
    lock = lock_folder(tmp_path, "first")
    (wait, end), (ready, said) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        os.write(said, b"!")
        os.read(wait, 1)
        os._exit(0)
    os.read(ready, 1)
    assert lock.descriptor is not None
    os.close(lock.descriptor)  # as the end of the process does, without unlocking
    lock.descriptor = None
    again = lock_folder(tmp_path, "second")
    for descriptor in (end, wait, ready, said):
        os.close(descriptor)
    os.waitpid(child, 0)
    again.release()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows hands no descriptors down")
def test_child_processes_that_get_the_descriptor_hold_it_too(tmp_path: Path) -> None:
    lock = lock_folder(tmp_path, "parent")
    assert lock.descriptor is not None
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=(lock.descriptor,)
    )
    lock.release()
    with pytest.raises(InputError, match="in use"):
        lock_folder(tmp_path, "second")
    child.communicate()
    lock_folder(tmp_path, "third").release()


def test_child_processes_of_a_launch_do_not_collide_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(tmp_path, "the study"):
        monkeypatch.setenv(INHERITED_LOCK, str((tmp_path / RUN_LOCK).resolve()))
        assert lock_folder(tmp_path, "its training").descriptor is None
        with locked(tmp_path / "other", "another folder"), pytest.raises(InputError, match="in use"):
            lock_folder(tmp_path / "other", "not held for it")


@pytest.mark.parametrize(
    ("variables", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"RANK": "4", "LOCAL_RANK": "0"}, False),
        ({"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}, True),
        ({"NODE_RANK": "1"}, False),
        ({"SLURM_PROCID": "0"}, True),
        ({"SLURM_PROCID": "3"}, False),
        ({"OMPI_COMM_WORLD_RANK": "1"}, False),
    ],
)
def test_the_first_process_of_a_launch(
    variables: dict[str, str], first: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (*locks._RANK_VARIABLES, "NODE_RANK", "GROUP_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_first_process() == first
    lock = lock_run(tmp_path, "fit")
    assert (lock.descriptor is not None) == first
    lock.release()


def test_file_systems_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(code: int) -> Callable[..., bool]:
        def lock_descriptor(descriptor: int, blocking: bool) -> bool:
            raise OSError(code, os.strerror(code))

        return lock_descriptor

    for code in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
        monkeypatch.setattr(locks, "lock_descriptor", refuse(code))
        with locked(tmp_path, "work"), locked(tmp_path, "more"):
            shown = capsys.readouterr().err.splitlines()
            assert len(shown) == 2 and str(tmp_path) in shown[0] and "no locks" in shown[0]
    monkeypatch.setattr(locks, "lock_descriptor", refuse(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        lock_folder(tmp_path, "work")


def test_a_requeued_job_waits_for_its_former_self(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    lock = lock_folder(tmp_path, "the job before")
    timer = threading.Timer(0.3, lock.release)
    timer.start()
    started = time.monotonic()
    lock_folder(tmp_path, "the job again").release()
    assert time.monotonic() - started >= 0.2
    timer.join()
    monkeypatch.setattr(locks, "_RESTART_WAIT_SECONDS", 0.3)
    with locked(tmp_path, "the job before"), pytest.raises(InputError, match="in use"):
        lock_folder(tmp_path, "the job again")


def test_waiting_can_be_ended(tmp_path: Path) -> None:
    waits: list[float] = []
    with locked(tmp_path, "first"):
        assert (
            wait_for_lock(tmp_path / RUN_LOCK, "second", lambda seconds: bool(waits.append(seconds)) or len(waits) > 2)
            is None
        )
    assert len(waits) == 3
    lock = wait_for_lock(tmp_path / RUN_LOCK, "second", lambda seconds: True)
    assert lock is not None
    lock.release()


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("content")
    (tmp_path / RUN_LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=RUN_LOCK):
        lock_folder(tmp_path, "work")
    assert (tmp_path / "precious").read_text() == "content"


def test_a_deleted_lock_guards_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build deletes its folder while it holds the lock; who opened the file before must not take it for held."""
    real = locks.lock_descriptor

    def late(descriptor: int, blocking: bool) -> bool:
        (tmp_path / RUN_LOCK).unlink(missing_ok=True)
        return real(descriptor, blocking=blocking)

    monkeypatch.setattr(locks, "lock_descriptor", late)
    assert try_lock(tmp_path / RUN_LOCK, "work") is None


def test_test_and_prediction_go_on_beside_a_training(tmp_path: Path) -> None:
    held = [lock_run(tmp_path, verb) for verb in ("fit", "test", "predict", "validate")]
    for verb in ("fit", "test", "predict"):
        with pytest.raises(InputError, match=f"in use by dielectric-gnn {verb}"):
            lock_run(tmp_path, verb)
    assert held[-1].descriptor is None
    for lock in held:
        lock.release()
    FolderLock().release()


def test_half_written_files_of_killed_launches_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    stale = [folder / ".last.4711.tmp.ckpt", folder / ".epoch=1.5.12.tmp.ckpt", tmp_path / ".run_record.4711.tmp.json"]
    kept = [folder / "last.ckpt", folder / ".mine.tmp.ckpt", folder / "a.1.tmp.ckpt", tmp_path / ".notes.tmp"]
    for path in (*stale, *kept):
        path.write_text("")
    with locked(tmp_path, "another launch"), pytest.raises(InputError, match="in use"):
        lock_run(tmp_path, "fit")
    assert all(path.exists() for path in stale), "they may be of the process that is at work"
    lock_run(tmp_path, "fit").release()
    assert not any(path.exists() for path in stale) and all(path.exists() for path in kept)
