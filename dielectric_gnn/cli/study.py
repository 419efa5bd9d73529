r"""Train and test every run of a study: a grid of data sizes, widths, backbones, heads and seeds from one YAML file.

    dielectric-gnn study configs/study/laptop.yaml --dry-run     # the commands, and an estimate of the cost
    dielectric-gnn study configs/study/laptop.yaml --jobs 2      # on this machine, two runs at a time
    dielectric-gnn study configs/study/published_grid.yaml --executor slurm --jobs 64 \
        --slurm partition=gpu gpus_per_node=1 time=600           # as a job array, 600 minutes per job

Repeat the command after any interruption: finished runs are skipped, interrupted runs resume from their checkpoint,
failed runs are tried again. Ctrl-C interrupts every run with a checkpoint. Each run writes run_record.json to its
folder; `dielectric-gnn fit-laws` reads these records. configs/study/ has examples, docs/studies.md explains the file.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from threading import Event
from typing import Any, Literal

import yaml
from jsonargparse.typing import NonNegativeInt, PositiveInt

from dielectric_gnn.cli.function_parser import parse_words
from dielectric_gnn.studies.execute import Outcome, check_commands, state_of
from dielectric_gnn.studies.local import run_locally
from dielectric_gnn.studies.plan import PlannedRun, check_sizes, plan_runs
from dielectric_gnn.studies.progress import Progress
from dielectric_gnn.studies.slurm import check_options, submit, wait_for
from dielectric_gnn.studies.spec import Data, Study, check_folder, read_study
from dielectric_gnn.utils.entry import EXIT_INTERRUPTED, command
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import write_text

_SEXAGESIMAL = re.compile(r"[-+]?\d+(:\d+)+")
_SECONDS_BETWEEN_LOOKS = {"local": 1.0, "slurm": 5.0}


def main(words: list[str] | None = None) -> None:
    """Run the study; exit status 0 if every run is finished, 1 if some failed, 130 if interrupted, 2 for a mistake.

    Args:
        words: Command line without the program's name; None takes that of the process.
    """
    command(lambda: sys.exit(run_study(**parse_words(run_study, words, "dielectric-gnn study", __doc__))))


def run_study(
    study: Path,
    out: str | None = None,
    dry_run: bool = False,
    no_estimate: bool = False,
    only: str = "*",
    set: Sequence[str] = (),
    executor: Literal["local", "slurm"] = "local",
    jobs: PositiveInt = 1,
    threads: PositiveInt = 1,
    retries: NonNegativeInt = 1,
    slurm: Sequence[str] = (),
    no_wait: bool = False,
) -> int:
    """Execute the runs of a study.

    Args:
        study: YAML file of the study.
        out: Folder of the runs; by default `out` of the study, or else runs/NAME.
        dry_run: Print the commands and an estimate of the cost, and run nothing.
        no_estimate: With --dry-run, print the commands only, without delay.
        only: Pattern of the names of the runs to execute, such as '*-d500-*'.
        set: Options of every run as KEY=VALUE, such as trainer.max_epochs=5.
        executor: Where runs are executed.
        jobs: Number of runs at a time.
        threads: Number of CPU threads of each run.
        retries: Number of times a failed run is tried again.
        slurm: Options of submitit's SlurmExecutor as KEY=VALUE, such as partition=gpu time=600.
        no_wait: With --executor slurm, submit and do not wait.

    Returns:
        Exit status of the command.
    """
    plan = read_study(study)
    if out is not None:
        check_folder("--out", out)
        plan = replace(plan, out=out)
    runs = _selected(plan, plan_runs(plan, _key_values(set, "--set")), only)
    options = _key_values(slurm, "--slurm")
    if executor == "slurm":
        check_options(options)
    if dry_run:
        return _print_plan(plan, runs, None if no_estimate else (jobs, threads))
    _prepare(plan, runs, study.read_text(encoding="utf-8"))
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    unfinished = [run for run in runs if state_of(run) != "finished"]
    with Progress(plan.name, runs, _SECONDS_BETWEEN_LOOKS[executor]) as progress:
        if executor == "local":
            outcomes = run_locally(unfinished, jobs, threads, retries, progress, stop)
        else:
            submitted = submit(unfinished, plan.folder, plan.name, jobs, threads, retries, options)
            if no_wait:
                return _print_submitted(submitted)
            outcomes = wait_for(submitted, {run.name: run for run in unfinished}, progress, stop)
    return _conclude(plan, runs, outcomes)


def _selected(study: Study, every: Sequence[PlannedRun], pattern: str) -> list[PlannedRun]:
    """The runs whose names match a pattern."""
    runs = [run for run in every if fnmatch(run.name, pattern)]
    if not runs:
        raise InputError(f"study {study.name}: no run matches {pattern!r}; the runs are {every[0].name}, ...")
    check_sizes(study, runs)
    return runs


def _prepare(study: Study, runs: Sequence[PlannedRun], text: str) -> None:
    """Check the folders of the runs, build the store, and copy the study's file to its folder."""
    for run in runs:
        check_commands(run)
    _build_store(study.data)
    check_sizes(study, runs)
    study.folder.mkdir(parents=True, exist_ok=True)
    write_text(study.folder / "study.yaml", text)


def _conclude(study: Study, runs: Sequence[PlannedRun], outcomes: dict[str, Outcome]) -> int:
    """Print the results of the runs and the next command; returns the exit status."""
    failed = {name: outcome for name, outcome in outcomes.items() if outcome.state == "failed"}
    for name, outcome in failed.items():
        print(f"failed: {name}, {outcome.reason}")
    finished = sum(state_of(run) == "finished" for run in runs)
    print(f"{finished} of {len(runs)} runs are finished; their records are in {study.folder}/")
    if finished:
        print(f"fit scaling laws to them: dielectric-gnn fit-laws {study.folder}")
    if finished < len(runs):
        print("to continue, repeat the command")
        return 1 if failed else EXIT_INTERRUPTED
    return 0


def _print_submitted(jobs: dict[str, str]) -> int:
    for job, name in jobs.items():
        print(f"job {job}: {name}")
    print("repeat the command to see their progress; scancel stops them")
    return 0


def _build_store(data: Data | None) -> None:
    """Build the store that all runs share, if it does not exist."""
    if data is None or Path(data.store).expanduser().exists():
        return
    if data.build is None:
        raise InputError(f"{data.store}: no such store; build it with `dielectric-gnn prepare`, or set data.store")
    words = _build_command(data)
    print(f"building the store first: {shlex.join(words)}", flush=True)
    if subprocess.run([sys.executable, "-m", "dielectric_gnn", *words[1:]], check=False).returncode:
        raise InputError(f"the store {data.store} could not be built; see above")


def _build_command(data: Data) -> list[str]:
    return ["dielectric-gnn", "prepare", "build", str(data.build), data.store, *data.build_options]


def _print_plan(study: Study, runs: Sequence[PlannedRun], estimate_for: tuple[int, int] | None) -> int:
    """Print the commands and, for a number of jobs and threads, an estimate of the cost."""
    if study.data is not None and study.data.build and not Path(study.data.store).expanduser().exists():
        print(shlex.join(_build_command(study.data)))
    for run in runs:
        print("\n".join(run.commands()))
    if estimate_for is not None:
        from dielectric_gnn.cli.cost_estimate import estimate  # imports PyTorch

        print(estimate(runs, *estimate_for))
    return 0


def _key_values(pairs: Sequence[str], option: str) -> dict[str, Any]:
    """KEY=VALUE as a mapping, with values parsed as YAML."""
    values = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not (key and sign):
            raise InputError(f"{option} {pair}: expected KEY=VALUE")
        try:
            # YAML reads 1:30 as a sexagesimal number.
            values[key] = value if _SEXAGESIMAL.fullmatch(value) else yaml.safe_load(value)
        except yaml.YAMLError as error:
            reason = " ".join(str(getattr(error, "problem", error)).split())
            raise InputError(
                f"{option} {pair}: {value!r} is not YAML ({reason}); expected a number, text, [a, b]"
            ) from error
    return values
