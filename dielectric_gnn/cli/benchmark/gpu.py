r"""All models on this machine's GPU: equal results, speed, memory, compilation and DDP.

    dielectric-gnn benchmark gpu                       # within eight minutes; results in runs/benchmark-gpu
    dielectric-gnn benchmark gpu --quick               # small sizes, within a minute or two
    dielectric-gnn benchmark gpu --models goten cg --minutes 20

Every row is printed when it has been measured; --out receives `gpu.json` and `gpu.md` (Markdown tables):

- equality: outputs and gradients of every backbone with every head in float32 (without TF32), on CPU and device, as
  relative deviations from float64, and those of bf16 from float32;
- orbits, resident: orbit graphs against full ones, and batches gathered on the device against those of the CPU;
- steps: time, launches and synchronisations (waits) of a training step, peak memory, its matrix products as a share of
  the speed of large ones on this device, and the torch_geometric form of the model in the same run;
- epoch: an epoch of 160,000 crystals, drawn from 16,000 different ones that stay on the device;
- DDP: one process with NCCL against none;
- compile: `compile_backend: inductor` against none.

Without a CUDA device, the same runs on the CPU with small sizes, where times are processor time, launches are counted
operators, DDP uses gloo, and one model is compiled, which is only traced. The exit status is 0 if all results are equal
within their tolerances, and 1 otherwise. What could not be measured, for example because the memory is too small, has
the reason in its row.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from jsonargparse.typing import PositiveFloat

from dielectric_gnn.cli.benchmark.cost import machine
from dielectric_gnn.cli.benchmark.device.compiled import Backend, measure_compiled
from dielectric_gnn.cli.benchmark.device.data_parallel import measure_data_parallel
from dielectric_gnn.cli.benchmark.device.equality import compare, compare_orbits, compare_resident
from dielectric_gnn.cli.benchmark.device.models import BACKBONES, batch, combinations, crystals
from dielectric_gnn.cli.benchmark.device.report import Report
from dielectric_gnn.cli.benchmark.device.steps import matmul_speed, measure_epoch, measure_step
from dielectric_gnn.cli.benchmark.predict import Model
from dielectric_gnn.data.store.resident import ResidentStore
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import check_writable, write_text

Precision = Literal["float32", "bf16"]

_CPU = torch.device("cpu")
_ALL = tuple(BACKBONES)


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Args:
        equal_width: Channels where results are compared.
        equal_batch: Materials where results are compared.
        width: Channels where times are measured.
        batches: Materials per batch of the training steps.
        repeats: Steps that count.
        epoch: Materials of an epoch.
        distinct: Different ones among them.
        backend: Of torch.compile.
        compiled: Models that are compiled.
        minutes: Rows that would begin later are left out.
        precisions: In which times are measured; that of an epoch is the last.
    """

    equal_width: int
    equal_batch: int
    width: int
    batches: tuple[int, ...]
    repeats: int
    epoch: int
    distinct: int
    backend: Backend
    compiled: tuple[Model, ...]
    minutes: float
    precisions: tuple[Precision, ...]


SIZES = {
    ("cuda", False): Sizes(64, 32, 256, (256, 1024), 10, 160_000, 16_000, "inductor", _ALL, 8.0, ("float32", "bf16")),
    ("cuda", True): Sizes(32, 16, 64, (64,), 5, 8192, 1024, "inductor", _ALL, 8.0, ("float32", "bf16")),
    ("cpu", False): Sizes(16, 8, 32, (16,), 3, 256, 64, "eager", ("goten",), 2.0, ("float32",)),
    ("cpu", True): Sizes(8, 4, 8, (4,), 1, 16, 8, "eager", ("goten",), 2.0, ("float32",)),
}
"""By the type of the device, and whether `--quick` was given."""


def run(
    out: Path = Path("runs/benchmark-gpu"),
    models: Sequence[Model] = _ALL,
    device: Literal["auto", "cuda", "cpu"] = "auto",
    quick: bool = False,
    minutes: PositiveFloat | None = None,
) -> None:
    """Measure; print a line for each row, and write all tables.

    Args:
        out: Folder of `gpu.json` and `gpu.md`.
        models: Backbones to measure.
        device: The first CUDA device, or the CPU; `auto` takes the first if there is one.
        quick: Small sizes, to see whether everything works.
        minutes: Rows that would begin later than this are left out, and listed; 8 on a GPU and 2 on the CPU by default.
    """
    chosen = _device(device)
    check_writable(out)
    if device == "auto" and chosen == _CPU:
        print("no CUDA device: the CPU part follows, with small sizes")
    torch.set_float32_matmul_precision("highest")  # no TF32
    if chosen == _CPU:
        torch.set_num_threads(1)  # small batches gain nothing from more, and lose much beside other work
    sizes = SIZES[chosen.type, quick]
    report = Report({"device": _name(chosen), "CPU": machine(), "quick": quick}, minutes or sizes.minutes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks of the compiler and of DDP on settings that are meant
        _measure(report, sizes, tuple(models), chosen)
    write_text(out / "gpu.json", report.to_json())
    write_text(out / "gpu.md", report.markdown())
    _print_end(report, out)


def _measure(report: Report, sizes: Sizes, models: tuple[Model, ...], device: torch.device) -> None:
    """All tables, those first that are needed most if the time is short."""
    _compare_results(report, sizes, models, device)
    _measure_steps(report, sizes, models, device)
    _measure_epochs(report, sizes, models, device)
    graph = batch(sizes.batches[0], device)
    for name in models:
        parallel = partial(measure_data_parallel, name, sizes.width, graph, sizes.repeats)
        report.add("DDP", {"backbone": name}, parallel)
    for name in (name for name in models if name in sizes.compiled):
        compiled = partial(measure_compiled, name, sizes.width, graph, sizes.backend, sizes.repeats)
        report.add("compile", {"backbone": name}, compiled)


def _compare_results(report: Report, sizes: Sizes, models: tuple[Model, ...], device: torch.device) -> None:
    width, number = sizes.equal_width, sizes.equal_batch
    graph = batch(number, _CPU)
    for name, head, build in combinations(models):
        key = {"backbone": name, "head": head}
        report.add("equality", key, partial(compare, build, width, graph, device))
        if build(width).supports_orbits:
            report.add("orbits", key, partial(compare_orbits, build, width, number, device))
    report.add("resident", {"materials": number}, lambda: compare_resident(crystals(number, 0.02), device))


def _measure_steps(report: Report, sizes: Sizes, models: tuple[Model, ...], device: torch.device) -> None:
    for number in sizes.batches:
        graph = batch(number, device)
        for precision in sizes.precisions:
            bf16 = precision == "bf16"
            speed = matmul_speed(device, bf16)
            for name in models:
                key = {"backbone": name, "width": sizes.width, "batch": number, "precision": precision}
                step = partial(measure_step, name, sizes.width, graph, bf16, sizes.repeats, speed)
                report.add("steps", key, step)


def _measure_epochs(report: Report, sizes: Sizes, models: tuple[Model, ...], device: torch.device) -> None:
    resident = ResidentStore(crystals(sizes.distinct, 0.02), device)
    number, precision = sizes.batches[0], sizes.precisions[-1]
    for name in models:
        key = {"backbone": name, "width": sizes.width, "batch": number, "precision": precision}
        epoch = partial(measure_epoch, name, sizes.width, resident, sizes.epoch, number, precision == "bf16")
        report.add("epoch", key, epoch)


def _device(device: Literal["auto", "cuda", "cpu"]) -> torch.device:
    """The device to measure.

    Raises:
        InputError: A CUDA device is required, and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device is cuda, but PyTorch finds no CUDA device; expected auto or cpu on this machine")
    return _CPU if device == "cpu" or not torch.cuda.is_available() else torch.device("cuda", 0)


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def _print_end(report: Report, out: Path) -> None:
    """Print a summary; end with status 1 if results differ."""
    for name in report.failed:
        print(f"not measured: {name}")
    if report.left_out:
        print(f"left out for lack of time: {len(report.left_out)} rows, see {out / 'gpu.md'}; raise --minutes")
    print(f"tables: {out / 'gpu.md'}, {out / 'gpu.json'}")
    if report.unequal:
        sys.stderr.write("".join(f"not equal: {name}\n" for name in report.unequal))
        sys.exit(1)
    print("all measured results are equal within their tolerances")
