"""Memory of a training step and the largest batch that fits, measured with the model itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.optim import AdamW

from dielectric_gnn.cli.doctor.environment import gigabytes
from dielectric_gnn.cli.doctor.finding import Finding
from dielectric_gnn.cli.doctor.memory import available_memory
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.training.module import DielectricModule

SAMPLES = (32, 128)
"""Batch sizes that are measured; other sizes follow by linear interpolation."""
SAFE_SHARE = 0.8
"""Share of the available memory that a step may use; the rest is for larger structures and other programs."""


@dataclass(frozen=True)
class BatchOption:
    """The option that sets the size of a training batch.

    Args:
        name: `data.batch_size`, `data.batch_edges` or `data.batch_pairs`.
        value: Of this option.
        crystals: Materials of such a batch, on average.
    """

    name: str
    value: int
    crystals: int


def check_batch(
    model: DielectricModule, store: CrystalStore, train: np.ndarray, batch: BatchOption, device: str, processes: int
) -> Finding:
    """Measure two training steps, and estimate the largest possible batch.

    Args:
        model: As it will be trained; its weights are changed.
        store: The materials.
        train: Positions of those to train on.
        batch: Requested size.
        device: `cpu` or `cuda`.
        processes: Number of processes that share the memory of this machine (a GPU belongs to one process).
    """
    model.to(device).train()
    optimizer = AdamW(model.parameters())
    rng = np.random.default_rng(0)
    peaks = []
    for size in (SAMPLES[0], *SAMPLES):  # the first size twice: the optimiser allocates its state in the first step
        graph = store.gather(rng.choice(train, size, replace=train.size < size)).to(torch.device(device))
        peaks.append(_peak_of_step(model, optimizer, graph, device))
    per_crystal = max((peaks[2] - peaks[1]) / (SAMPLES[1] - SAMPLES[0]), 1.0)
    fixed = max(peaks[1] - SAMPLES[0] * per_crystal, 0.0)
    memory = torch.cuda.mem_get_info()[1] if device == "cuda" else available_memory() / processes
    largest = max(int((SAFE_SHARE * memory - fixed) / per_crystal), 0)
    found = (
        f"{gigabytes(fixed)} + {per_crystal / 1e6:.2f} MB per crystal in a training step; up to about {largest:,} "
        f"crystals fit, {batch.crystals:,} requested"
    )
    if batch.crystals > largest:
        most = largest * batch.value // batch.crystals
        return Finding("error", "batch", found, f"set {batch.name} to {most} or less, or narrow the model")
    return Finding("ok", "batch", found)


def _peak_of_step(model: DielectricModule, optimizer: AdamW, graph: CrystalGraph, device: str) -> float:
    """Largest memory (bytes) while a step runs: of the process, or on the GPU."""
    _forget_peak(device)
    optimizer.zero_grad()
    model.loss(graph).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(torch.cuda.max_memory_allocated()) if device == "cuda" else _peak_resident()


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_resident() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return float(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")
