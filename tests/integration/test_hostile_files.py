"""The real commands on small files that stand for gigabytes, and on a store with one flipped bit."""

from __future__ import annotations

import bz2
import csv
import gzip
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.splits import composition_split
from dielectric_gnn.data.store.writer import write_store
from tests.commands import SMALL_MODEL, Command, environment

MB = 1_000_000
HALF_A_GB = 500 * MB


def run_measured(repository: Path, *words: str) -> tuple[int, str, float]:
    """Run a command: its exit status, what it wrote, and the largest memory (MB) that it and nothing else took."""
    if sys.platform == "win32":
        pytest.skip("needs wait4")
    with subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment(), cwd=repository
    ) as process:
        assert process.stdout is not None
        text = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, text, usage.ru_maxrss / 1000


def test_memory_of_a_build_with_bombs(repository: Path, tmp_path: Path) -> None:
    """Half a gigabyte of spaces in 0.5 MB: alone, in an archive, and nested; each is a reject, and none is unpacked."""
    metals = sorted((repository / "tests" / "data").glob("*.json.bz2"))
    plain, bombs = tmp_path / "plain", tmp_path / "bombs"
    for folder in (plain, bombs):
        folder.mkdir()
        for number in range(3):
            text = bz2.decompress(metals[0].read_bytes()).decode()
            name = text.split('"mat_id": "')[1].split('"')[0]
            (folder / f"{number}.json").write_text(text.replace(f'"{name}"', f'"material-{number}"'))
    spaces = gzip.compress(b" " * HALF_A_GB, 6)
    (bombs / "bomb.json.gz").write_bytes(spaces)
    ids = tmp_path / "ids"
    ids.mkdir()
    for number, side in enumerate(("train", "val", "test")):
        (ids / f"{side}.txt").write_text(f"material-{number}\n")
    lists = ["--ids", *(str(ids / f"{side}.txt") for side in ("train", "val", "test"))]
    common = ["--on-error", "skip", "--broadening", "0.3", *lists]
    peaks = {}
    for folder in (plain, bombs):
        out = tmp_path / f"store-{folder.name}"
        status, text, peaks[folder.name] = run_measured(
            repository, "tools/prepare_data.py", "build", str(folder), str(out), *common
        )
        assert status == 0, text
    with (tmp_path / "store-bombs_rejects.csv").open(newline="") as file:
        rejects = list(csv.DictReader(file))
    assert [Path(row["source"]).name for row in rejects] == ["bomb.json.gz"] and "64 MB" in rejects[0]["problem"]
    assert peaks["bombs"] < peaks["plain"] + 200
    with zipfile.ZipFile(tmp_path / "nested.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.json.gz", spaces)
        archive.writestr("bomb.json", b" " * HALF_A_GB)
    out = tmp_path / "store-nested"
    status, text, most = run_measured(
        repository, "tools/prepare_data.py", "build", str(tmp_path / "nested.zip"), str(out), *common
    )
    assert status == 2 and "Traceback" not in text and text.strip().split("\n")[-1].startswith("error: ")
    assert most < peaks["plain"] + 200


def test_training_on_a_store_with_a_flipped_bit(command: Command, metals: list[CrystalRecord], tmp_path: Path) -> None:
    store = tmp_path / "store"
    write_store(store, iter(metals), 5.5, composition_split)
    path = store / "eps_inter.npy"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    run_dir = tmp_path / "run"
    result = command(
        *("fit", "--config", "configs/base.yaml", *SMALL_MODEL, "--data.store", str(store), "--run_dir", str(run_dir)),
        status=2,
    )
    assert "Traceback" not in result.stderr and not list(run_dir.rglob("*.ckpt"))
    last = result.stderr.strip().split("\n")[-1]
    assert "damaged: material" in last and str(store) in last and "build the store anew" in last
