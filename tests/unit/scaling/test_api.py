"""`dielectric_gnn.scaling.fit`: every kind of source, and what its result offers."""

import logging
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dielectric_gnn as dg
from dielectric_gnn.scaling import ScalingFits, fit
from dielectric_gnn.scaling.report import fits_csv
from dielectric_gnn.training.run_record import RECORD, RunRecord, write_record
from dielectric_gnn.utils.errors import InputError
from tests.commands import environment

SIZES = [2500 * 2**i for i in range(7)]


def records() -> list[RunRecord]:
    """Losses of an exact power law, times 1 % noise, of three seeds at seven sizes."""
    noise = np.random.default_rng(0).standard_normal((7, 3))
    return [
        RunRecord(
            name=f"d{size}-s{seed}", status="finished", backbone="Net", head="Head", num_parameters=1000,
            num_train=size, subset=f"{size}", seed=seed, epochs=1, steps=1, samples_seen=size,
            best_validation_loss=float((19000 / size) ** 0.25 * np.exp(0.01 * noise[place, seed])),
        )
        for place, size in enumerate(SIZES) for seed in range(3)
    ]  # fmt: skip


def frame() -> pd.DataFrame:
    rows = [(record.num_train, record.seed, record.best_validation_loss) for record in records()]
    return pd.DataFrame(rows, columns=["D", "seed", "loss"])


@pytest.fixture(scope="module")
def fits() -> ScalingFits:
    return dg.scaling.fit(records(), draws=10, target=[0.3])


def test_every_source_gives_the_same_fit(fits: ScalingFits, tmp_path: Path) -> None:
    for record in records():
        write_record(tmp_path / "runs" / record.name / RECORD, record)
    frame().to_csv(tmp_path / "losses.csv", index=False)
    expected = fits.to_dataframe()["value"]
    for source in (tmp_path / "runs", str(tmp_path / "losses.csv"), frame()):
        found = fit(source, draws=10).to_dataframe()["value"]
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_verdict_and_laws_of_one_group(fits: ScalingFits) -> None:
    assert fits.verdict.startswith("power: ") and fits.metric == "best_validation_loss" and not fits.remarks
    law = fits.laws["Net / Head"]
    assert law.law.name == "power" and law.parameters["a"] == pytest.approx(0.25, abs=0.01)
    (group,) = fits.groups
    assert group.findings[-1].details[0]["value"] == pytest.approx(19000 / 0.3**4, rel=0.1)


def test_verdict_of_several_groups_names_them() -> None:
    table = pd.concat([frame().assign(group="a"), frame().assign(group="b")])
    lines = fit(table, laws=["power", "power+floor"], draws=10).verdict.splitlines()
    assert [line[:9] for line in lines] == ["a: power:", "b: power:"]


def test_the_data_frame_has_the_columns_of_the_file(fits: ScalingFits) -> None:
    table = fits.to_dataframe()
    assert fits_csv(fits.groups).splitlines()[0] == ",".join(table.columns)
    row = table[(table.law == "power") & (table.parameter == "a")].iloc[0]
    assert row.low < row.value < row.high and row.bootstrap_low < row.bootstrap_high and row.level == 0.9


def test_figures_by_name(fits: ScalingFits) -> None:
    assert fits.figure_names() == ["scaling_in_D"]
    assert fits.figure().axes[0].get_legend_handles_labels()[1][0] == "Net / Head: power"
    with pytest.raises(InputError, match="figure map_0: expected one of scaling_in_D"):
        fits.figure("map_0")


def test_left_out_groups_and_unused_columns_are_warnings(caplog: pytest.LogCaptureFixture) -> None:
    small = pd.DataFrame({"D": [1, 2], "loss": [1.0, 0.9], "seed": [1, 1], "group": "small"})
    table = pd.concat([frame().assign(group="large", colour="red"), small])
    with caplog.at_level(logging.WARNING):
        found = fit(table, laws=["power"], draws=10)
    assert [record.getMessage() for record in caplog.records] == list(found.remarks)
    unused, left_out = found.remarks
    assert "not used: colour" in unused and left_out.startswith("left out: small: 2 sizes are too few")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 90}, "level is 90, expected a number between 0 and 1"),
        ({"draws": 1}, "draws is 1, expected"),
        ({"mode": "fast"}, "mode: 'fast', expected one of published, robust"),
        ({"axis": "Q"}, "axis: 'Q', expected one of N, D, ND"),
        ({"laws": ["cubic"]}, "laws: 'cubic', expected one of power, power.floor, broken"),
        ({"target": [-1]}, "target is -1, expected"),
        ({"budget": [np.inf]}, "budget is inf, expected a finite number"),
        ({"breaks": -1}, "breaks is -1, expected"),
        ({"epochs": 0}, "epochs is 0, expected"),
        ({"flops_per_parameter_and_datum": 0.0}, "flops_per_parameter_and_datum is 0.0, expected"),
        ({"metric": "test/r2_drude"}, "higher is better"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(frame(), **options)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            pd.DataFrame({"D": [1.0], "error": [1.0]}),
            "data frame: its columns are D, error; .*`loss`",
        ),
        (pd.DataFrame({"D": [1.0, None], "loss": [1.0, 2.0]}), "the data frame, row 1: D is '', expected a number"),
        (pd.DataFrame({"D": [], "loss": []}), "the data frame has no rows"),
        (pd.DataFrame({"D": [1.0], "d": [1.0], "loss": [1.0]}), "the column 'D' occurs twice"),
        ([], "none of the 0 runs is finished"),
        ("nowhere", "nowhere: no such file or folder"),
    ],
)
def test_sources_that_cannot_be_read(source: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(source)


def test_the_package_imports_no_torch() -> None:
    code = (
        "import sys, dielectric_gnn as dg; dg.scaling.fit(sys.argv[1], draws=10).to_dataframe(); "
        "from dielectric_gnn.scaling import analysis, figures, latex, report, surfaces; "
        "print(sorted({'torch', 'lightning'} & sys.modules.keys()))"
    )
    line = [sys.executable, "-c", code, "tests/data/published_losses.csv"]
    repository = Path(__file__).parents[3]
    done = subprocess.run(line, cwd=repository, env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_example_of_the_guide(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    (block,) = re.findall(r"```python\n(.*?)```", (repository / "docs" / "scaling.md").read_text("utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "scaling.md", "exec"), names)
    assert names["law"].law.name == "broken*A" and names["figure"].axes and len(names["table"]) == 27
    assert [line.partition(": ")[2][:6] for line in names["fits"].verdict.splitlines()] == [
        "undeci",
        "undeci",
        "satura",
    ]


def test_checkpoints_within_runs_are_points() -> None:
    """Validation losses (x/100)^-0.3 of the materials x processed so far: 50 epochs of 4 steps and 100 materials."""
    noise = np.random.default_rng(0).standard_normal((2, 50))
    curves = [
        replace(
            records()[0], name=f"run-{seed}", seed=seed, num_train=100, steps=200, samples_seen=5000, epochs=50,
            learning_curve=tuple(
                {"epoch": e, "step": 4.0 * e, "validation/loss": float(e**-0.3 * np.exp(0.01 * noise[seed, e - 1]))}
                for e in range(1, 51)
            ),
        )
        for seed in (0, 1)
    ]  # fmt: skip
    (group,) = fit(curves, checkpoints=True, draws=10).groups
    assert group.data.variables == ("x",) and group.data.sizes.max() == 5000 and len(group.data.sizes) <= 12
    assert group.profiles["power"]["a"].low < 0.3 < group.profiles["power"]["a"].high
    with pytest.raises(InputError, match="no finished run has a learning curve"):
        fit(records(), checkpoints=True)
