"""Backbones under torch.compile: which of them compile, how equal the results are, and how fast."""

from __future__ import annotations

import time
from typing import Literal

import torch

from dielectric_gnn.cli.benchmark.device.equality import outputs_and_gradients, relative_deviation
from dielectric_gnn.cli.benchmark.device.models import BACKBONES
from dielectric_gnn.cli.benchmark.device.report import Row
from dielectric_gnn.cli.benchmark.device.steps import seconds
from dielectric_gnn.cli.benchmark.predict import Model
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.training.module import DielectricModule

Backend = Literal["inductor", "eager"]

_TOLERANCE = 1e-3
"""Relative deviation in float32: fused kernels add in another order, and gradients cancel."""


def measure_compiled(name: Model, width: int, graph: CrystalGraph, backend: Backend, repeats: int) -> Row:
    """Forward and backward pass with and without compilation.

    Args:
        name: Backbone.
        width: Its channels.
        graph: A batch on the device.
        backend: Of torch.compile; `eager` only traces the model.
        repeats: Passes that count.
    """
    device = graph.edge_vectors.device
    torch._dynamo.reset()  # otherwise models count towards one limit of recompilations
    torch.manual_seed(0)
    plain = DielectricModule(BACKBONES[name](width)).to(device)
    compiled = DielectricModule(BACKBONES[name](width), compile_backend=backend).to(device)
    compiled.load_state_dict(plain.state_dict())
    start = time.perf_counter()
    found = outputs_and_gradients(compiled, graph)
    compilation = time.perf_counter() - start
    deviations = [relative_deviation(*pair) for pair in zip(found, outputs_and_gradients(plain, graph), strict=True)]
    times = [seconds(lambda m=model: outputs_and_gradients(m, graph), device, repeats) for model in (plain, compiled)]  # type: ignore[misc]
    return {
        "backend": backend,
        "compilation (s)": compilation,
        "output": deviations[0],
        "gradient": deviations[1],
        "equal": max(deviations) <= _TOLERANCE,
        "plain (ms)": 1e3 * times[0],
        "compiled (ms)": 1e3 * times[1],
        "ratio": times[0] / times[1],
    }
