r"""Train and test every run of a study: a grid of data sizes, widths, backbones, heads and seeds from one YAML file.

    dielectric-gnn study configs/study/laptop.yaml --dry-run     # the commands, and what they will cost
    dielectric-gnn study configs/study/laptop.yaml --jobs 2      # here, two at a time
    dielectric-gnn study configs/study/published_grid.yaml --executor slurm --jobs 64 \
        --slurm partition=gpu gpus_per_node=1 time=600                # as a job array, 600 minutes each

Repeat the command after an interruption, of whatever kind: finished runs are skipped, interrupted ones continue from
their checkpoint, failed ones are tried again. Ctrl-C interrupts every run with a checkpoint. Each run leaves a
run_record.json in its folder; `dielectric-gnn fit-laws` reads them.
"""

from __future__ import annotations

import argparse
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
from typing import Any

import yaml

from dielectric_gnn.studies.execute import Outcome, check_commands, state_of
from dielectric_gnn.studies.local import run_locally
from dielectric_gnn.studies.plan import PlannedRun, check_sizes, plan_runs
from dielectric_gnn.studies.progress import Progress
from dielectric_gnn.studies.slurm import check_options, submit, wait_for
from dielectric_gnn.studies.spec import Data, Study, check_folder, read_study
from dielectric_gnn.utils.entry import command
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import user_path, write_text

_STOPPED = 130
_SEXAGESIMAL = re.compile(r"[-+]?\d+(:\d+)+")


def main(words: list[str] | None = None) -> None:
    """Run the study; exit status 0 if every run is finished, 1 if some failed, 130 if interrupted, 2 for a mistake.

    Args:
        words: Command line without the program's name; None takes that of the process.
    """
    command(lambda: sys.exit(_run(_parser().parse_args(words))))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dielectric-gnn study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "study",
        type=user_path,
        metavar="STUDY",
        help="YAML file; configs/study/ has examples, docs/studies.md explains it",
    )
    add("--out", metavar="FOLDER", help="of the runs (default: `out` of the study, else runs/NAME)")
    add("--dry-run", action="store_true", help="print the commands and an estimate of the cost, and run nothing")
    add("--no-estimate", action="store_true", help="with --dry-run: the commands alone, at once")
    add("--only", metavar="PATTERN", default="*", help="runs whose name matches, such as '*-d500-*'")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="options for every run, e.g. trainer.max_epochs=5")
    add(
        "--executor", choices=["local", "slurm"], default="local", help="where runs are executed (default: %(default)s)"
    )
    add("--jobs", type=_positive, default=1, metavar="N", help="runs at a time (default: %(default)s)")
    add("--threads", type=_positive, default=1, metavar="N", help="CPU threads of each run (default: %(default)s)")
    add("--retries", type=int, default=1, metavar="N", help="of a failed run (default: %(default)s)")
    add(
        "--slurm",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="options of submitit's SlurmExecutor: partition, ...",
    )
    add("--no-wait", action="store_true", help="with --executor slurm: submit and leave")
    return parser


def _run(args: argparse.Namespace) -> int:
    study = read_study(args.study)
    if args.out is not None:
        check_folder("--out", args.out)
        study = replace(study, out=args.out)
    every = plan_runs(study, _pairs(args.set, "--set"))
    runs = [run for run in every if fnmatch(run.name, args.only)]
    if not runs:
        raise InputError(f"study {study.name}: no run matches {args.only!r}; there are {every[0].name}, ...")
    check_sizes(study, runs)
    options = _pairs(args.slurm, "--slurm")
    if args.executor == "slurm":
        check_options(options)
    if args.dry_run:
        return _dry_run(study, runs, args)
    for run in runs:
        check_commands(run)
    _prepare(study.data)
    check_sizes(study, runs)
    study.folder.mkdir(parents=True, exist_ok=True)
    write_text(study.folder / "study.yaml", args.study.read_text(encoding="utf-8"))  # which may be that very file
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    left = [run for run in runs if state_of(run) != "finished"]
    interval = 1.0 if args.executor == "local" else 5.0
    with Progress(study.name, runs, interval) as progress:
        if args.executor == "local":
            outcomes = run_locally(left, args.jobs, args.threads, args.retries, progress, stop)
        else:
            jobs = submit(left, study.folder, study.name, args.jobs, args.threads, args.retries, options)
            if args.no_wait:
                return _submitted(jobs)
            outcomes = wait_for(jobs, {run.name: run for run in left}, progress, stop)
    return _conclude(study, runs, outcomes)


def _conclude(study: Study, runs: Sequence[PlannedRun], outcomes: dict[str, Outcome]) -> int:
    """Say what became of the runs, and what to do next."""
    failed = {name: outcome for name, outcome in outcomes.items() if outcome.state == "failed"}
    for name, outcome in failed.items():
        print(f"failed: {name}, {outcome.reason}")
    finished = sum(state_of(run) == "finished" for run in runs)
    print(f"{finished} of {len(runs)} runs are finished; their records are in {study.folder}/")
    if finished:
        print(f"fit scaling laws to them: dielectric-gnn fit-laws {study.folder}")
    if finished < len(runs):
        print("to go on, repeat the command")
        return 1 if failed else _STOPPED
    return 0


def _submitted(jobs: dict[str, str]) -> int:
    for job, name in jobs.items():
        print(f"job {job}: {name}")
    print("repeat the command to see how far they are; scancel stops them")
    return 0


def _prepare(data: Data | None) -> None:
    """Build the store that all runs share, where it is absent."""
    if data is None or Path(data.store).expanduser().exists():
        return
    if data.build is None:
        raise InputError(f"{data.store}: no such store; build it with `dielectric-gnn prepare`, or set data.store")
    line = _build_command(data)
    print(f"the store is built first: {shlex.join(line)}", flush=True)
    if subprocess.run([sys.executable, "-m", "dielectric_gnn", *line[1:]], check=False).returncode:
        raise InputError(f"the store {data.store} could not be built; see above")


def _build_command(data: Data) -> list[str]:
    return ["dielectric-gnn", "prepare", "build", str(data.build), data.store, *data.build_options]


def _dry_run(study: Study, runs: Sequence[PlannedRun], args: argparse.Namespace) -> int:
    if study.data is not None and study.data.build and not Path(study.data.store).expanduser().exists():
        print(shlex.join(_build_command(study.data)))
    for run in runs:
        print("\n".join(run.commands()))
    if not args.no_estimate:
        from dielectric_gnn.cli.cost_estimate import estimate  # imports PyTorch

        print(estimate(runs, args.jobs, args.threads))
    return 0


def _pairs(given: Sequence[str], option: str) -> dict[str, Any]:
    """KEY=VALUE with values as YAML reads them."""
    pairs = {}
    for pair in given:
        key, sign, value = pair.partition("=")
        if not (key and sign):
            raise InputError(f"{option} {pair}: expected KEY=VALUE")
        try:
            # YAML takes 1:30 for a number to the base of 60.
            pairs[key] = value if _SEXAGESIMAL.fullmatch(value) else yaml.safe_load(value)
        except yaml.YAMLError as error:
            reason = " ".join(str(getattr(error, "problem", error)).split())
            raise InputError(
                f"{option} {pair}: {value!r} is not YAML ({reason}); expected a number, text, [a, b]"
            ) from error
    return pairs


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)
