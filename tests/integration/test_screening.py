"""`predict` on many structures: killed and launched again, other formats, ranked, changed files and models."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from dielectric_gnn.data.sources import SyntheticMetals
from tests.commands import Command, environment

NUM = 24


@pytest.fixture(scope="module")
def crystals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crystals")
    for record in SyntheticMetals(NUM).records():
        lattice = Lattice(record.lattice)
        structure = Structure(lattice, record.atomic_numbers.tolist(), record.positions, coords_are_cartesian=True)
        structure.to(str(folder / f"{record.material_id}.vasp"), fmt="poscar")
    return folder


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def finished(folder: Path) -> int:
    return sum(len(path.read_text().splitlines()) - 1 for path in folder.glob("finished-*.jsonl"))


def test_killed_and_relaunched_repeats_nothing(
    command: Command, trained: Path, crystals: Path, repository: Path, tmp_path: Path
) -> None:
    model = trained / "checkpoints" / "best.ckpt"
    args = [
        *("predict", "--ckpt_path", str(model), "--crystals", str(crystals), "--run_dir", str(tmp_path)),
        *("--data.eval_batch_size", "4", "--predictions.rank_by", "q_lsp"),
    ]
    folder = tmp_path / "predictions"
    process = subprocess.Popen(
        [sys.executable, "-m", "dielectric_gnn", *args],
        cwd=repository, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while finished(folder) < 8:
        assert process.poll() is None, "the prediction ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = finished(folder)
    assert 8 <= done < NUM and not (folder / "summary.csv").exists()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.png")}

    shown = command(*args)
    assert f"Predicted {NUM} materials, {done} of them in an earlier launch" in shown.stdout
    ids = {path.stem for path in crystals.iterdir()}
    table = rows_of(folder / "summary.csv")
    assert sorted(row["material_id"] for row in table) == sorted(ids)
    merit = [float(row["q_lsp"]) for row in table if row["q_lsp"]]
    assert merit == sorted(merit, reverse=True) and len(merit) > NUM // 2
    first = json.loads((folder / "finished-0.jsonl").read_text().splitlines()[1])["row"]["material_id"]
    assert (folder / f"{first}.png").stat().st_mtime_ns == before[folder / f"{first}.png"]

    shown = command(*args)
    assert f"Predicted {NUM} materials, {NUM} of them in an earlier launch" in shown.stdout

    # A changed structure is predicted again, and so is everything under other options.
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in crystals.iterdir():
        (changed / path.name).write_text(path.read_text())
    scaled = changed / f"{first}.vasp"
    lines = scaled.read_text().splitlines()
    scaled.write_text("\n".join([lines[0], "1.05", *lines[2:]]) + "\n")
    again = [word if word != str(crystals) else str(changed) for word in args]
    assert f"{NUM - 1} of them in an earlier launch" in command(*again).stdout
    other = command(*args, "--predictions.damping_ev", "0.2", "--predictions.figures", "false")
    assert "earlier launch" not in other.stdout


def test_every_format_is_written_and_the_page_holds_all(
    command: Command, trained: Path, crystals: Path, tmp_path: Path
) -> None:
    some = [str(path) for path in sorted(crystals.iterdir())[:3]]
    formats = "[refractiveindex,nk,csv,json,meep]"
    command(
        *("predict", "--ckpt_path", str(trained / "checkpoints" / "best.ckpt"), "--run_dir", str(tmp_path)),
        *("--crystals", *some, "--predictions.formats", formats, "--predictions.figures", "false"),
    )
    folder = tmp_path / "predictions"
    for path in map(Path, some):
        for ending in ("_nk.yml", ".nk", "_optics.csv", "_optics.json", "_meep.py"):
            assert (folder / f"{path.stem}{ending}").stat().st_size > 100
    page = (folder / "index.html").read_text()
    assert all(Path(path).stem in page for path in some)


def test_scores_without_labels_stand_in_the_test_report(command: Command, trained: Path, tmp_path: Path) -> None:
    command("test", "--ckpt_path", str(trained / "checkpoints" / "best.ckpt"), "--run_dir", str(tmp_path))
    rows = rows_of(tmp_path / "test" / "per_material.csv")
    for row in rows:
        assert 0 <= float(row["gain_share"]) <= 1 and float(row["kk_residual"]) > 0 and float(row["f_sum"]) > 0
    assert "Kramers-Kronig residual" in (tmp_path / "test" / "summary.md").read_text()
