"""How fast the published models train: the shipped backbones against their usual form from stock PyG layers.

Both forms have the same weights, batch, loss (published), head and gradient clipping; the usual form has the usual
AdamW, ours the fused one. They train in turns (A B A B) in one process, so both have the same allocator and the same
neighbours on the machine. Where jemalloc is installed, everything is repeated with it. Processor time counts this
process only, wall time what others do as well.

    dielectric-gnn benchmark training
    dielectric-gnn benchmark training --models optimetal3b_tc --crystals strained --symmetry orbit

With `--symmetry orbit` ours trains on orbit graphs, the usual form always on full ones. Crystals are `rattled` (no two
edges are equal), `prototypes` (ideal structure types, invented lattice constants), `strained` (the same, stretched
along z, which keeps part of the symmetry) or `embedded` (the ab initio metals).

FLOPs are those of matrix products, counted by PyTorch; the arithmetic floor is the time they need at the speed at which
this machine multiplies large matrices, measured just before.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from ctypes.util import find_library
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from dielectric_gnn.cli.benchmark.options import TWO_HEADS, WARM_UP
from dielectric_gnn.cli.benchmark.torch_geometric_form import torch_geometric_form
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.graphs.orbits import Symmetry
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals, SyntheticMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.descriptions import THREE_BODY_CUTOFF
from dielectric_gnn.models.backbones import Backbone, OptiMate, OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.fused.angles import FullGraphAngles
from dielectric_gnn.studies.flops import IN_PLACE_PRODUCTS
from dielectric_gnn.training.evaluation import labels_of
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.utils.errors import InputError

Model = Literal["optimate", "optimetal2b_cgc", "optimetal2b_tc", "optimetal3b_tc"]
Crystals = Literal["rattled", "prototypes", "strained", "embedded"]

MODELS: dict[Model, Callable[[int], OptiMate | OptiMetal2B | OptiMetal3B]] = {
    "optimate": lambda width: OptiMate(),
    "optimetal2b_cgc": OptiMetal2B,
    "optimetal2b_tc": lambda width: OptiMetal2B(width, message_passing=TWO_HEADS),
    "optimetal3b_tc": OptiMetal3B,
}
JEMALLOC = "dirty_decay_ms:-1,muzzy_decay_ms:-1"
"""Keep freed memory: page faults would otherwise cost as much as the arithmetic."""

_MARK = "BENCHMARK_TRAINING_ALLOCATOR"


class Training(nn.Module):
    """A model with its optimiser."""

    def __init__(self, backbone: Backbone, graph: CrystalGraph, fused: bool) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.model = DielectricModule(backbone).to(graph.edge_vectors.device)
        self.graph = graph
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-5, fused=fused or None)

    def step(self) -> float:
        """One training step; returns the loss."""
        return self.update().item()

    def update(self, bf16: bool = False) -> Tensor:
        """One training step; the loss stays on the device of the graph, so that nothing waits for it."""
        self.model.train()
        with torch.autocast(self.graph.edge_vectors.device.type, torch.bfloat16, enabled=bf16):
            response = self.model(self.graph)
        loss: Tensor = self.model.objective.per_material(response, labels_of(self.graph))["loss"].mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 100.0)
        self.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def predict(self) -> float:
        """One prediction in evaluation mode."""
        return self.model.eval()(self.graph).eps_inter.mean().item()


def in_turns(usual: Callable[[], float], ours: Callable[[], float], repeats: int) -> list[list[float]]:
    """Processor and wall time (s) of both, repeat by repeat: usual, usual, ours, ours."""
    rows = []
    for _ in range(WARM_UP + repeats):
        row: list[float] = []
        for work in (usual, ours):
            start = time.process_time(), time.perf_counter()
            work()
            row += [time.process_time() - start[0], time.perf_counter() - start[1]]
        rows.append(row)
    return rows[WARM_UP:]


def flops(work: Callable[[], float]) -> int:
    """Floating-point operations of the matrix products."""
    with FlopCounterMode(display=False, custom_mapping=IN_PLACE_PRODUCTS) as counter:
        work()
    return int(counter.get_total_flops())


def multiplication_speed() -> float:
    """FLOP per second of processor time of large products in single precision."""
    first, second, out = torch.randn(8192, 256), torch.randn(256, 1536), torch.empty(8192, 1536)
    times = []
    for _ in range(8):
        start = time.process_time()
        torch.mm(first, second, out=out)
        times.append(time.process_time() - start)
    return 2 * 8192 * 256 * 1536 / statistics.median(times)


def crystal_batch(kind: str, size: int, seed: int, symmetry: Symmetry) -> CrystalGraph:
    """Some crystals: embedded metals, or random intermetallics of known structure types."""
    rattle = 0.02 if kind == "rattled" else 0
    source = ExampleMetals(parts=1) if kind == "embedded" else SyntheticMetals(size, seed, rattle)
    records = [stretched(record) if kind == "strained" else record for record in source.records()]
    if size > len(records):
        raise InputError(f"--batch is {size}, but there are {len(records)} embedded metals; give 1 to {len(records)}")
    return CrystalStore.from_records(records[:size], DEFAULT_CUTOFF, symmetry=symmetry).gather(range(size))


def stretched(record: CrystalRecord) -> CrystalRecord:
    """The crystal, longer by 3 % along z."""
    strain = np.diag([1.0, 1.0, 1.03])
    return replace(record, lattice=record.lattice @ strain, positions=record.positions @ strain)


def measure(name: Model, full: CrystalGraph, graph: CrystalGraph, width: int, repeats: int, allocator: str) -> None:
    """Print one row for training and one for prediction; the usual form has the full graph."""
    torch.manual_seed(0)
    backbone = MODELS[name](width)
    usual, ours = Training(torch_geometric_form(backbone), full, False), Training(backbone, graph, True)
    crystals = graph.num_crystals
    speed = multiplication_speed()
    for kind, first, second in (("train", usual.step, ours.step), ("predict", usual.predict, ours.predict)):
        rows = in_turns(first, second, repeats)
        medians = [1000 * statistics.median(column) / crystals for column in zip(*rows, strict=True)]
        ratios = [statistics.median(row[i] / row[i + 2] for row in rows) for i in (0, 1)]
        counted = [flops(first) / crystals, flops(second) / crystals]
        floor = 1000 * counted[1] / speed
        cells = [allocator, str(torch.get_num_threads()), name, kind]
        cells += [f"{medians[0]:.2f}", f"{medians[2]:.2f}", f"**{ratios[0]:.2f}**", f"{ratios[1]:.2f}"]
        cells += [f"{counted[0] / 1e9:.3f}", f"{counted[1] / 1e9:.3f}", f"{100 * floor / medians[2]:.0f} %"]
        print("| " + " | ".join(cells) + " |", flush=True)


HEADER = [
    "allocator", "threads", "model", "step", "usual (ms CPU)", "ours (ms CPU)", "ratio CPU", "ratio wall",
    "usual (GFLOP)", "ours (GFLOP)", "ours at the floor",
]  # fmt: skip
"""All amounts are per crystal; the last column is the share of processor time that the products alone would need."""


def with_both_allocators() -> None:
    """Run this command with the default allocator and, if there is one, with jemalloc."""
    library = find_library("jemalloc")
    runs: dict[str, dict[str, str]] = {"default": {}}
    if library:
        runs["jemalloc"] = {"LD_PRELOAD": library, "MALLOC_CONF": JEMALLOC}
    else:
        print("jemalloc is not installed; only the default allocator is measured.\n")
    print("| " + " | ".join(HEADER) + " |\n|" + " --- |" * len(HEADER), flush=True)
    command = [sys.executable, "-m", "dielectric_gnn", "benchmark", *sys.argv[sys.argv.index("training") :]]
    for name, variables in runs.items():
        environment = {**os.environ, **variables, _MARK: name}
        if status := subprocess.run(command, env=environment, check=False).returncode:
            sys.exit(status)  # it has said why


def run(
    models: Sequence[Model] = tuple(MODELS),
    width: PositiveInt = 256,
    batch: PositiveInt = 64,
    crystals: Crystals = "rattled",
    symmetry: Symmetry = "full",
    seed: int = 0,
    repeats: PositiveInt = 10,
    threads: Sequence[PositiveInt] = (1,),
) -> None:
    """Print a table.

    Args:
        models: Models to train.
        width: Channels of both forms; OptiMate has its published ones.
        batch: Number of materials in the batch.
        crystals: Materials of the batch.
        symmetry: Graphs of ours: all atoms and edges, or one of each orbit.
        seed: Seed of the synthetic crystals.
        repeats: Pairs of steps that count.
        threads: Threads of PyTorch; several numbers are measured one after the other.
    """
    allocator = os.environ.get(_MARK)
    if allocator is None:
        with_both_allocators()
        return
    full = crystal_batch(crystals, batch, seed, "full")
    graph = full if symmetry == "full" else crystal_batch(crystals, batch, seed, "orbit")
    for name, described in {"full": full, **({} if graph.orbits is None else {"orbit": graph})}.items():
        counts = (described.num_atoms, described.edge_index.shape[1], num_pairs(described))
        sizes = "{:.1f} atoms, {:.1f} edges, {:.1f} pairs".format(*(count / full.num_crystals for count in counts))
        print(f"{allocator}, {name} graph: {sizes} a crystal", file=sys.stderr)
    for count in threads:
        torch.set_num_threads(count)
        for model in models:
            measure(model, full, graph, width, repeats, allocator)


def num_pairs(graph: CrystalGraph) -> int:
    """Three-body pairs, or classes of them."""
    if graph.orbits is not None:
        return graph.orbits.cosines.shape[0]
    return FullGraphAngles.from_graph(graph, THREE_BODY_CUTOFF).slots_of_angle.numel()
