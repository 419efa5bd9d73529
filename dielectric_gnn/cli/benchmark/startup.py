"""How long the command takes to begin: its help pages, and the first training step on the embedded metals.

Every figure is wall time from the start of a process; the first run of each fills the page cache and does not count.
A last launch lists which packages take how long to import until the first step, without what they import in turn;
Python's own timer, which measures this, slows imports a little.

    dielectric-gnn benchmark startup
    dielectric-gnn benchmark startup --repeats 9 --packages 20
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from jsonargparse.typing import PositiveInt

from dielectric_gnn.utils.errors import InputError

_IMPORT = re.compile(r"^import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)", re.MULTILINE)
"""A module in what `-X importtime` prints: its own microseconds and its name."""

_FIRST_STEP = """\
import sys, time
from lightning.pytorch import Trainer
from dielectric_gnn.training.module import DielectricModule

def first_step(self, *args):
    print(f"first step: {time.time()}", flush=True)
    sys.exit(0)

DielectricModule.training_step = first_step
sys.argv = ["dielectric-gnn", *sys.argv[1:]]
from dielectric_gnn.__main__ import main
main()
"""


def wall(command: list[str]) -> float:
    """Seconds until a command ends."""
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - start


def until_first_step(folder: Path, *options: str) -> tuple[float, str]:
    """Seconds from the start of `fit` to its first training step, and its error stream.

    Args:
        folder: For the run.
        options: Of the interpreter.
    """
    configs = [f"--config={name}.yaml" for name in ("base", "data/example", "trainer/cpu")]
    command = [sys.executable, *options, "-c", _FIRST_STEP, "fit", *configs, f"--run_dir={folder}"]
    start = time.time()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("first step: "):
            return float(line.removeprefix("first step: ")) - start, done.stderr
    raise InputError(f"the training did not begin:\n{done.stderr}")


def import_seconds(timings: str) -> dict[str, float]:
    """Seconds that the modules of each package took by themselves, most first, from what `-X importtime` printed."""
    microseconds: Counter[str] = Counter()
    for own, module in _IMPORT.findall(timings):
        microseconds[module.partition(".")[0]] += int(own)
    return {package: amount / 1e6 for package, amount in microseconds.most_common()}


def run(repeats: PositiveInt = 3, packages: PositiveInt = 8) -> None:
    """Print a table.

    Args:
        repeats: Launches that count.
        packages: How many imported packages are listed.
    """
    words = [sys.executable, "-m", "dielectric_gnn"]
    print("| from the start of the process | seconds |\n| --- | --- |")
    for name, command in {"--help": [*words, "--help"], "fit --help": [*words, "fit", "--help"]}.items():
        times = [wall(command) for _ in range(1 + repeats)][1:]
        print(f"| `dielectric-gnn {name}` ends | {statistics.median(times):.2f} |", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        times = [until_first_step(Path(scratch) / str(number))[0] for number in range(1 + repeats)][1:]
        print(f"| first step of `fit` on the embedded metals | {statistics.median(times):.2f} |\n", flush=True)
        imports = import_seconds(until_first_step(Path(scratch) / "imports", "-X", "importtime")[1])
    print("| imports until the first step | seconds |\n| --- | --- |")
    for package in list(imports)[:packages]:
        print(f"| {package} | {imports[package]:.2f} |")
    print(f"| all, with the standard library | {sum(imports.values()):.2f} |")
