"""Training steps on a device: time, memory, launches, synchronisations and share of the speed of matrix products."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from dielectric_gnn.cli.benchmark.device.models import BACKBONES
from dielectric_gnn.cli.benchmark.device.report import Row
from dielectric_gnn.cli.benchmark.launches import Launches, Synchronisations
from dielectric_gnn.cli.benchmark.options import WARM_UP
from dielectric_gnn.cli.benchmark.predict import Model, forget_peak, peak_mb
from dielectric_gnn.cli.benchmark.torch_geometric_form import torch_geometric_form
from dielectric_gnn.cli.benchmark.training import Training, flops
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.resident import ResidentStore
from dielectric_gnn.models.backbones import OptiMate, OptiMetal2B, OptiMetal3B

_WAITS = {"cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy"}
"""Calls of the CUDA runtime that wait; the profiler itself makes one `cudaDeviceSynchronize` at its end."""
_LAUNCHES = {"cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel", "cuLaunchKernelEx"}


def clock(device: torch.device) -> float:
    """Seconds: wall time after all work of a GPU, processor time of this process on the CPU."""
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median time of a piece of work."""
    times = []
    for _ in range(WARM_UP + repeats):
        start = clock(device)
        work()
        times.append(clock(device) - start)
    return statistics.median(times[WARM_UP:])


def matmul_speed(device: torch.device, bf16: bool = False) -> float:
    """Floating-point operations per second of products of large square matrices."""
    size = 8192 if device.type == "cuda" else 512
    matrix = torch.ones(size, size, device=device, dtype=torch.bfloat16 if bf16 else torch.float32)
    return 2 * float(size) ** 3 / seconds(lambda: matrix @ matrix, device, repeats=5)


def peak_memory_mb(work: Callable[[], object], device: torch.device) -> float | str:
    """Most memory (MB) during the work: of tensors on a GPU, of the process on the CPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) / 1e6
    measured = forget_peak()
    work()
    return peak_mb() if measured else "–"


def launches_and_waits(work: Callable[[], object], device: torch.device) -> tuple[int, int]:
    """Kernel launches and synchronisations: of the CUDA runtime by the profiler, on the CPU by counting operators."""
    if device.type != "cuda":
        with Synchronisations() as waits, Launches() as launches:
            work()
        return launches.count, waits.calls.total()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        work()
    counts = {event.key: event.count for event in profiler.key_averages()}
    return sum(counts.get(key, 0) for key in _LAUNCHES), sum(counts.get(key, 0) for key in _WAITS)


def measure_step(name: Model, width: int, graph: CrystalGraph, bf16: bool, repeats: int, product_speed: float) -> Row:
    """Training steps of a model, and of its torch_geometric form if there is one.

    Args:
        name: Backbone.
        width: Its channels.
        graph: A batch on the device.
        bf16: Whether matrix products are in bfloat16.
        repeats: Steps that count.
        product_speed: Of large matrix products on the device, in FLOP/s.
    """
    device = graph.edge_vectors.device
    torch.manual_seed(0)
    backbone = BACKBONES[name](width)
    ours = Training(backbone, graph, True)
    time_of_ours = seconds(lambda: ours.update(bf16), device, repeats)
    launches, waits = launches_and_waits(lambda: ours.update(bf16), device)
    row: Row = {
        "ms per step": 1e3 * time_of_ours,
        "materials per second": graph.num_crystals / time_of_ours,
        "launches": launches,
        "waits": waits,
        "peak memory (MB)": peak_memory_mb(lambda: ours.update(bf16), device),
        "share of matrix products (%)": 100 * flops(ours.step) / time_of_ours / product_speed,
    }
    if isinstance(backbone, OptiMate | OptiMetal2B | OptiMetal3B):
        plain = Training(torch_geometric_form(backbone), graph, False)
        time_of_plain = seconds(lambda: plain.update(bf16), device, repeats)
        row |= {"torch_geometric (ms)": 1e3 * time_of_plain, "ratio": time_of_plain / time_of_ours}
    return row


def measure_epoch(name: Model, width: int, resident: ResidentStore, number: int, batch_size: int, bf16: bool) -> Row:
    """Time of an epoch whose batches are gathered on the device.

    Args:
        name: Backbone.
        width: Its channels.
        resident: Materials on the device; an epoch draws from them with repetition.
        number: Materials of the epoch.
        batch_size: Materials per batch.
        bf16: Whether matrix products are in bfloat16.
    """
    draws = np.random.default_rng(0).integers(len(resident.store), size=number)
    torch.manual_seed(0)
    training = Training(BACKBONES[name](width), resident.gather(draws[:batch_size]), True)
    training.update(bf16)
    start = clock(resident.device)
    for first in range(0, number, batch_size):
        training.graph = resident.gather(draws[first : first + batch_size])
        training.update(bf16)
    elapsed = clock(resident.device) - start
    return {"materials": number, "seconds": elapsed, "materials per second": number / elapsed}
