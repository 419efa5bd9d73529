r"""Cross-validate a configuration: every labelled material is predicted once, by a model that has not seen its formula.

    dielectric-gnn cross-validate --config configs/base.yaml --config configs/baseline/composition_kernel.yaml
    dielectric-gnn cross-validate --config configs/quickstart.yaml --seeds 0 1 2 --workers 2 --out runs/cv-network
    dielectric-gnn compare runs/cv-network runs/cv                 # paired difference of two results

Takes the options of `dielectric-gnn fit` beside its own. Every fold with every seed is a run of its own, trained and
tested in a process of its own. Nothing is validated unless --validation is given, and the last weights are tested.
Repeat the command after an interruption: finished runs are kept, and interrupted ones resume from their checkpoint.
Results in --out: per_material.csv, spectra.npz, summary.md.
"""

from __future__ import annotations

import inspect
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from jsonargparse.typing import NonNegativeInt, PositiveInt

from dielectric_gnn.cli.function_parser import parse_words
from dielectric_gnn.studies.cross_validation.folds import RUNS, make_folds, plan_folds, run_name, write_folds
from dielectric_gnn.studies.execute import Outcome, check_commands, state_of
from dielectric_gnn.studies.local import run_locally
from dielectric_gnn.studies.plan import PlannedRun
from dielectric_gnn.studies.progress import Progress
from dielectric_gnn.training.run_folder import CHECKPOINTS
from dielectric_gnn.utils.entry import EXIT_INTERRUPTED, command
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import check_writable, write_text
from dielectric_gnn.utils.locks import locked
from dielectric_gnn.utils.names import check_seed

_PROG = "dielectric-gnn cross-validate"
_OWN = {"--run_dir": "--out", "--seed_everything": "--seeds", "--data.split_ids": "--folds", "--ckpt_path": "--out"}
"""Options of `fit` that this command sets, and its own option in their place."""


def main(words: list[str] | None = None) -> None:
    """Cross-validate; exit status 0 if every run is finished, 1 if some failed, 130 if interrupted, 2 for a mistake.

    Args:
        words: Command line without the program's name; None takes that of the process.
    """
    command(lambda: _main(sys.argv[1:] if words is None else words))


def _main(words: Sequence[str]) -> None:
    own, fit = split_words(words, cross_validate)
    sys.exit(cross_validate(*fit, **parse_words(cross_validate, own, _PROG, __doc__)))


def split_words(words: Sequence[str], function: Callable[..., Any]) -> tuple[list[str], list[str]]:
    """The options of a function with their values, and all other words of a command line."""
    names = {f"--{name.replace('_', '-')}" for name in inspect.signature(function).parameters} | {"-h", "--help"}
    own: list[str] = []
    others: list[str] = []
    target = others
    for word in words:
        if word.startswith("--") or word in names:
            target = own if word.partition("=")[0] in names else others
        target.append(word)
    return own, others


def cross_validate(
    *fit: str,
    out: Path = Path("runs/cross-validation"),
    folds: PositiveInt = 5,
    seeds: Sequence[int] = (0,),
    fold_seed: NonNegativeInt = 0,
    validation: float = 0.0,
    workers: PositiveInt = 1,
    threads: PositiveInt = 1,
    retries: NonNegativeInt = 1,
) -> int:
    """Train and test every fold with every seed, and write and print the results.

    Args:
        fit: Options of `dielectric-gnn fit`.
        out: Folder of runs and results.
        folds: Number of folds; materials of one reduced formula are in one fold.
        seeds: Seeds of initial weights and the order of batches.
        fold_seed: Seed of the assignment of formulas to folds.
        validation: Share of the training formulas of every fold that are used for validation instead; best.ckpt is then
            tested. Callbacks that follow val/loss need it.
        workers: Number of runs at a time.
        threads: Number of CPU threads of each run.
        retries: Number of times a failed run is tried again.

    Returns:
        Exit status of the command.
    """
    # Imported here, because Lightning takes seconds that the help page need not spend.
    from dielectric_gnn.cli.materials import read_configuration
    from dielectric_gnn.studies.cross_validation.results import FoldPredictions
    from dielectric_gnn.studies.cross_validation.table import result_lines

    _check(fit, seeds, validation)
    check_writable(out)
    with locked(out, _PROG):
        configured = read_configuration(fit)
        store = configured.store
        splits = make_folds(store.material_ids, store.formulas, folds, fold_seed, validation)
        listed = write_folds(out, splits)
        checkpoint = "best.ckpt" if validation else "last.ckpt"
        runs = list(plan_folds(out, listed, seeds, fit, configured.data_words, checkpoint))
        outcomes = _execute(runs, workers, threads, retries)
        if any(state_of(run) != "finished" for run in runs):
            return _unfinished(runs, outcomes)
        predictions = FoldPredictions(store, seeds)
        for fold, split in zip(listed, splits, strict=True):
            paths = [out / RUNS / run_name(fold.number, seed) / CHECKPOINTS / checkpoint for seed in seeds]
            predictions.add(fold.number, split["test"], paths, configured.trusted)
        predictions.write(out)
        text = result_lines(out, predictions.results())
        write_text(out / "summary.md", text)
        print(f"\n{text}")
    return 0


def _check(fit: Sequence[str], seeds: Sequence[int], validation: float) -> None:
    for word in fit:
        if (cure := _OWN.get(word.partition("=")[0])) is not None:
            raise InputError(f"{word} is set by cross-validate for every run; use {cure} instead")
    for seed in seeds:
        check_seed("--seeds", seed)
    if len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds is {list(seeds)}, expected different numbers")
    if not 0 <= validation < 1:
        raise InputError(f"--validation is {validation:g}, expected a share of at least 0 and below 1")


def _execute(runs: Sequence[PlannedRun], workers: int, threads: int, retries: int) -> dict[str, Outcome]:
    """Execute the runs that are not finished."""
    for run in runs:
        check_commands(run)
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    unfinished = [run for run in runs if state_of(run) != "finished"]
    with Progress("cross-validation", runs) as progress:
        return run_locally(unfinished, workers, threads, retries, progress, stop)


def _unfinished(runs: Sequence[PlannedRun], outcomes: dict[str, Outcome]) -> int:
    """Print what is missing; returns the exit status."""
    failed = [f"failed: {name}, {one.reason}" for name, one in outcomes.items() if one.state == "failed"]
    finished = sum(state_of(run) == "finished" for run in runs)
    print("\n".join([*failed, f"{finished} of {len(runs)} runs are finished; to continue, repeat the command"]))
    return 1 if failed else EXIT_INTERRUPTED
