"""Execution of the runs of a study as a SLURM job array, submitted through submitit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from dielectric_gnn.studies.execute import Outcome, execute, state_of
from dielectric_gnn.studies.plan import PlannedRun
from dielectric_gnn.studies.progress import Progress
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import write_text
from dielectric_gnn.utils.schemas import read_schema

_JOBS = "slurm_jobs.json"
_MISSED_POLLS = 2
"""Number of consecutive polls in which a job must be absent from the queue to count as ended."""


def run_in_job(run: PlannedRun, threads: int, retries: int) -> Outcome:
    """Body of a job of the array: execute its run, and requeue the job when SLURM signals the time limit.

    SLURM sends its signals to every process of a job, so the training receives them too and writes its checkpoint; this
    process only records them.
    """
    time_limit = Event()
    signal.signal(signal.SIGUSR1, lambda *_: time_limit.set())
    signal.signal(signal.SIGTERM, lambda *_: None)
    outcome = execute(run, threads, retries, Event(), own_session=False)
    sys.stdout.write(f"{run.name}: {outcome}\n")
    if outcome.state == "interrupted" and time_limit.is_set():
        _requeue()
    return outcome


def check_options(options: Mapping[str, Any]) -> None:
    """Check options of submitit before anything is written; a time limit is required, as its default is five minutes.

    Raises:
        InputError: There is no time limit, a value is not a whole number where it must be, submitit has no such option,
            or submitit is not installed.
    """
    if "time" not in options:
        raise InputError("--executor slurm requires the time limit of a job in minutes, such as --slurm time=600")
    for key, least, meaning in (("time", 1, "minutes"), ("signal_delay_s", 0, "seconds")):
        value = options.get(key, least)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise InputError(f"--slurm {key}={value}: expected a whole number of {meaning}, at least {least}")
    known = sorted(_submitit().SlurmExecutor._valid_parameters())
    if unknown := [key for key in options if key not in known]:
        raise InputError(
            f"--slurm {unknown[0]}={options[unknown[0]]}: submitit has no such option; its options are "
            f"{', '.join(known)}"
        )


def _submitit() -> Any:
    # The signal that trainings handle; submitit reads the variable when it is imported.
    os.environ["SUBMITIT_PREEMPT_SIGNAL"] = "USR1"
    try:
        import submitit
    except ImportError as error:
        raise InputError("--executor slurm requires submitit: pip install 'dielectric-gnn[slurm]'") from error
    return submitit


def submit(
    runs: Sequence[PlannedRun],
    folder: Path,
    name: str,
    jobs: int,
    threads: int,
    retries: int,
    options: Mapping[str, Any],
) -> dict[str, str]:
    """Submit a job array of the runs that have no active job, at most `jobs` of them at a time.

    Args:
        runs: The runs.
        folder: Folder of the study.
        name: Name of the study.
        jobs: Largest number of jobs at a time.
        threads: Number of CPUs of each job.
        retries: Number of times a failed run is tried again.
        options: Options of submitit's `SlurmExecutor`: `partition`, `time` (minutes), `gpus_per_node`, ...

    Returns:
        Names of runs by job, including the jobs that are active already.

    Raises:
        InputError: submitit is not installed, SLURM is not available, or it refuses the options.
    """
    active = _active_jobs()
    if active is None:
        raise InputError(
            "SLURM is not available: squeue failed; use a machine where sbatch and squeue work, or --executor local"
        )
    active_runs = {job: run for job, run in _stored_jobs(folder).items() if job in active}
    remaining = [run for run in runs if run.name not in active_runs.values()]
    if remaining:
        settings = {"job_name": f"study-{name}", "cpus_per_task": threads, "array_parallelism": jobs, **options}
        submitted = _submit_array(remaining, folder / "slurm", threads, retries, settings)
        active_runs |= {job: run.name for job, run in zip(submitted, remaining, strict=True)}
        write_text(folder / _JOBS, json.dumps(active_runs, indent=1) + "\n")
    return active_runs


def _submit_array(
    runs: Sequence[PlannedRun], folder: Path, threads: int, retries: int, settings: Mapping[str, Any]
) -> list[str]:
    submitit, number = _submitit(), len(runs)
    try:
        executor = submitit.SlurmExecutor(folder.resolve())
        executor.update_parameters(**settings)
        submitted = executor.map_array(run_in_job, runs, [threads] * number, [retries] * number)
    except (ValueError, TypeError, RuntimeError, OSError, subprocess.CalledProcessError) as error:
        raise InputError(f"SLURM did not accept the jobs: {' '.join(str(error).split())}") from error
    return [str(job.job_id) for job in submitted]


def wait_for(
    jobs: Mapping[str, str], runs: Mapping[str, PlannedRun], progress: Progress, stop: Event
) -> dict[str, Outcome]:
    """Wait until the jobs have ended; the outcomes are read from the records of their runs.

    Args:
        jobs: Names of runs by job.
        runs: The runs by name.
        progress: Display of the progress.
        stop: Event that ends the waiting; the jobs continue.

    Returns:
        Outcome of each run by name.
    """
    outcomes: dict[str, Outcome] = {}
    missed_polls = dict.fromkeys(jobs, 0)
    started: set[str] = set()
    while missed_polls and not stop.is_set():
        states = _active_jobs()
        for job in list(missed_polls) if states is not None else []:
            name = jobs[job]
            if states is not None and states.get(job) == "RUNNING" and name not in started:
                started.add(name)
                progress.begin(name)
            # A network file system may show a record some time after the job has written it.
            missed_polls[job] = 0 if states is not None and job in states else missed_polls[job] + 1
            if missed_polls[job] >= _MISSED_POLLS:
                del missed_polls[job]
                outcomes[name] = _outcome(runs[name], job)
                progress.end(name, outcomes[name])
        progress.show()
        stop.wait(progress.interval)
    return outcomes


def _outcome(run: PlannedRun, job: str) -> Outcome:
    state = state_of(run)
    if state == "finished":
        return Outcome("finished", 1)
    if state == "interrupted":
        return Outcome("interrupted", 1)
    logs = run.folder.parent / "slurm"
    return Outcome(
        "failed", 1, f"job {job} ended, and the run is {state}; see {logs}/{job}_0_log.err and {run.folder}/"
    )


def _active_jobs() -> dict[str, str] | None:
    """States of the queued and running jobs of this user; None if SLURM is not available."""
    words = ["squeue", "--me", "--noheader", "--array", "--format=%i|%T"]
    try:
        output = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(row.strip().split("|", 1) for row in output.splitlines() if "|" in row)


def _stored_jobs(folder: Path) -> dict[str, str]:
    """Names of runs by job, of the jobs that earlier launches submitted."""
    path = folder / _JOBS
    if not path.is_file():
        return {}
    return read_schema(
        f"{path}: damaged", path.read_bytes(), dict[str, str], "remove it; running jobs are then submitted again"
    )


def _requeue() -> None:
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
    done = subprocess.run(["scontrol", "requeue", job], check=False, capture_output=True, text=True)
    sys.stdout.write(f"requeue of job {job}: {done.stderr.strip() or 'accepted'}\n")
    sys.stdout.flush()
