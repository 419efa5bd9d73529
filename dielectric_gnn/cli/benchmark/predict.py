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

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jsonargparse.typing import PositiveInt
from numpy.typing import NDArray

from dielectric_gnn.cli.benchmark.options import TWO_HEADS
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF
from dielectric_gnn.data.sampling import EvaluationBatches, evaluation_loader
from dielectric_gnn.data.sources import SyntheticMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.backbones import ESCN, Backbone, ClebschGordan, Goten, OptiMate, OptiMetal2B, OptiMetal3B
from dielectric_gnn.training.module import DielectricModule

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")

Model = Literal["optimate", "optimetal2b_cgc", "optimetal2b_tc", "optimetal3b_tc", "goten", "escn", "cg"]

MODELS: dict[Model, Callable[[], Backbone]] = {
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


def run(
    models: Sequence[Model] = tuple(MODELS),
    number: PositiveInt = 10_000,
    rattle: float = 0.0,
    batch_size: PositiveInt = 64,
    sorted: bool = False,
    threads: PositiveInt = 2,
) -> None:
    """Print a table.

    Args:
        models: Models to measure.
        number: How many synthetic crystals.
        rattle: Standard deviation (Å) of the displacements of the atoms.
        batch_size: Crystals per batch.
        sorted: Sort the crystals by their number of edges.
        threads: Threads of PyTorch.
    """
    torch.set_num_threads(threads)
    records = [replace(r, labels=None) for r in SyntheticMetals(number, rattle=rattle).records()]
    store = CrystalStore.from_records(records, DEFAULT_CUTOFF, symmetry="orbit")
    full = replace(store, orbits=None)
    rows = np.argsort(store.sizes[:, 1], kind="stable") if sorted else np.arange(len(store))
    print(f"{number} synthetic metals, rattle {rattle:g} Å, {threads} threads\n")
    print("| model | graph | crystals per second | processor time (ms per crystal) | peak memory (MB) |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    for name in models:
        torch.manual_seed(0)
        model = DielectricModule(MODELS[name]()).eval()
        forms = {"full": full, "orbit": store} if model.supports_orbits else {"full": full}
        for form, crystals in forms.items():
            measured = forget_peak()
            wall, processor = predict(model, crystals, rows, batch_size)
            figures = f"{number / wall:.0f} | {1000 * processor / number:.2f}"
            print(f"| {name} | {form} | {figures} | {f'{peak_mb():.0f}' if measured else '–'} |", flush=True)
