"""DistributedDataParallel with one process against none: what its hooks cost, and that gradients stay the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from dielectric_gnn.cli.benchmark.device.equality import relative_deviation
from dielectric_gnn.cli.benchmark.device.models import BACKBONES
from dielectric_gnn.cli.benchmark.device.report import Row
from dielectric_gnn.cli.benchmark.device.steps import seconds
from dielectric_gnn.cli.benchmark.predict import Model
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.training.module import DielectricModule

_TOLERANCE = 1e-5
"""Relative deviation of gradients: sums by atomic operations on a GPU are not repeatable."""


class _Loss(nn.Module):
    def __init__(self, model: DielectricModule) -> None:
        super().__init__()
        self.model = model

    def forward(self, graph: CrystalGraph) -> Tensor:
        return self.model.loss(graph)


@contextmanager
def one_process(backend: str) -> Iterator[None]:
    """A process group of this process alone."""
    store = distributed.HashStore()  # type: ignore[attr-defined]
    distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def measure_data_parallel(name: Model, width: int, graph: CrystalGraph, repeats: int) -> Row:
    """Forward and backward pass with and without DDP: NCCL on a GPU, gloo on the CPU.

    Args:
        name: Backbone.
        width: Its channels.
        graph: A batch on the device.
        repeats: Passes that count.
    """
    device = graph.edge_vectors.device
    backend = "nccl" if device.type == "cuda" else "gloo"
    torch.manual_seed(0)
    loss = _Loss(DielectricModule(BACKBONES[name](width)).to(device)).train()

    def gradients(module: nn.Module) -> Tensor:
        loss.zero_grad()
        module(graph).backward()
        return torch.cat([parameter.grad.flatten() for parameter in loss.parameters() if parameter.grad is not None])

    expected = gradients(loss).clone()
    alone = seconds(lambda: gradients(loss), device, repeats)
    with one_process(backend):
        parallel = DistributedDataParallel(loss)
        deviation = relative_deviation(gradients(parallel), expected)
        together = seconds(lambda: gradients(parallel), device, repeats)
    return {
        "backend": backend,
        "gradient": deviation,
        "equal": deviation <= _TOLERANCE,
        "plain (ms)": 1e3 * alone,
        "DDP (ms)": 1e3 * together,
        "ratio": together / alone,
    }
