"""Predictions per second of every shipped model on synthetic crystals, as `dielectric-gnn predict` makes them.

The crystals come out of a store in memory, in batches, in evaluation mode and without gradients; everything up to the
spectra counts, what is written to files does not. Weights are random, which costs the same. Invariant models are timed
on orbit graphs too. Memory is the most that the whole process held while a model predicted, crystals included, where
Linux tells it.

`--sorted` puts crystals of one size into one batch. Nothing is padded, so that saves nothing, and `predict` does not.

    dielectric-gnn benchmark predict
    dielectric-gnn benchmark predict --number 1000 --models goten optimetal2b_cgc --threads 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dielectric_gnn.cli.benchmark.options import TWO_HEADS, positive
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF
from dielectric_gnn.data.sampling import EvaluationBatches, evaluation_loader
from dielectric_gnn.data.sources import SyntheticMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.backbones import ESCN, Backbone, ClebschGordan, Goten, OptiMate, OptiMetal2B, OptiMetal3B
from dielectric_gnn.training.module import DielectricModule

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")

MODELS: dict[str, Callable[[], Backbone]] = {
    "optimate": OptiMate,
    "optimetal2b_cgc": OptiMetal2B,
    "optimetal2b_tc": lambda: OptiMetal2B(message_passing=TWO_HEADS),
    "optimetal3b_tc": OptiMetal3B,
    "goten": lambda: Goten(64),
    "escn": lambda: ESCN(64),
    "cg": lambda: ClebschGordan(64),
}
"""Published width (256) for the invariant models, 64 for the equivariant ones."""


@torch.inference_mode()
def predict(model: DielectricModule, store: CrystalStore, rows: NDArray[np.int64], size: int) -> tuple[float, float]:
    """Wall and processor time (s) of predicting crystals of the store in batches of some size."""
    start = time.perf_counter(), time.process_time()
    for graph in evaluation_loader(store, EvaluationBatches(rows, size)):
        model(graph)
    return time.perf_counter() - start[0], time.process_time() - start[1]


def forget_peak() -> bool:
    """Let the kernel measure peak memory anew; whether it can."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_mb() -> float:
    """Most memory (MB) that this process has held since `forget_peak`."""
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) / 1e6 for line in lines if line.startswith("VmHWM"))


def run(options: argparse.Namespace) -> None:
    """Print a table."""
    torch.set_num_threads(options.threads)
    records = [replace(r, labels=None) for r in SyntheticMetals(options.number, rattle=options.rattle).records()]
    store = CrystalStore.from_records(records, DEFAULT_CUTOFF, symmetry="orbit")
    full = replace(store, orbits=None)
    rows = np.argsort(store.sizes[:, 1], kind="stable") if options.sorted else np.arange(len(store))
    print(f"{options.number} synthetic metals, rattle {options.rattle:g} Å, {options.threads} threads\n")
    print("| model | graph | crystals per second | processor time (ms per crystal) | peak memory (MB) |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for name in options.models:
        torch.manual_seed(0)
        model = DielectricModule(MODELS[name]()).eval()
        forms = {"full": full, "orbit": store} if model.supports_orbits else {"full": full}
        for form, crystals in forms.items():
            measured = forget_peak()
            wall, processor = predict(model, crystals, rows, options.batch_size)
            figures = f"{options.number / wall:.0f} | {1000 * processor / options.number:.2f}"
            print(f"| {name} | {form} | {figures} | {f'{peak_mb():.0f}' if measured else '–'} |", flush=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of `predict`."""
    add = parser.add_argument
    add("--models", nargs="+", choices=MODELS, default=list(MODELS), help="default: all")
    add("--number", type=positive, default=10_000, metavar="N", help="crystals (default: %(default)s)")
    add("--rattle", type=float, default=0.0, metavar="A", help="of the crystals in Å (default: %(default)s)")
    add("--batch-size", type=positive, default=64, metavar="N", help="crystals per batch (default: %(default)s)")
    add("--sorted", action="store_true", help="by number of edges")
    add("--threads", type=positive, default=2, metavar="N", help="of PyTorch (default: %(default)s)")
