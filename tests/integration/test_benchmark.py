"""The benchmark tool through its real command, as small as it gets; nothing is asserted about times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import environment


def benchmark(repository: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/benchmark.py", *args]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=repository, env=environment(), timeout=300, check=False
    )


def test_cost_prints_a_table(repository: Path) -> None:
    result = benchmark(repository, "cost", "--width", "8", "--batch", "4", "--repeats", "1", "--l-max", "1")
    assert result.returncode == 0, result.stderr
    head, _, titles, _, *rows = result.stdout.splitlines()
    assert head.startswith("4 embedded metals: ") and head.endswith("threads: 1.")
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (titles, *rows)]
    assert [row[0] for row in cells] == [
        "backbone", "optimetal2b_cgc", "optimetal2b_tc", "optimetal3b_tc", "goten", "escn", "cg"
    ]  # fmt: skip
    assert all(float(cell.replace(",", "")) > 0 for row in cells[1:] for cell in row[1:])


def test_loading_prints_every_figure(repository: Path, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    few = ("--number", "60", "--workers", "1", "--batch-size", "16", "--repeats", "1", "--json", str(figures))
    result = benchmark(repository, "loading", *few)
    assert result.returncode == 0, result.stderr
    found = json.loads(figures.read_text())
    assert found.keys() >= {
        "prepare_seconds",
        "bytes_per_structure",
        "open_seconds",
        "store_private_mb",
        "list_over_store",
    }
    assert all(f"{name}: " in result.stdout for name in found)
    assert found["bytes_per_structure"] > 8000 and found["store_ms_per_crystal"] > 0
    missing = benchmark(repository, "loading", "--store", str(tmp_path / "none"))
    assert missing.returncode == 2 and "no such store" in missing.stderr


def test_cost_of_larger_cells(repository: Path) -> None:
    args = "cost --models cg --width 8 --repeats 1 --crystals synthetic --batch 2"
    small = benchmark(repository, *args.split()).stdout.split()
    large = benchmark(repository, *args.split(), "--supercell", "2", "1", "3").stdout.split()
    assert small[:3] == large[:3] == ["2", "synthetic", "metals:"]
    assert int(large[3]) == 6 * int(small[3])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("cost", "--batch", "1000"), "--batch is 1000, but there are 102 embedded metals; give 1 to 102"),
        (("cost", "--models", "schnet"), "invalid choice: 'schnet'"),
        (("cost", "--repeats", "0"), "0 is less than 1"),
        ((), "the following arguments are required: BENCHMARK"),
    ],
)
def test_mistakes_are_named(repository: Path, args: tuple[str, ...], message: str) -> None:
    result = benchmark(repository, *args)
    assert result.returncode != 0
    assert message in result.stderr
