"""Results of a device against those of the CPU: forward and backward pass, orbit graphs, and resident batches."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from dielectric_gnn.cli.benchmark.device.models import crystals
from dielectric_gnn.cli.benchmark.device.report import Row
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.resident import ResidentStore
from dielectric_gnn.training.module import DielectricModule

ROUNDING = 4.0
"""A device may be this many times as far from float64 as the CPU in float32: it adds in another order."""
FLOAT32_FLOOR = 1e-5
"""A relative deviation below this is rounding, even where that of the CPU happens to be smaller."""
BF16_DEVIATION = 0.006
"""Relative deviation that bf16 caused in the published study (0.6 %)."""

_BACKWARD = 10.0
"""Gradients cancel: their relative deviations may be this many times those of the outputs."""


def outputs_and_gradients(model: DielectricModule, graph: CrystalGraph, bf16: bool = False) -> tuple[Tensor, Tensor]:
    """Outputs (n,) and the gradient of their mean square (parameters,) in training mode, float64 on the CPU."""
    model.train().zero_grad()
    with torch.autocast(graph.edge_vectors.device.type, torch.bfloat16, enabled=bf16):
        response = model(graph)
    tensors = [response.eps_inter, response.drude]
    if response.anisotropy is not None:
        tensors += [response.anisotropy.eps_inter, response.anisotropy.drude]
    outputs = torch.cat([tensor.flatten() for tensor in tensors])
    outputs.square().mean().backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return outputs.detach().double().cpu(), torch.cat(gradients).double().cpu()


def relative_deviation(values: Tensor, reference: Tensor) -> float:
    """‖a − b‖ / ‖b‖."""
    return float((values - reference).norm() / reference.norm())


def compare(build: Callable[[int], DielectricModule], width: int, graph: CrystalGraph, device: torch.device) -> Row:
    """Deviations of a model in float32 on the CPU and on a device from float64, and of bf16 from float32.

    Args:
        build: From width to model.
        width: Its channels.
        graph: A batch on the CPU.
        device: Device that is compared with the CPU.
    """
    model = build(width)
    exact = outputs_and_gradients(copy.deepcopy(model).double(), graph.to(dtype=torch.float64))
    cpu = outputs_and_gradients(copy.deepcopy(model), graph)
    moved, graph = model.to(device), graph.to(device)
    found = outputs_and_gradients(copy.deepcopy(moved), graph)
    bf16 = outputs_and_gradients(moved, graph, bf16=True)
    cpu_errors = [relative_deviation(*pair) for pair in zip(cpu, exact, strict=True)]
    errors = [relative_deviation(*pair) for pair in zip(found, exact, strict=True)]
    limits = [
        max(ROUNDING * cpu_error, floor)
        for cpu_error, floor in zip(cpu_errors, (FLOAT32_FLOOR, _BACKWARD * FLOAT32_FLOOR), strict=True)
    ]
    rounded = relative_deviation(bf16[0], found[0])
    return {
        "output, CPU": cpu_errors[0],
        "output, device": errors[0],
        "gradient, CPU": cpu_errors[1],
        "gradient, device": errors[1],
        "output, bf16": rounded,
        "gradient, bf16": relative_deviation(bf16[1], found[1]),
        "equal": all(error <= limit for error, limit in zip(errors, limits, strict=True)),
        "bf16 within 0.6 %": rounded <= BF16_DEVIATION,
    }


def compare_orbits(build: Callable[[int], DielectricModule], width: int, number: int, device: torch.device) -> Row:
    """The orbit graph on a device against the full graph on the CPU, both in float64.

    Args:
        build: From width to model.
        width: Its channels.
        number: Crystals on ideal sites.
        device: Device that computes the orbit graphs.
    """
    full = crystals(number, 0.0).gather(range(number)).to(dtype=torch.float64)
    orbit = crystals(number, 0.0, "orbit").gather(range(number)).to(device=device, dtype=torch.float64)
    model = build(width).double()
    expected = outputs_and_gradients(copy.deepcopy(model), full)
    found = outputs_and_gradients(model.to(device), orbit)
    output, gradient = (relative_deviation(*pair) for pair in zip(found, expected, strict=True))
    limit = FLOAT32_FLOOR
    return {"output": output, "gradient": gradient, "equal": output <= limit and gradient <= _BACKWARD * limit}


def compare_resident(store: CrystalStore, device: torch.device) -> Row:
    """Whether a batch gathered on the device holds the numbers of one gathered on the CPU, bit by bit."""
    rows = torch.randperm(len(store), generator=torch.Generator().manual_seed(0)).tolist()
    found, expected = ResidentStore(store, device).gather(rows), store.gather(rows)
    pairs = [(getattr(found, part.name), getattr(expected, part.name)) for part in fields(expected)]
    tensors = [(a.cpu(), b) for a, b in pairs if isinstance(b, Tensor) and isinstance(a, Tensor)]
    return {"arrays": len(tensors), "equal": all(torch.equal(a.to(b.dtype), b) for a, b in tensors)}
