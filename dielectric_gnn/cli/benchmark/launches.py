"""Operations of a training step on a GPU, counted without one: kernels, memory traffic and synchronisations.

Every operator that computes something is counted as one launch, with the bytes it reads and writes; views are free.
Operators whose result decides the size of the next, or that bring a number to Python, make the processor wait for the
GPU. What is done otherwise on a GPU is done so here. Small steps are bound by launches (some 5 µs each), large ones by
traffic.

    dielectric-gnn benchmark launches
    dielectric-gnn benchmark launches --models optimetal3b_tc --batch 256
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dielectric_gnn.cli.benchmark.predict import MODELS, Model
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.sources import SyntheticMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.fused import angle_features, gatv2, neighbour_list, second_moments
from dielectric_gnn.training.module import DielectricModule

_WAITING = (
    "cpu", "tolist", "item", "__bool__", "__int__", "__float__", "nonzero", "unique", "unique_consecutive"
)  # fmt: skip
_TO_PYTHON = {getattr(Tensor, name) for name in _WAITING} | {torch.unique_consecutive}
_REPEATS = {Tensor.repeat_interleave, torch.repeat_interleave}


class Synchronisations(TorchFunctionMode):
    """Counts calls that wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_function__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # Repeating by numbers that lie on the device needs a synchronisation for their sum, unless it is given.
        unknown_sum = func in _REPEATS and isinstance(args[-1], Tensor) and "output_size" not in (kwargs or {})
        if func in _TO_PYTHON or unknown_sum:
            self.calls[func.__name__] += 1
        return func(*args, **(kwargs or {}))


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operators and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view and func is not torch.ops.aten.detach.default:
            self.count += 1
            tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)]
            self.bytes += sum({id(tensor): tensor.numel() * tensor.element_size() for tensor in tensors}.values())
        return out


def step(model: DielectricModule, optimizer: torch.optim.Optimizer, graph: CrystalGraph) -> None:
    """A training step, as `fit` makes it."""
    model.training_step(graph, 0).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    optimizer.zero_grad()


def run(models: Sequence[Model] = tuple(MODELS), batch: PositiveInt = 256) -> None:
    """Print a table.

    Args:
        models: Models whose training steps are counted.
        batch: Number of rattled synthetic crystals in the batch.
    """
    neighbour_list.MAX_BUCKETS = neighbour_list.MIN_BUCKETS
    gatv2.MIN_EDGES = sys.maxsize  # attention by pairs of atoms is used on the CPU only
    # On a GPU the losses are checked every 50 steps, on the CPU in every one.
    DielectricModule._check_losses = lambda self: None  # type: ignore[method-assign]
    angle_features.second_moments = second_moments.padded_second_moments  # type: ignore[attr-defined]
    records = list(SyntheticMetals(batch, rattle=0.02).records())
    graph = CrystalStore.from_records(records, DEFAULT_CUTOFF).gather(range(batch))
    print(f"training step of {batch} rattled synthetic crystals\n")
    print("| model | launches | traffic (MB) | synchronisations | of which |\n| --- | --- | --- | --- | --- |")
    for name in models:
        model = DielectricModule(MODELS[name]()).train()
        model.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer to log to
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        step(model, optimizer, graph)  # the first one makes the state of the optimiser
        with Synchronisations() as waits, Launches() as launches:
            step(model, optimizer, graph)
        kinds = ", ".join(f"{kind} {count}" for kind, count in waits.calls.items())
        cells = [name, f"{launches.count:,}", f"{launches.bytes / 1e6:,.0f}", str(waits.calls.total()), kinds]
        print("| " + " | ".join(cells) + " |", flush=True)
