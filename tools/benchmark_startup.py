"""How long the command takes to begin: its help pages, and the first training step on the embedded metals.

Every figure is wall time from the start of a process; the first run of each fills the page cache and does not count.

    python tools/benchmark.py startup
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

_FIRST_STEP = """\
import sys, time
from lightning.pytorch import Trainer
from dielectric_gnn.module import DielectricModule

step = DielectricModule.training_step

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
    subprocess.run(command, capture_output=True, cwd=ROOT, check=True)
    return time.perf_counter() - start


def until_first_step(folder: Path) -> float:
    """Seconds from the start of `fit` to its first training step."""
    configs = [f"--config=configs/{name}.yaml" for name in ("base", "data/example", "trainer/cpu")]
    command = [sys.executable, "-c", _FIRST_STEP, "fit", *configs, f"--run_dir={folder}"]
    start = time.time()
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ, check=False)
    for line in done.stdout.splitlines():
        if line.startswith("first step: "):
            return float(line.removeprefix("first step: ")) - start
    raise SystemExit(f"the training did not begin:\n{done.stderr}")


def run(options: argparse.Namespace) -> None:
    """Print a table."""
    words = [sys.executable, "-m", "dielectric_gnn"]
    print("| from the start of the process | seconds |\n| --- | --- |")
    for name, command in {"--help": [*words, "--help"], "fit --help": [*words, "fit", "--help"]}.items():
        times = [wall(command) for _ in range(1 + options.repeats)][1:]
        print(f"| `dielectric-gnn {name}` ends | {statistics.median(times):.2f} |", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        times = [until_first_step(Path(scratch) / str(number)) for number in range(1 + options.repeats)][1:]
    print(f"| first step of `fit` on the embedded metals | {statistics.median(times):.2f} |")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of `startup`."""
    parser.add_argument("--repeats", type=int, default=3, help="runs counted (default: %(default)s)")
    parser.set_defaults(run=run)
