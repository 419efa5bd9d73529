"""`prepare_data.py build`, killed without warning at random moments, and repeated: the store is as if nothing happened.

DIELECTRIC_GNN_KILLS sets the number of kills, three by default.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from dielectric_gnn.data.partial import partial_folder
from dielectric_gnn.data.store_check import verify_store
from tests.commands import environment

KILLS = int(os.environ.get("DIELECTRIC_GNN_KILLS", "3"))
NUMBER = 600 * (KILLS + 1)


def start(repository: Path, out: Path, workers: int) -> subprocess.Popen[str]:
    tool = repository / "tools" / "prepare_data.py"
    command = [sys.executable, str(tool), "build", f"synthetic:{NUMBER}", str(out), "--spectra", "float16"]
    command += ["--rattle", "0.02", "--workers", str(workers)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment())


def journal_size(out: Path) -> int:
    journal = partial_folder(out) / "journal.jsonl"
    return journal.stat().st_size if journal.exists() else 0


def kill_at_work(process: subprocess.Popen[str], out: Path, delay: float) -> bool:
    """Send SIGKILL some time after the process has begun to add materials; False if it ended before."""
    before = journal_size(out)
    while process.poll() is None and journal_size(out) == before:
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    return process.returncode == -signal.SIGKILL


def test_killed_builds_end_with_the_bytes_of_an_uninterrupted_one(repository: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "store"
    output, _ = start(repository, whole, 2).communicate(timeout=600)
    assert whole.is_dir(), output
    rng = random.Random(0)
    sizes = []
    for number in range(KILLS):
        killed = kill_at_work(start(repository, out, 1 + number % 2), out, rng.uniform(0, 0.5))
        assert killed and not out.exists(), f"the build was too quick for kill {number}"
        sizes.append(journal_size(out))
    assert sizes == sorted(sizes) and len(set(sizes)) == KILLS  # every attempt got further
    output, _ = start(repository, out, 2).communicate(timeout=600)
    assert "The store is in" in output, output
    verify_store(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store", "whole"]
    files = sorted(path.name for path in whole.iterdir())
    assert sorted(path.name for path in out.iterdir()) == files
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in files)
