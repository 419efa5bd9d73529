"""`prepare_data.py build`, killed without warning at random moments, and repeated: the store is as if nothing happened.

DIELECTRIC_GNN_KILLS sets the number of kills, two by default.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dielectric_gnn.data.store.builder import partial_folder
from dielectric_gnn.data.store.check import verify_store
from tests.commands import environment

KILLS = int(os.environ.get("DIELECTRIC_GNN_KILLS", "2"))
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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_leaves_the_good_store(repository: Path, small_disk: Path) -> None:
    """2 MB hold 50 crystals in half precision, not 500."""

    def build(*args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "tools/prepare_data.py", *args]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=repository, env=environment(), timeout=300, check=False
        )

    store = small_disk / "store"
    good = build("build", "synthetic:50", str(store), "--spectra", "float16")
    assert good.returncode == 0, good.stderr
    full = build("build", "synthetic:500", str(store), "--spectra", "float16", "--overwrite")
    assert full.returncode == 2 and "Traceback" not in full.stderr
    assert "no space is left on the disk" in full.stderr.splitlines()[-1]
    assert build("verify", str(store)).stdout == f"{store}: sound (50 materials, 15 arrays)\n"
