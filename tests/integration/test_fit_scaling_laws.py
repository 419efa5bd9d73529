"""`dielectric-gnn fit-laws` through the real command, on the published losses."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from dielectric_gnn.training.run_record import RECORD, RunRecord, write_record
from tests.commands import environment, run_command

CSV = "tests/data/published_losses.csv"


def run(repository: Path, *args: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    result = run_command("tools/fit_scaling_laws.py", *args)
    assert result.returncode == status, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result


def test_published_losses_give_tables_figures_and_answers(repository: Path, tmp_path: Path) -> None:
    shown = run(
        repository, "tests/data/published_losses.csv", "--out", str(tmp_path), "--target", "0.4", "--draws", "20"
    ).stdout
    assert "undecided: broken*A leads power" in " ".join(shown.split()) and "A loss of 0.4 requires D" in shown
    assert "average of the laws" in shown
    content = json.loads((tmp_path / "fits.json").read_text())
    assert content["metric"] == "loss" and content["version"] and content["options"]["draws"] == 20
    groups = content["groups"]
    assert [group["runs"] for group in groups] == [21, 21, 21]
    assert "given broken*A with the exponents 0.1634 and 0.5136)." in groups[0]["answers"][0]
    assert [group["shape"] for group in groups] == [None, None, "saturating"]
    assert [group["best"] for group in groups] == ["broken*A", "broken*A", "power+floor"]
    (size,) = (fact for fact in groups[0]["details"] if fact["question"] == "size for a loss")
    assert 3e5 < size["low"] < size["value"] < size["high"] < 6e5
    assert (size["law"], size["level"], size["reached"]) == ("broken*A", 0.9, True)
    held = next(row for row in groups[0]["hold_out"] if row["law"] == "broken*A")
    assert held["D"] == 160000 and held["low"] < held["measured"] < held["high"]
    place = groups[0]["details"][0]
    assert place["question"] == "break" and place["low"] < place["value"] < place["high"]
    assert place["bootstrap"]["low"] < place["value"] < place["bootstrap"]["high"]
    never = next(fact for fact in groups[2]["details"] if fact["question"] == "size for a loss")
    assert never["value"] == "inf" and not never["reached"]
    assert groups[2]["answers"][0].startswith("A loss of 0.4 is never reached")
    with (tmp_path / "fits.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = next(row for row in rows if row["law"] == "broken*A" and row["parameter"] == "xc")
    for low, high in (("low", "high"), ("bootstrap_low", "bootstrap_high")):
        assert float(chosen[low]) < float(chosen["value"]) < float(chosen[high])
    tex = (tmp_path / "fits.tex").read_text()
    assert tex.count(r"\begin{tabular}") == tex.count(r"\caption{") == tex.count(r"\toprule") == 3
    assert r"$\alpha_{1}$ & $0.1634$" in tex and r"$1.008\times10^{5}$" in tex
    with (tmp_path / "hold_out.csv").open() as file:
        assert {row["law"] for row in csv.DictReader(file)} == {
            "power",
            "power+floor",
            "broken*A",
            "average of the laws",
        }
    assert "**Verdict.**" in (tmp_path / "report.md").read_text()
    for name in ("scaling_in_D", "scaling_in_N"):
        assert all((tmp_path / f"{name}{ending}").stat().st_size > 5000 for ending in (".png", ".pdf"))


def test_published_mode_states_the_published_criterion(repository: Path, tmp_path: Path) -> None:
    args = (
        "tests/data/published_losses.csv",
        "--mode",
        "published",
        "--draws",
        "20",
        "--target",
        "0.4",
        "--out",
        str(tmp_path),
    )
    shown = run(repository, *args).stdout
    assert "A loss of 0.4 requires D = 4.266e+05 (" in " ".join(shown.split())
    assert (tmp_path / "scaling_in_D.png").stat().st_size > 5000
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
    (group,) = json.loads((out / "fits.json").read_text())["groups"]
    assert {row["regime"] for row in group["regimes"]} == {"data-limited", "model-limited"}
    assert len(group["regimes"]) == 18 and group["regimes"][0].keys() == {"run", "N", "D", "seed", "regime"}
    with (out / "regimes.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 18
    optimum = group["details"][-1]
    assert optimum["N"]["low"] <= optimum["N"]["value"] <= optimum["N"]["high"] and optimum["outside_runs"] == ["D"]
    assert (out / "map_0.png").stat().st_size > 5000


def test_a_group_that_is_too_small_is_named_and_the_others_are_fitted(repository: Path, tmp_path: Path) -> None:
    rows = [f"good,{d},{s},{(2e4 / d) ** 0.3 * (1 + 0.01 * s)}" for d in (1000, 2000, 4000, 8000) for s in (0, 1)]
    rows += ["small,1000,0,1.0", "small,2000,0,0.9"]
    (tmp_path / "losses.csv").write_text("\n".join(["group,D,seed,loss", *rows]) + "\n")
    args = (str(tmp_path / "losses.csv"), "--laws", "power", "--budget", "1e18", "--no-figures", "--out", str(tmp_path))
    result = run(repository, *args)
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("left out"))
    assert line.startswith("left out: small: 2 sizes are too few for the law power")
    assert "fitting good (1 of 2)" in result.stderr
    assert "good: loss against D" in result.stdout and "A budget requires runs that vary N and D" in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nowhere",), "nowhere: no such file or folder"),
        (("docs",), "no run_record.json in it"),
        (("README.md",), "--column loss=val_loss"),
        ((CSV, "--target", "-1"), "target is -1.0, expected"),
        ((CSV, "--budget", "nan"), "--budget: expected number, got nan"),
        ((CSV, "--draws", "0"), "draws is 0, expected a whole number of at least 10"),
        ((CSV, "--level", "90"), "level is 90.0, expected a number between 0 and 1, such as 0.9"),
        ((CSV, "--level", "nan"), "--level: expected number, got nan"),
        ((CSV, "--breaks", "-1"), "breaks is -1, expected 0 or more"),
        ((CSV, "--out", "README.md"), "--out README.md: README.md is a file; name a folder"),
        ((CSV, "--out", "README.md/laws"), "README.md is a file; name a folder"),
        (("docs", "--metric", "test/sc_re"), "metric test/sc_re: higher is better"),
        (("docs", "--metric", "test/r2_drude"), "scaling laws decrease"),
    ],
)
def test_mistakes_are_one_line(repository: Path, args: tuple[str, ...], message: str) -> None:
    assert message in run(repository, *args, status=2).stderr.splitlines()[-1]


def test_only_unfinished_records(repository: Path, tmp_path: Path) -> None:
    record = RunRecord(
        name="a", status="running", backbone="Net", head="Head", num_parameters=1, num_train=1, subset="", seed=1,
        epochs=0, steps=0, samples_seen=0,
    )  # fmt: skip
    write_record(tmp_path / "a" / RECORD, record)
    lines = run(repository, str(tmp_path), status=2).stderr.splitlines()
    assert lines[0] == "left out: a (seed 1) is running" and "none of the 1 runs is finished" in lines[-1]


def test_options_without_effect_are_named(repository: Path, tmp_path: Path) -> None:
    rows = [f"{n},{d},{(1e4 / n) ** 0.4 + (1e3 / d) ** 0.3}" for n in (1e5, 1e6, 1e7) for d in (1e3, 1e4, 1e5)]
    (tmp_path / "losses.csv").write_text("\n".join(["N,D,loss", *rows]) + "\n")
    args = (str(tmp_path / "losses.csv"), "--laws", "power", "--metric", "test/mae", "--no-figures")
    stderr = run(repository, *args, "--out", str(tmp_path)).stderr
    assert "laws and breaks have no effect" in stderr and "metric test/mae has no effect" in stderr


def test_starts_without_torch(repository: Path) -> None:
    code = (
        "import sys; import dielectric_gnn.cli.fit_laws; "
        "assert not {'torch', 'scipy', 'rich', 'matplotlib', 'pandas'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=repository, env=environment())
    assert "arXiv:2602.05702" in run(repository, "--help").stdout
