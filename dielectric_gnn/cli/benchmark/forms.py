"""Fused against plain layers: forward and backward pass of the published models with `fused: auto` and `fused: off`.

Both forms have the same weights and batch, and run in turns in one process on one thread. The table contains the
processor time per material, as the median of the repeats, and the ratio of both with its range.

    dielectric-gnn benchmark forms
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jsonargparse.typing import PositiveInt

from dielectric_gnn.cli.benchmark.options import WARM_UP
from dielectric_gnn.cli.benchmark.training import Crystals, crystal_batch
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.graphs.orbits import Symmetry
from dielectric_gnn.models.backbones import Backbone, OptiMate, OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.layers.fusable import FusedOption
from dielectric_gnn.training.evaluation import labels_of
from dielectric_gnn.training.module import DielectricModule

Model = Literal["optimate", "optimetal2b_cgc", "optimetal3b_tc"]

MODELS: dict[Model, Callable[[int, FusedOption], Backbone]] = {
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


def measure(name: Model, symmetry: Symmetry, width: int, batch: int, repeats: int, crystals: Crystals) -> list[str]:
    """The cells of one row."""
    graph = crystal_batch(crystals, batch, 0, symmetry)
    auto = DielectricModule(MODELS[name](width, "auto")).train()
    off = DielectricModule(MODELS[name](width, "off")).train()
    off.load_state_dict(auto.state_dict())
    rows = [(seconds(auto, graph), seconds(off, graph)) for _ in range(WARM_UP + repeats)][WARM_UP:]
    ratios = [plain / fused for fused, plain in rows]
    times = [f"{1e3 * statistics.median(column) / batch:.2f}" for column in zip(*rows, strict=True)]
    return [name, symmetry, *times, f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"]


def run(
    models: Sequence[Model] = tuple(MODELS),
    width: PositiveInt = 128,
    batch: PositiveInt = 32,
    crystals: Crystals = "embedded",
    repeats: PositiveInt = 8,
) -> None:
    """Print a table.

    Args:
        models: Models to measure.
        width: Channels of both forms; OptiMate has its published ones.
        batch: Number of materials in the batch.
        crystals: Materials of the batch, as in `benchmark training`.
        repeats: Pairs of passes that count.
    """
    torch.set_num_threads(1)
    print("| model | graphs | auto (ms) | off (ms) | off / auto |\n| --- | --- | --- | --- | --- |")
    for name in models:
        for symmetry in GRAPHS:
            print("| " + " | ".join(measure(name, symmetry, width, batch, repeats, crystals)) + " |", flush=True)
