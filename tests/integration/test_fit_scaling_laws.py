"""tools/fit_scaling_laws.py through the real command, on the published losses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dielectric_gnn.run_record import RECORD, RunRecord, write_record
from tests.commands import environment


def run(repository: Path, *args: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/fit_scaling_laws.py", *args]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=repository, env=environment(), timeout=300, check=False
    )
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result


def test_published_losses_give_tables_figures_and_answers(repository: Path, tmp_path: Path) -> None:
    shown = run(
        repository, "tests/data/published_losses.csv", "--out", str(tmp_path), "--target", "0.4", "--draws", "20"
    ).stdout
    assert "broken: broken*A leads power" in shown and "A loss of 0.4 needs D" in shown
    groups = json.loads((tmp_path / "fits.json").read_text())
    assert "given broken*A); broken, 1.8 behind in AICc, puts it at 5.372e+04." in groups[0]["answers"][0]
    assert groups[2]["answers"][0].startswith("If there is a break, it lies around N = ")
    assert [group["shape"] for group in groups] == ["broken", "broken", None]
    assert 3e5 < groups[0]["needed_for_0.4"] < 6e5
    with (tmp_path / "fits.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = next(row for row in rows if row["law"] == "broken*A" and row["parameter"] == "xc")
    assert float(chosen["low"]) < float(chosen["value"]) < float(chosen["high"])
    assert (tmp_path / "fits.tex").read_text().count(r"\begin{tabular}") == 3
    assert "**Verdict.**" in (tmp_path / "report.md").read_text()
    for name in ("scaling_in_D", "scaling_in_N"):
        assert all((tmp_path / f"{name}{ending}").stat().st_size > 5000 for ending in (".png", ".pdf"))


def test_published_mode_states_the_published_criterion(repository: Path, tmp_path: Path) -> None:
    args = ("tests/data/published_losses.csv", "--mode", "published", "--no-figures", "--out", str(tmp_path))
    shown = run(repository, *args).stdout
    for aicc in ("-57.74", "-44.88", "-60.97"):
        assert aicc in shown


def test_records_in_two_variables(repository: Path, tmp_path: Path) -> None:
    for n in (1e5, 1e6, 1e7):
        for d in (1e3, 1e4, 1e5):
            for seed in (1, 2):
                loss = 0.1 + (1e4 / n) ** 0.4 + (1e3 / d) ** 0.3 * (1 + 0.002 * seed)
                record = RunRecord(
                    name=f"{n:g}-{d:g}", status="finished", backbone="Net", head="Head", num_parameters=int(n),
                    num_train=int(d), subset="", seed=seed, epochs=1, steps=1, samples_seen=int(d),
                    best_validation_loss=loss, training_flops=600.0 * n * d,
                )  # fmt: skip
                write_record(tmp_path / "runs" / f"{n:g}-{d:g}-{seed}" / RECORD, record)
    out = tmp_path / "out"
    shown = run(repository, str(tmp_path / "runs"), "--budget", "1e15", "--out", str(out)).stdout
    assert "1e+15 FLOPs (at 600 N D) are best spent on" in " ".join(shown.split())
    (group,) = json.loads((out / "fits.json").read_text())
    assert set(group["regimes"].values()) == {"data-limited", "model-limited"}
    assert (out / "map_0.png").stat().st_size > 5000


def test_a_group_that_is_too_small_is_named_and_the_others_are_fitted(repository: Path, tmp_path: Path) -> None:
    rows = [f"good,{d},{s},{(2e4 / d) ** 0.3 * (1 + 0.01 * s)}" for d in (1000, 2000, 4000, 8000) for s in (0, 1)]
    rows += ["small,1000,0,1.0", "small,2000,0,0.9"]
    (tmp_path / "losses.csv").write_text("\n".join(["group,D,seed,loss", *rows]) + "\n")
    args = (str(tmp_path / "losses.csv"), "--laws", "power", "--budget", "1e18", "--no-figures", "--out", str(tmp_path))
    result = run(repository, *args)
    assert result.stderr.startswith("left out: small: 2 sizes are too few for the law power")
    assert "good: loss against D" in result.stdout and "--budget asks for runs that vary N and D" in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nowhere",), "nowhere: no such file or folder"),
        (("docs",), "no run_record.json in it"),
        (("README.md",), "expected `loss` with"),
        (("tests/data/published_losses.csv", "--target", "-1"), "expected more than 0"),
    ],
)
def test_mistakes_are_one_line(repository: Path, args: tuple[str, ...], message: str) -> None:
    assert message in run(repository, *args, status=2).stderr.splitlines()[-1]


def test_starts_without_torch(repository: Path) -> None:
    code = "import sys; sys.path.insert(0, 'tools'); import fit_scaling_laws; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=repository, env=environment())
    assert "arXiv:2602.05702" in run(repository, "--help").stdout
