"""The benchmark tool through its real command, as small as it gets; nothing is asserted about times."""

import inspect
import json
import re
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from pymatgen.core import Lattice, Structure

from dielectric_gnn.cli.benchmark.command import BENCHMARKS, main
from tests.commands import run_command


def benchmark(*args: str) -> CompletedProcess[str]:
    return run_command("-m", "dielectric_gnn", "benchmark", *args)


def test_cost_prints_a_table() -> None:
    result = benchmark("cost", "--width", "8", "--batch", "4", "--repeats", "1", "--l-max", "1")
    assert result.returncode == 0, result.stderr
    head, _, titles, _, *rows = result.stdout.splitlines()
    assert head.startswith("4 embedded metals: ") and head.endswith("threads: 1.")
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (titles, *rows)]
    assert [row[0] for row in cells] == [
        "backbone", "optimetal2b_cgc", "optimetal2b_tc", "optimetal3b_tc", "goten", "escn", "cg"
    ]  # fmt: skip
    assert all(float(cell.replace(",", "")) > 0 for row in cells[1:] for cell in row[1:])


def test_loading_prints_every_figure(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    few = ("--number", "60", "--workers", "1", "--batch-size", "16", "--repeats", "1", "--json", str(figures))
    result = benchmark("loading", *few)
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
    missing = benchmark("loading", "--store", str(tmp_path / "none"))
    assert missing.returncode == 2 and "no such store" in missing.stderr


def test_entries_reads_every_file_in_both_forms() -> None:
    result = benchmark("entries", "--file", "tests/data/agm-like.json.bz2", "--number", "3", "--repeats", "1")
    assert result.returncode == 0, result.stderr
    forms = [row.split("|")[1:3] for row in result.stdout.splitlines()[2:]]
    assert [[cell.strip() for cell in form] for form in forms] == [["plain", "3"], ["EntryJson", "3"]]


def test_cost_of_larger_cells() -> None:
    args = "cost --models cg --width 8 --repeats 1 --crystals synthetic --batch 2"
    small = benchmark(*args.split()).stdout.split()
    large = benchmark(*args.split(), "--supercell", "2", "1", "3").stdout.split()
    assert small[:3] == large[:3] == ["2", "synthetic", "metals:"]
    assert int(large[3]) == 6 * int(small[3])


def cells_of(table: str) -> list[list[str]]:
    """Cells of the rows below the titles of a Markdown table, which begins at the first line with a bar."""
    rows = [row for row in table.splitlines() if row.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


@pytest.mark.parametrize("crystals", ["synthetic", "embedded"])
def test_graphs_are_compared_one_by_one_and_timed(crystals: str) -> None:
    result = benchmark("graphs", "--crystals", crystals, "--number", "5", "--repeats", "1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"5 {crystals} metals, ") and "equal in all ways" in result.stdout
    rows = cells_of(result.stdout)
    assert [row[0].split(":")[0] for row in rows] == ["usual"] * 3 + ["ours", "ours", "usual", "ours"]
    assert all(float(row[1]) > 0 for row in rows) and all(float(row[2]) > 0 for row in rows[:3])


def test_predictions_of_every_model_are_timed() -> None:
    few = ("--number", "6", "--batch-size", "4", "--threads", "1", "--models", "optimetal2b_tc", "cg")
    result = benchmark("predict", *few)
    assert result.returncode == 0, result.stderr
    rows = cells_of(result.stdout)
    assert [row[:2] for row in rows] == [["optimetal2b_tc", "full"], ["optimetal2b_tc", "orbit"], ["cg", "full"]]
    assert all(float(row[2]) > 0 and float(row[3]) > 0 for row in rows)
    # Of these 6 materials at most a few MB; PyTorch with its libraries takes hundreds.
    assert all(row[4] == "–" or 100 < float(row[4]) < 10_000 for row in rows)


def test_launches_are_counted() -> None:
    """More crystals move more bytes; a network without blocks of equal size asks the device nothing, others do."""
    counts = {}
    for batch in ("2", "8"):
        result = benchmark("launches", "--batch", batch, "--models", "optimetal2b_cgc", "optimetal2b_tc")
        assert result.returncode == 0, result.stderr
        counts[batch] = [[float(cell.replace(",", "")) for cell in row[1:4]] for row in cells_of(result.stdout)]
    for few, many in zip(counts["2"], counts["8"], strict=True):
        assert few[0] > 100
        assert many[1] > few[1]
    assert counts["8"][0][2] == 0 < counts["8"][1][2]


def test_training_steps_are_timed_with_every_allocator() -> None:
    few = ("--width", "8", "--batch", "4", "--repeats", "1", "--models", "optimetal2b_tc")
    result = benchmark("training", *few)
    assert result.returncode == 0, result.stderr
    rows = cells_of(result.stdout)
    assert [row[1:4] for row in rows[:2]] == [["1", "optimetal2b_tc", "train"], ["1", "optimetal2b_tc", "predict"]]
    assert {row[0] for row in rows} in ({"default"}, {"default", "jemalloc"})


def test_screening_of_files_counts_rejects_and_unusual_cells(tmp_path: Path) -> None:
    """Of 24 cells of aluminium eight are exploded, four are squeezed, and a further file holds plutonium.

    The run is killed half way and launched again.
    """
    for number in range(24):
        scale = 1.9 if number < 8 else 0.5 if number < 12 else 1.0
        write_cubic("Al", 4.05 * scale ** (1 / 3), tmp_path / f"al{number}.cif")
    write_cubic("Pu", 4.64, tmp_path / "pu.cif")
    result = benchmark("screening", "--crystals", str(tmp_path), "--batch-size", "4")
    assert result.returncode == 0, result.stderr
    assert re.search("rejected: 1 structures: atomic number … is outside", result.stdout), result.stdout
    assert "flagged: 12 structures: the volume is" in result.stdout
    assert "Predicted 24 materials" in result.stdout and "page: 24 rows" in result.stdout
    assert re.search(r"killed after \d+, launched again: .* processor time", result.stdout)
    assert re.search(r"Predicted 24 materials, \d+ of them in an", result.stdout)
    assert "equal, byte for byte" in result.stdout


def write_cubic(element: str, length: float, path: Path) -> None:
    """A face-centred cubic crystal as a CIF file; length in Å."""
    Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), [element], [[0, 0, 0]]).to(str(path), fmt="cif")


def test_startup_times_pages_first_step_and_imports() -> None:
    result = benchmark("startup", "--repeats", "1", "--packages", "3")
    assert result.returncode == 0, result.stderr
    pages, imports = result.stdout.split("\n\n")
    names = ["`dielectric-gnn --help` ends", "`dielectric-gnn fit --help` ends"]
    assert [row[0] for row in cells_of(pages)] == [*names, "first step of `fit` on the embedded metals"]
    seconds = {name: float(cell) for name, cell in cells_of(imports)}
    assert len(seconds) == 4 and "torch" in seconds
    assert max(seconds, key=lambda name: seconds[name]) == "all, with the standard library"


def test_gpu_benchmark_measures_everything_on_the_cpu(tmp_path: Path) -> None:
    models = ["optimetal2b_cgc", "goten"]
    result = benchmark(
        "gpu", "--quick", "--device", "cpu", "--minutes", "30", "--models", *models, "--out", str(tmp_path)
    )
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    tables = found["tables"]
    assert list(tables) == ["equality", "orbits", "resident", "steps", "epoch", "DDP", "compile"]
    assert not found["left_out"] and not any("failed" in row for rows in tables.values() for row in rows)
    assert [row["backbone"] for row in tables["equality"]] == [models[0]] * 3 + [models[1]] * 5
    assert all(0 < row["gradient, device"] < 1e-3 and row["output, bf16"] > 1e-4 for row in tables["equality"])
    assert all(0 < row["output"] < 1e-6 for row in tables["orbits"])
    assert [row["ms per step"] > 0 and row["launches"] > 100 for row in tables["steps"]] == [True, True]
    assert ["ratio" in row for row in tables["steps"]] == [True, False]  # torch_geometric has no Goten
    assert [row["backend"] for row in tables["DDP"]] == ["gloo", "gloo"]
    rows = [row for row in (tmp_path / "gpu.md").read_text().splitlines() if row.startswith("| goten")]
    assert len(rows) == 5 + 4
    assert "equality: goten FreeFormTensorHead: " in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("cost", "--batch", "1000"), "--batch is 1000, but there are 102 embedded metals; give 1 to 102"),
        (("cost", "--models", "schnet"), "--models: expected one of 'optimetal2b_cgc'"),
        (("cost", "--repeats", "0"), "--repeats: 0, expected > 0"),
        (("predict", "--threads", "0"), "--threads: 0, expected > 0"),
        (("training", "--width", "9", "--models", "optimetal2b_tc"), "error: "),
        ((), "cost,training"),
        (("entries",), "required: file"),
        (("schnet",), "schnet"),
    ],
)
def test_mistakes_are_named(args: tuple[str, ...], message: str) -> None:
    result = benchmark(*args)
    assert result.returncode != 0
    assert message in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("name", sorted(BENCHMARKS))
def test_every_help_page_explains_its_options_and_shows_a_command(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    page = capsys.readouterr().out
    options = page.partition("\noptions:\n")[2]
    assert ended.value.code == 0 and f"    dielectric-gnn benchmark {name}" in page
    module = import_module(f"dielectric_gnn.cli.benchmark.{name}")
    names = [f"--{parameter.replace('_', '-')}" for parameter in inspect.signature(module.run).parameters]
    assert all(re.search(rf"{option}\b[^-]*[A-Z]", options) for option in names), options
