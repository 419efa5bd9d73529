"""Cost estimate of a study: a few steps of each of its models are timed on this machine."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dielectric_gnn.cli.training import DielectricCLI
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.splits import SHARES
from dielectric_gnn.studies.execute import state_of
from dielectric_gnn.studies.flops import count_training_flops
from dielectric_gnn.studies.plan import PlannedRun
from dielectric_gnn.training.baseline_module import BaselineModule
from dielectric_gnn.training.evaluation import ResponseModule
from dielectric_gnn.training.module import DielectricModule

_BATCH_SIZE = 64
_MAX_TRAIN_SIZE = 512
_MIN_SECONDS = 1.0
_OWN_DATA = "its data"
_EMBEDDED_DATA = (
    "the embedded metals, whose cells are smaller than most, because the store does not exist yet; the sizes of "
    "validation and test sets are assumed to follow from the largest D by the shares of the split"
)


@dataclass(frozen=True)
class KindCost:
    """Cost of runs of one kind (model, head, width).

    Args:
        basis: Materials on which the cost was measured.
        num_parameters: N.
        epochs: Epochs of each training.
        validations: Validations of each training.
        num_train: D of a run with all training materials.
        per_sample: Seconds (of a GPU or a CPU core) per training material and epoch.
        per_evaluation: Seconds per evaluated material.
        num_validation: Materials of every validation.
        num_test: Materials of the test.
        flops: Floating-point operations per training material and epoch.
    """

    basis: str
    num_parameters: int
    epochs: int
    validations: int
    num_train: int
    per_sample: float
    per_evaluation: float
    num_validation: int
    num_test: int
    flops: float

    def seconds(self, size: int | None) -> float:
        """Seconds of one run, without the start of its commands."""
        evaluated = self.validations * self.num_validation + self.num_test
        return self.samples(size) * self.per_sample + evaluated * self.per_evaluation

    def samples(self, size: int | None) -> int:
        """Training materials that one run processes."""
        return self.epochs * (self.num_train if size is None else size)


class _BuildOnlyCLI(DielectricCLI):
    def _run_subcommand(self, subcommand: str) -> None:
        """Build model, data and trainer, and run nothing."""


def estimate(runs: Sequence[PlannedRun], jobs: int, threads: int) -> str:
    """Table of the cost of the runs of each kind on this machine, and the sum.

    Args:
        runs: The runs; finished runs cost nothing more.
        jobs: Number of runs at a time.
        threads: Number of CPU threads of each run.
    """
    torch.set_num_threads(threads)
    unfinished = [run for run in runs if state_of(run) != "finished"]
    costs: dict[str, KindCost] = {}
    start = 0.0
    largest = max((run.size for run in runs if run.size is not None), default=0)
    for kind in dict.fromkeys(run.kind for run in unfinished):
        costs[kind] = _measure(next(run for run in unfinished if run.kind == kind), largest)
        start = start or time.process_time()
    device, parallel = ("GPU", jobs) if torch.cuda.is_available() else ("CPU core", jobs * threads)
    lines = [f"\nestimate for the {len(unfinished)} of {len(runs)} runs that are not finished:"]
    total = 0.0
    for kind, cost in costs.items():
        sizes = [run.size for run in unfinished if run.kind == kind]
        seconds = sum(map(cost.seconds, sizes)) + 2 * start * len(sizes)
        samples = sum(map(cost.samples, sizes))
        total += seconds
        lines.append(
            f"  {kind}: {len(sizes)} runs, {cost.num_parameters:,} parameters, {cost.epochs} epochs, "
            f"{cost.validations} validations of {cost.num_validation:,} materials, {samples:,} training materials of "
            f"{1000 * cost.per_sample:.3g} ms and {cost.flops / 1e6:.4g} MFLOP, "
            f"{cost.flops * samples / 1e15:.3g} PFLOP, {_hours(seconds)}"
        )
    bases = ", ".join(dict.fromkeys(cost.basis for cost in costs.values()))
    lines.append(
        f"  together {_hours(total)} of one {device} of this machine, {_hours(total / parallel)} with {jobs} at a time"
    )
    if costs:
        lines.append(f"  measured on {bases}; {2 * start:.0f} s per run to start its two commands are included")
    return "\n".join(lines)


def _measure(run: PlannedRun, largest: int) -> KindCost:
    """Build the model of a run, and time a few steps of training and evaluation.

    Args:
        run: The run.
        largest: Largest D of the study, from which the sizes of validation and test set follow if the store does not
            exist yet.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("lightning.pytorch", "lightning.fabric"):
            logging.getLogger(name).setLevel(logging.ERROR)
        words, basis = _measurement_words(run, Path(folder))
        cli = _BuildOnlyCLI(words)
    data, module = cli.datamodule, cli.model
    data.setup("fit")
    train = data.indices["train"]
    fitted_in_closed_form = isinstance(module, BaselineModule)
    started = _now()
    if fitted_in_closed_form:
        module.fit_baseline(data.store, train, data.lower_fidelities())
    else:
        module.prepare(data.store, train, data.training_statistics(), data.lower_fidelities())
    seconds_per_fit = _now() - started
    module.to("cuda" if torch.cuda.is_available() else "cpu")
    flops = 0.0 if fitted_in_closed_form else count_training_flops(module, data.store, train).per_sample
    by_size = train[np.argsort(data.store.sizes[train, 1], kind="stable")]
    number = min(_BATCH_SIZE, data.batch_size, train.size)
    graph = data.store.gather(by_size[np.linspace(0, train.size - 1, number).round().astype(np.int64)])
    graph = graph.to(module.device)
    shares = data.split_fractions or SHARES
    evaluated = {name: round(largest * share / shares[0]) for name, share in (("val", shares[1]), ("test", shares[2]))}
    if basis == _OWN_DATA:
        evaluated = {name: int(data.indices[name].size) for name in evaluated}
    epochs = 1 if fitted_in_closed_form else cli.trainer.max_epochs or 0
    step = None if fitted_in_closed_form else _training_step(module, graph)
    return KindCost(
        basis=basis,
        num_parameters=module.num_parameters,
        epochs=epochs,
        validations=epochs // (cli.trainer.check_val_every_n_epoch or 1),
        num_train=int(train.size),
        per_sample=seconds_per_fit / train.size if step is None else _seconds(step) / number,
        per_evaluation=_seconds(_evaluation_step(module, graph)) / number,
        num_validation=evaluated["val"],
        num_test=evaluated["test"],
        flops=flops,
    )


def _measurement_words(run: PlannedRun, folder: Path) -> tuple[list[str], str]:
    """The command line of the run with few materials, or with the embedded ones if its store does not exist."""
    words = [*run.fit, "--run_dir", str(folder), "--trainer.accelerator", "cpu", "--trainer.precision", "32-true"]
    words += ["--trainer.devices", "1", "--trainer.strategy", "auto", "--trainer.plugins", "null"]
    store = words[words.index("--data.store") + 1] if "--data.store" in words else None
    if store is not None and not Path(store).expanduser().exists():
        words += ["--data.store", "null", "--data.source", "dielectric_gnn.data.sources.ExampleMetals"]
        return [*words, "--data.train_size", "null"], _EMBEDDED_DATA
    return [
        *words,
        *([] if run.size is None else ["--data.train_size", str(min(run.size, _MAX_TRAIN_SIZE))]),
    ], _OWN_DATA


def _training_step(module: DielectricModule, graph: CrystalGraph) -> Callable[[], None]:
    optimizer = module.make_optimizer(module.parameters())

    def step() -> None:
        module.train()
        optimizer.zero_grad()
        module.loss(graph).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _evaluation_step(module: ResponseModule, graph: CrystalGraph) -> Callable[[], None]:
    def step() -> None:
        module.eval()
        with torch.inference_mode():
            module.evaluate_response(module(graph), graph)

    return step


def _seconds(step: Callable[[], None]) -> float:
    """Seconds of a step on the GPU or on all CPU threads: the median of those in about a second after the first step.

    On the CPU this is CPU time, not wall-clock time, so that other jobs on this machine do not count.
    """
    step()
    times: list[float] = []
    while len(times) < 3 or sum(times) < _MIN_SECONDS:
        started = _now()
        step()
        times.append(_now() - started)
    return float(np.median(times))


def _now() -> float:
    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def _hours(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 2 * 3600 else f"{seconds / 3600:,.1f} h"
