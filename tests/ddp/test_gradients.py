"""One step on several processes is one step on one process with the joint batch, for a model without batch norm."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.distributed import destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.sampling import TrainingBatches
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.backbones import Goten
from dielectric_gnn.training.evaluation import labels_of
from dielectric_gnn.training.module import DielectricModule

NUM_CRYSTALS = 12


class Loss(nn.Module):
    """Mean objective of a batch; DDP wants it as a forward pass."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = DielectricModule(Goten(width=16))
        for part in self.modules():
            if isinstance(part, nn.BatchNorm1d):  # in evaluation mode an affine map, which no batch enters
                part.eval()

    def forward(self, graph: CrystalGraph) -> torch.Tensor:
        return self.model.objective.per_material(self.model(graph), labels_of(graph))["loss"].mean()


def gradients(rank: int, world_size: int) -> dict[str, torch.Tensor]:
    """Gradients of one step; each process takes its share of the first batch."""
    torch.set_num_threads(1)
    store = CrystalStore.from_records(list(ExampleMetals(parts=1).records())[:NUM_CRYSTALS], 5.5)
    model: nn.Module = Loss()
    if world_size > 1:
        model = DistributedDataParallel(model)
    rows = torch.arange(NUM_CRYSTALS).numpy()
    (batch,) = TrainingBatches(rows, NUM_CRYSTALS // world_size, 3, lambda: (0, 0), rank, world_size)
    model(store.gather(batch)).backward()
    return {name.removeprefix("module."): p.grad for name, p in model.named_parameters() if p.grad is not None}


def process(rank: int, world_size: int, port: int, folder: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    init_process_group("gloo", rank=rank, world_size=world_size)
    torch.save(gradients(rank, world_size), folder / f"{rank}.pt")
    destroy_process_group()


@pytest.mark.parametrize("world_size", [2, 3])
def test_gradients_are_those_of_the_joint_batch(world_size: int, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(process, (world_size, port, tmp_path), nprocs=world_size)
    alone = gradients(0, 1)
    scale = max(float(gradient.abs().max()) for gradient in alone.values())
    for rank in range(world_size):
        together = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert together.keys() == alone.keys() and len(alone) > 20
        for name, gradient in alone.items():
            # Single precision rounds at about 1e-7 of the largest gradients, which small ones are sums of.
            largest = max(float(gradient.abs().max()), 1e-2 * scale)
            assert float((together[name] - gradient).abs().max()) < 1e-5 * largest, name
