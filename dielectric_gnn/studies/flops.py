"""Floating-point operations of training, counted on a copy of the model so that the training is not affected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.targets.response import Response
from dielectric_gnn.training.evaluation import ResponseModule

_NUM_MATERIALS = 16
"""Number of training materials on which operations are counted."""


def _accumulated_product_flops(_: Any, first: Sequence[int], second: Sequence[int], **__: Any) -> int:
    return 2 * first[-2] * first[-1] * second[-1] * (first[0] if len(first) == 3 else 1)


IN_PLACE_PRODUCTS = {
    torch.ops.aten.addmm_: _accumulated_product_flops,
    torch.ops.aten.baddbmm_: _accumulated_product_flops,
}
"""Rules for `FlopCounterMode`, which does not count products that are added to a tensor in place."""


@dataclass(frozen=True)
class CountedFlops:
    """Floating-point operations of a training step.

    Args:
        per_sample: Operations of forward and backward pass per training material.
        method: Description of how they were counted.
    """

    per_sample: float
    method: str


def count_training_flops(module: ResponseModule, store: CrystalStore, train: NDArray[np.int64]) -> CountedFlops:
    """Count matrix products of one forward and backward pass over a representative sample of the training set.

    The pass runs on copies of parameters and buffers, with its own random numbers: weights, gradients, batch norm and
    random generators of the training do not change.

    Args:
        module: The model.
        store: Its data.
        train: Positions of the training materials; the sample is up to 16 of them, equally spaced in the rank by number
            of edges.
    """
    by_size = train[np.argsort(store.sizes[train, 1], kind="stable")]
    places = np.linspace(0, train.size - 1, min(_NUM_MATERIALS, train.size)).round().astype(np.int64)
    graph = store.gather(by_size[places]).to(module.device)
    devices = [module.device] if module.device.type == "cuda" else []
    counter = FlopCounterMode(display=False, custom_mapping=IN_PLACE_PRODUCTS)
    # Autocast of the caller is disabled, so that the count is the same for every precision.
    with (
        torch.random.fork_rng(devices),
        torch.enable_grad(),
        torch.autocast(module.device.type, enabled=False),
        counter,
    ):
        training_loss(module, graph).backward()  # type: ignore[no-untyped-call]
    method = (
        "matrix products of forward and backward pass, counted by torch.utils.flop_counter on "
        f"{graph.num_crystals} training materials at equal steps of the rank by number of edges, per material, times "
        "the materials seen; element-wise operations, optimiser and evaluation not counted"
    )
    return CountedFlops(counter.get_total_flops() / graph.num_crystals, method)


def training_loss(module: ResponseModule, graph: CrystalGraph) -> Tensor:
    """Mean objective of a batch, as a function of copies of the parameters and buffers."""
    state = {key: value.detach().clone() for key, value in module.named_buffers()}
    for key, value in module.named_parameters():
        state[key] = value.detach().clone().requires_grad_(value.requires_grad)
    response: Response = functional_call(module, state, (graph,))
    return module.loss(graph, response)
