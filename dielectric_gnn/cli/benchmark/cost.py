r"""Processor time of backbones per structure: forward pass alone, and forward with backward pass.

Each model runs in turns
with the reference in one process (A B A B ...), so that the ratios hold even beside other work; absolute times do not.
Only the ratios of tables made in one run should be compared closely. The batch is the first of the embedded metals,
small cells of one to a few atoms with some 30 edges each, or the first of the synthetic ones, rattled by 0.02 Å, with
some four atoms. What a model does once for each pair of atoms costs more in large cells: see `--supercell`.

    dielectric-gnn benchmark cost
    dielectric-gnn benchmark cost --models goten escn cg --l-max 3 --width 128
    dielectric-gnn benchmark cost --reference optimetal2b_tc
    dielectric-gnn benchmark cost --crystals synthetic --supercell 2 2 1 --batch 16
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jsonargparse.typing import PositiveInt

from dielectric_gnn.cli.benchmark.options import TWO_HEADS, WARM_UP
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.sources import ExampleMetals, SyntheticMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.backbones import ESCN, Backbone, ClebschGordan, Goten, OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.layers.message_passing import TransformerConv
from dielectric_gnn.testing import supercell
from dielectric_gnn.utils.errors import InputError

Model = Literal["optimetal2b_cgc", "optimetal2b_tc", "optimetal3b_tc", "goten", "escn", "cg"]

MODELS: dict[Model, Callable[[int, int], Backbone]] = {
    "optimetal2b_cgc": lambda width, l_max: OptiMetal2B(width=width),
    "optimetal2b_tc": lambda width, l_max: OptiMetal2B(width=width, message_passing=TWO_HEADS),
    "optimetal3b_tc": lambda width, l_max: OptiMetal3B(width=width, message_passing=TransformerConv),
    "goten": lambda width, l_max: Goten(width=width, l_max=l_max),
    "escn": lambda width, l_max: ESCN(width=width, l_max=l_max),
    "cg": lambda width, l_max: ClebschGordan(width=width, l_max=l_max),
}
"""The shipped backbones from width and l_max, which the first three have no use for; otherwise with their defaults."""


@dataclass(frozen=True)
class Paired:
    """Processor times (s) of a piece of work and of the reference, taken in turns."""

    model: list[float]
    reference: list[float]

    @property
    def median(self) -> float:
        """Median time of the model (s)."""
        return statistics.median(self.model)

    @property
    def ratio(self) -> float:
        """Median of the ratios within the pairs: what slows both down for a while cancels."""
        return statistics.median(a / b for a, b in zip(self.model, self.reference, strict=True))


def processor_time(work: Callable[[], None]) -> float:
    """Processor time (s) of the whole process while it works; other processes do not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def measure_in_turns(model: Callable[[], None], reference: Callable[[], None], repeats: int) -> Paired:
    """Times of reference, model, reference, model and so on."""
    pairs = [(processor_time(reference), processor_time(model)) for _ in range(WARM_UP + repeats)][WARM_UP:]
    return Paired([pair[1] for pair in pairs], [pair[0] for pair in pairs])


def forward_pass(backbone: Backbone, graph: CrystalGraph) -> Callable[[], None]:
    """A prediction: no gradients, evaluation mode."""

    def work() -> None:
        backbone.eval()
        with torch.no_grad():
            backbone(graph)

    return work


def training_step(backbone: Backbone, graph: CrystalGraph) -> Callable[[], None]:
    """Forward and backward pass in training mode; without optimiser, head and loss, which all models share."""

    def work() -> None:
        backbone.train().zero_grad()
        backbone(graph).scalars.square().mean().backward()

    return work


def first_crystals(kind: str, count: int, multiples: Sequence[int]) -> CrystalGraph:
    """A batch of the first embedded metals, or of synthetic ones without symmetry; as supercells."""
    source = ExampleMetals(parts=1) if kind == "embedded" else SyntheticMetals(count, rattle=0.02)
    records = list(source.records())
    if count > len(records):
        raise InputError(f"--batch is {count}, but there are {len(records)} embedded metals; give 1 to {len(records)}")
    a, b, c = multiples
    cells = [supercell(record, (a, b, c)) for record in records[:count]]
    return CrystalStore.from_records(cells, DEFAULT_CUTOFF).gather(range(count))


def run(
    models: Sequence[Model] = tuple(MODELS),
    reference: Model = "optimetal2b_cgc",
    width: PositiveInt = 64,
    l_max: PositiveInt = 2,
    batch: PositiveInt = 64,
    crystals: Literal["embedded", "synthetic"] = "embedded",
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 1, 1),
    repeats: PositiveInt = 15,
    threads: PositiveInt = 1,
) -> None:
    """Print processor times of the backbones, each measured in turns with the reference.

    Args:
        models: Backbones to measure.
        reference: Backbone with which each of them takes turns.
        width: Channels of all models.
        l_max: Largest degree of goten, escn and cg, 1 to 3.
        batch: Number of materials in the batch.
        crystals: Materials of the batch.
        supercell: Repetitions of every cell along its three axes.
        repeats: Pairs of runs that count.
        threads: Threads of PyTorch.
    """
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    graph = first_crystals(crystals, batch, supercell)
    reference_backbone = MODELS[reference](width, l_max)
    print(f"{batch} {crystals} metals: {graph.num_atoms} atoms, {graph.edge_index.shape[1]:,} edges; ", end="")
    print(f"width {width}, l_max {l_max}; median of {repeats}. {machine()}\n")
    print("| backbone | parameters | forward (ms per structure) | ratio | training step (ms per structure) | ratio |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for name in models:
        backbone = MODELS[name](width, l_max)
        cells = [name, f"{sum(parameter.numel() for parameter in backbone.parameters()):,}"]
        for kind in (forward_pass, training_step):
            times = measure_in_turns(kind(backbone, graph), kind(reference_backbone, graph), repeats)
            cells += [f"{1000 * times.median / batch:.3f}", f"{times.ratio:.2f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


def machine() -> str:
    """Processor, PyTorch and threads in a few words."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, PyTorch {torch.__version__}, threads: {torch.get_num_threads()}."
