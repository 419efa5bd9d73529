"""The real command on crystals that ended the process, ran for minutes, or have names that ended a screening."""

import csv
import shutil
from pathlib import Path

from dielectric_gnn.utils.csv_cells import unguard_cell
from tests.commands import Command

ODD = Path("tests/data/odd_inputs/hostile_cells")
SILVER = Path("docs/crystals/fcc_silver.cif")
NAMES = ["Cu$_$x", "=cmd", "fcc_silver", "x" * 240]


def test_a_screening_goes_on_past_every_bad_crystal(
    command: Command, trained: Path, repository: Path, tmp_path: Path
) -> None:
    crystals = tmp_path / "crystals"
    crystals.mkdir()
    for path in (repository / ODD).glob("*.vasp"):
        shutil.copy(path, crystals)
    for name in [*NAMES, "a\nb"]:
        shutil.copy(repository / SILVER, crystals / f"{name}.cif")
    checkpoint = str(trained / "checkpoints" / "best.ckpt")
    words = ["predict", "--ckpt_path", checkpoint, "--crystals", str(crystals), "--run_dir", str(tmp_path / "run")]
    stopped = command(*words, status=2)
    assert "material id" in stopped.stderr and "Traceback" not in stopped.stderr
    assert "--data.on_error skip" in stopped.stderr
    command(*words, "--data.on_error", "skip")
    with (tmp_path / "run" / "predictions" / "summary.csv").open(newline="", encoding="utf-8") as file:
        rows = {unguard_cell(row["material_id"]): row for row in csv.DictReader(file)}
    assert sorted(rows) == sorted([*NAMES, "slow_skew"])
    # One crystal, whatever its name.
    assert len({rows[name]["drude_ev"] for name in NAMES}) == 1
    assert len(list((tmp_path / "run" / "predictions").glob("*.png"))) == len(rows)
    with (tmp_path / "run" / "rejects_predict.csv").open(newline="", encoding="utf-8") as file:
        problems = {Path(row["source"].split(" (")[0]).name: row["problem"] for row in csv.DictReader(file)}
    assert set(problems) == {"a b.cif", "sigfpe_1e8.vasp"}
    assert "material id" in problems["a b.cif"] and "vector" in problems["sigfpe_1e8.vasp"]
