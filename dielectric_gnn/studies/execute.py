"""Execution of one run: train, resume after an interruption, retry after a failure, test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from threading import Event
from typing import Literal

from typing_extensions import TypedDict

from dielectric_gnn.studies.plan import PlannedRun
from dielectric_gnn.training.run_record import RECORD, RunRecord, read_record, write_record
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import write_text
from dielectric_gnn.utils.locks import INHERITED_LOCK, RUN_LOCK, FolderLock, wait_for_lock
from dielectric_gnn.utils.schemas import read_schema
from dielectric_gnn.utils.text import on_one_line

State = Literal["waiting", "running", "interrupted", "failed", "damaged", "trained", "finished"]

LOG = "study.log"
"""Name of the file in the folder of a run with the output of its commands."""

_COMMANDS = "commands.json"
_SECONDS_BETWEEN_POLLS = 0.2
_EXIT_USER_MISTAKE = 2
_STOP_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]


class _Commands(TypedDict):
    """Content of `commands.json`."""

    fit: list[str]
    test: list[str]


@dataclass(frozen=True)
class Outcome:
    """How the execution of a run ended.

    Args:
        state: State of the run.
        attempts: Number of times its training or test was started; 0 if it was finished already.
        reason: Reason of a failure, in one line.
    """

    state: State
    attempts: int = 0
    reason: str = ""


def find_record(run: PlannedRun) -> RunRecord | None:
    """The record of a run; None if it has none yet.

    Raises:
        InputError: The record cannot be read.
    """
    path = run.folder / RECORD
    return read_record(path) if path.is_file() else None


def state_of(run: PlannedRun) -> State:
    """State of a run according to its record.

    A `trained` run has not been tested, `running` may be a training that was killed, and the record of a `damaged`
    run cannot be read.
    """
    try:
        record = find_record(run)
    except InputError:
        return "damaged"
    if record is None:
        return "waiting"
    if record.status == "finished":
        return "finished" if "test/loss" in record.metrics else "trained"
    return record.status


def check_commands(run: PlannedRun) -> None:
    """Check that the content of the folder of a run was made by the same command line.

    Raises:
        InputError: It was made with other settings.
    """
    path = run.folder / _COMMANDS
    if not path.is_file():
        return
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    stored = tuple(read_schema(f"{path}: damaged", text, _Commands, f"remove {run.folder} to repeat the run")["fit"])
    if stored == run.fit:
        return
    place = next((i for i, pair in enumerate(zip(stored, run.fit, strict=False)) if pair[0] != pair[1]), -1)
    was, now = (" ".join(words[max(place - 1, 0) : place + 1] if place >= 0 else words) for words in (stored, run.fit))
    raise InputError(
        f"{run.folder}: this run was started with other settings ({was!r}, now {now!r}); choose another --out, or "
        "remove the folder to repeat it"
    )


def execute(run: PlannedRun, threads: int, retries: int, stop: Event, own_session: bool = True) -> Outcome:
    """Train and test a run, and skip what is done already.

    A damaged record is written again by `fit`, which resumes from the last checkpoint, and a test. While another
    process executes the run, this one waits. The commands hold the lock of the folder too, and continue if this process
    is killed.

    Args:
        run: The run.
        threads: Number of CPU threads of each process.
        retries: Number of times training or test are started again after a failure that is not a user's mistake.
        stop: Event that interrupts the run, which then writes a checkpoint.
        own_session: Start its processes in a session of their own, where signals of the terminal do not reach them;
            otherwise they receive the signals that SLURM sends to a job.
    """
    check_commands(run)
    run.folder.mkdir(parents=True, exist_ok=True)
    lock = wait_for_lock(run.folder / RUN_LOCK, f"the study's run {run.name}", stop.wait)
    if lock is None:
        return Outcome("interrupted")
    try:
        return _execute(run, threads, retries, stop, lock, own_session)
    finally:
        lock.release()


def _execute(run: PlannedRun, threads: int, retries: int, stop: Event, lock: FolderLock, own_session: bool) -> Outcome:
    if state_of(run) == "finished":
        return Outcome("finished")
    write_text(run.folder / _COMMANDS, json.dumps({"fit": run.fit, "test": run.test}, indent=1) + "\n")
    attempts = 0
    while not stop.is_set():
        words = run.test if state_of(run) == "trained" else run.fit
        attempts += 1
        status = _call(run, words, threads, stop, lock, own_session)
        if status == 0 and state_of(run) == "finished":
            return Outcome("finished", attempts)
        if status == 0 and state_of(run) == "trained" and words is run.fit:
            attempts -= 1  # the test is the other half of the same attempt
            continue
        if _was_stopped(status):
            break
        if attempts > retries or status == _EXIT_USER_MISTAKE:
            return _failed(run, status, attempts)
    _set_status(run, "interrupted")
    return Outcome("interrupted", attempts)


def _call(
    run: PlannedRun, words: tuple[str, ...], threads: int, stop: Event, lock: FolderLock, own_session: bool
) -> int:
    """Run one command; returns its exit status."""
    line = [sys.executable, "-m", "dielectric_gnn", *words]
    # With these variables, Lightning would treat the processes of the SLURM job as its own ranks.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "SUBMITIT_"))}
    environment |= {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    environment |= {INHERITED_LOCK: str((run.folder / RUN_LOCK).resolve())}
    # On Windows descriptors are not inherited; there, a command that outlives this process holds no lock.
    descriptors = () if lock.descriptor is None or sys.platform == "win32" else (lock.descriptor,)
    with (run.folder / LOG).open("ab") as log:
        log.write(f"\n$ {' '.join(['dielectric-gnn', *words])}\n".encode())
        log.flush()
        # In a session of its own it receives Ctrl-C once, from this process: a second signal would prevent the
        # checkpoint. It holds the lock too, so that no other process starts the run if only this one is killed.
        process = subprocess.Popen(
            line,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=own_session,
            pass_fds=descriptors,
        )
        signalled = False
        while process.poll() is None:
            if stop.is_set() and not signalled:
                process.send_signal(signal.SIGTERM)
                signalled = True
            time.sleep(_SECONDS_BETWEEN_POLLS)
    return process.returncode


def _was_stopped(status: int) -> bool:
    return any(status in (128 + number, -number) for number in _STOP_SIGNALS)


def _failed(run: PlannedRun, status: int, attempts: int) -> Outcome:
    _set_status(run, "failed")
    how = f"killed by signal {-status}" if status < 0 else f"exit status {status}"
    if status == 0:
        how = "its commands succeeded, but the record is incomplete"
    lines = (run.folder / LOG).read_text(encoding="utf-8", errors="replace").split("\n$ ")[-1].splitlines()
    messages = [line for line in lines if line.startswith("error: ")] or [line for line in lines[1:] if line.strip()]
    reason = f"{how}; {on_one_line(messages[-1]) if messages else 'no message'}; see {run.folder / LOG}"
    return Outcome("failed", attempts, reason)


def _set_status(run: PlannedRun, status: Literal["interrupted", "failed"]) -> None:
    """Correct the record of a training that was killed before it could: its status is still `running`."""
    if state_of(run) in ("damaged", "finished", "trained", status):
        return
    if (record := find_record(run)) is not None:
        write_record(run.folder / RECORD, replace(record, status=status))
