"""`dielectric-gnn predict` on a folder of structure files, from start to end, and once more with a kill half-way.

Synthetic metals are written as POSCAR files, a model is trained for one epoch (how good it is costs nothing here), and
the command predicts them all. Then it does so anew in another folder, is killed with SIGKILL after some of the
materials, and is launched again: it must predict the others only and end with the same summary, byte for byte.

    dielectric-gnn benchmark screening
    dielectric-gnn benchmark screening --number 200 --config configs/published/optimetal3b_tc.yaml
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
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


def told(output: str) -> str:
    """What the command says at its end."""
    return next(line for line in output.splitlines() if line.startswith("Predicted")).split(";")[0]


def run(number: PositiveInt = 1000, batch_size: PositiveInt = 64, config: Path = Path("quickstart.yaml")) -> None:
    """Measure, and print a few lines.

    Args:
        number: How many structures.
        batch_size: Structures that are predicted at a time.
        config: Configuration of the model.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_structures(number, folder / "structures")
        fit = [*_COMMAND, "fit", "--config", str(config), "--config", "data/example.yaml"]
        fit += ["--config", "trainer/cpu.yaml", "--trainer.max_epochs", "1", "--figures.every_n_epochs", "0"]
        subprocess.run([*fit, "--run_dir", str(folder / "model")], check=True, stdout=subprocess.DEVNULL)
        checkpoint = folder / "model" / "checkpoints" / "last.ckpt"
        predict = [*_COMMAND, "predict", "--ckpt_path", str(checkpoint), "--crystals", str(folder / "structures")]
        predict += ["--data.eval_batch_size", str(batch_size)]

        start = time.perf_counter()
        whole = [*predict, "--run_dir", str(folder / "whole")]
        shown = subprocess.run(whole, check=True, capture_output=True, text=True).stdout
        seconds = time.perf_counter() - start
        print(told(shown))
        print(f"from start to end: {seconds:.1f} s, {number / seconds:.0f} structures per second")

        again = [*predict, "--run_dir", str(folder / "killed")]
        done = killed_after(again, folder / "killed", int(0.3 * number))
        shown = subprocess.run(again, check=True, capture_output=True, text=True).stdout
        print(
            f"killed after {done}, launched again: {next(x for x in shown.splitlines() if x.startswith('Predicted'))}"
        )
        one, other = ((folder / name / "predictions" / "summary.csv").read_bytes() for name in ("whole", "killed"))
        print(f"the two summaries are {'equal, byte for byte' if one == other else 'DIFFERENT'}")
