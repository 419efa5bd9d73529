"""Fused against plain layers: forward and backward pass of the published models with `fused: auto` and `fused: off`.

Both forms have the same weights and batch, and run in turns in one process on one thread. The table contains the
processor time per material, as the median of the repeats, and the ratio of both with its range.

    dielectric-gnn benchmark forms
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from jsonargparse.typing import PositiveInt

from dielectric_gnn.cli.benchmark.options import WARM_UP
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.graphs.orbits import Symmetry
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.backbones import Backbone, OptiMate, OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.layers.fusable import FusedOption
from dielectric_gnn.training.evaluation import labels_of
from dielectric_gnn.training.module import DielectricModule

MODELS: dict[str, Callable[[int, FusedOption], Backbone]] = {
    "optimate": lambda width, fused: OptiMate(fused=fused),
    "optimetal2b_cgc": lambda width, fused: OptiMetal2B(width, fused=fused),
    "optimetal3b_tc": lambda width, fused: OptiMetal3B(width, fused=fused),
}
GRAPHS: tuple[Symmetry, ...] = ("full", "orbit")


def seconds(model: DielectricModule, graph: CrystalGraph) -> float:
    """Processor time of one forward and backward pass."""
    start = time.process_time()
    model.objective.per_material(model(graph), labels_of(graph))["loss"].mean().backward()  # type: ignore[no-untyped-call]
    elapsed = time.process_time() - start
    model.zero_grad()
    return elapsed


def measure(name: str, symmetry: Symmetry, width: int, batch: int, repeats: int) -> list[str]:
    """The cells of one row."""
    records = list(ExampleMetals(parts=1).records())[:batch]
    graph = CrystalStore.from_records(records, DEFAULT_CUTOFF, symmetry=symmetry).gather(range(len(records)))
    auto = DielectricModule(MODELS[name](width, "auto")).train()
    off = DielectricModule(MODELS[name](width, "off")).train()
    off.load_state_dict(auto.state_dict())
    rows = [(seconds(auto, graph), seconds(off, graph)) for _ in range(WARM_UP + repeats)][WARM_UP:]
    ratios = [plain / fused for fused, plain in rows]
    times = [f"{1e3 * statistics.median(column) / len(records):.2f}" for column in zip(*rows, strict=True)]
    return [name, symmetry, *times, f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"]


def run(width: PositiveInt = 128, batch: PositiveInt = 32, repeats: PositiveInt = 8) -> None:
    """Print a table.

    Args:
        width: Channels of both forms; OptiMate has its published ones.
        batch: Number of embedded metals in the batch.
        repeats: Pairs of passes that count.
    """
    torch.set_num_threads(1)
    print("| model | graphs | auto (ms) | off (ms) | off / auto |\n| --- | --- | --- | --- | --- |")
    for name in MODELS:
        for symmetry in GRAPHS:
            print("| " + " | ".join(measure(name, symmetry, width, batch, repeats)) + " |", flush=True)
