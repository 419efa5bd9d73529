"""`dielectric-gnn predict` on a folder of structure files, from start to end, and once more with a kill half-way.

Synthetic metals are written as POSCAR files, a model is trained for one epoch (how good it is costs nothing here), and
the command predicts them all. Then it does so anew in another folder, is killed with SIGKILL after some of the
materials, and is launched again: it must predict the others only and end with the same summary, byte for byte.

    dielectric-gnn benchmark screening
    dielectric-gnn benchmark screening --number 200 --config configs/published/optimetal3b_tc.yaml
    dielectric-gnn benchmark screening --crystals my_cifs/
"""

from __future__ import annotations

import csv
import gzip
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from jsonargparse.typing import PositiveInt
from pymatgen.core import Lattice, Structure

from dielectric_gnn.data.sources import SyntheticMetals
from dielectric_gnn.utils.errors import InputError

_COMMAND = [sys.executable, "-m", "dielectric_gnn"]


def write_structures(number: int, folder: Path) -> None:
    """Synthetic metals as POSCAR files."""
    folder.mkdir()
    for record in SyntheticMetals(number).records():
        numbers, positions = record.atomic_numbers.tolist(), record.positions
        structure = Structure(Lattice(record.lattice), numbers, positions, coords_are_cartesian=True)
        structure.to(str(folder / f"{record.material_id}.vasp"), fmt="poscar")


def finished(run: Path) -> int:
    """How many materials a run has predicted so far."""
    journals = (run / "predictions").glob("finished-*.jsonl")
    return sum(len(journal.read_bytes().splitlines()) - 1 for journal in journals)


def killed_after(command: list[str], run: Path, number: int) -> int:
    """Launch a command, kill it when so many materials are predicted; how many were in the end."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while finished(run) < number:
            if process.poll() is not None:
                raise InputError("the command ended before it could be killed; give a larger --number")
            time.sleep(0.01)
        process.kill()
    return finished(run)


def measured(command: list[str], label: str) -> str:
    """Run a command, print its times and peak memory, and return what it printed.

    Raises:
        InputError: It failed.
    """
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        output = "" if process.stdout is None else process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)  # the usage of this process alone
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"`{' '.join(command[2:])}` ended with status {process.returncode}; run it to see why")
    seconds, processor, megabytes = time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
    print(f"{label}: {seconds:.1f} s, {processor:.1f} s of processor time, at most {megabytes:.0f} MB", flush=True)
    return output


def line_of(output: str, beginning: str) -> str:
    """The line of an output that begins so; empty if there is none."""
    return next((line for line in output.splitlines() if line.startswith(beginning)), "")


def print_outcome(run: Path) -> int:
    """Print how many structures were predicted, rejected and flagged, and the size of the page; return the first."""
    with (run / "predictions" / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    # A warning may end with what to check, after a semicolon of its own.
    reasons = Counter(
        re.split(r"[:(\d]", reason)[0].strip()
        for row in rows
        for reason in row["warnings"].split("; ")
        if reason and not reason.startswith("check ")
    )
    rejects = run / "rejects_predict.csv"
    if rejects.exists():
        with rejects.open(encoding="utf-8", newline="") as file:
            problems = Counter(re.sub(r"\b\d+\b", "…", row["problem"], count=1) for row in csv.DictReader(file))
        for problem, count in problems.most_common():
            print(f"rejected: {count} structures: {problem}")
    for reason, count in reasons.most_common():
        print(f"flagged: {count} structures: {reason}")
    page = (run / "predictions" / "index.html").read_bytes()
    print(f"page: {len(rows)} rows, {len(page) / 1e6:.2f} MB, {len(gzip.compress(page)) / 1e6:.2f} MB compressed")
    return len(rows)


def run(
    number: PositiveInt = 1000,
    batch_size: PositiveInt = 64,
    config: Path = Path("quickstart.yaml"),
    crystals: Path | None = None,
) -> None:
    """Measure, and print a few lines.

    Args:
        number: How many synthetic structures.
        batch_size: Structures that are predicted at a time.
        config: Configuration of the model.
        crystals: Folder of structure files of your own in place of synthetic ones; unusable files are skipped.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if crystals is None:
            write_structures(number, folder / "structures")
        fit = [*_COMMAND, "fit", "--config", str(config), "--config", "data/example.yaml"]
        fit += ["--config", "trainer/cpu.yaml", "--trainer.max_epochs", "1", "--figures.every_n_epochs", "0"]
        subprocess.run([*fit, "--run_dir", str(folder / "model")], check=True, stdout=subprocess.DEVNULL)
        checkpoint = folder / "model" / "checkpoints" / "last.ckpt"
        predict = [*_COMMAND, "predict", "--ckpt_path", str(checkpoint)]
        predict += ["--crystals", str(crystals or folder / "structures"), "--data.on_error", "skip"]
        predict += ["--data.eval_batch_size", str(batch_size)]

        shown = measured([*predict, "--run_dir", str(folder / "whole")], "from start to end")
        print(line_of(shown, "Predicted").split(";")[0])
        predicted = print_outcome(folder / "whole")

        again = [*predict, "--run_dir", str(folder / "killed")]
        done = killed_after(again, folder / "killed", int(0.3 * predicted))
        shown = measured(again, f"killed after {done}, launched again")
        print(line_of(shown, "Predicted"))
        one, other = ((folder / name / "predictions" / "summary.csv").read_bytes() for name in ("whole", "killed"))
        print(f"the two summaries are {'equal, byte for byte' if one == other else 'DIFFERENT'}")
