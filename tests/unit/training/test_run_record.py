"""Run records: what is written is read, whole or not at all; everything else is refused with a reason."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dielectric_gnn.training.run_record import RECORD, RunRecord, read_record, read_records, write_record
from dielectric_gnn.utils.errors import InputError

FULL = RunRecord(
    study="laptop",
    name="cgc-d500-s1",
    status="finished",
    backbone="OptiMetal2B-CGConv",
    head="FreeFormHead",
    width=16,
    num_parameters=278_627,
    num_train=500,
    subset="500-0123456789ab",
    seed=1,
    epochs=2,
    steps=32,
    samples_seen=1000,
    best_validation_loss=1.25,
    metrics={"validation/loss": 1.25, "test/loss": 1.5},
    learning_curve=({"epoch": 1, "validation/loss": 2.0}, {"epoch": 2, "validation/loss": 1.25}),
    training_flops=1e12,
    flops_method="counted",
    cost={"cpu_seconds": 12.5, "precision": "32-true"},
    versions={"torch": "2.13.0"},
    config_hash="abc",
    objective="MaeObjective(eps_weight=1.0)",
    family="def",
    settings={"learning_rate": 1e-3},
    segments=({"epoch": 0, "samples_seen": 0, "num_train": 500, "subset": "500-0123456789ab"},),
)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "run" / RECORD
    write_record(path, FULL)
    assert read_record(path) == FULL
    assert [entry.name for entry in path.parent.iterdir()] == [RECORD], "no temporary file stays"
    plain = json.loads(path.read_text())
    assert plain["schema_version"] == 3 and plain["num_train"] == 500 and plain["training_flops"] == 1e12


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    path = tmp_path / RECORD
    write_record(path, replace(FULL, metrics={"test/loss": math.nan}, best_validation_loss=math.inf))
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    record = read_record(path)
    assert math.isnan(record.metrics["test/loss"]) and record.best_validation_loss is None


def test_a_failed_write_leaves_the_old_record(tmp_path: Path) -> None:
    path = tmp_path / RECORD
    write_record(path, FULL)
    with pytest.raises(TypeError):
        write_record(path, replace(FULL, settings={"value": object()}))
    assert read_record(path) == FULL and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "schema 99, this version reads schemas 1 to 3"),
        ({"num_train": -1}, "num_train is -1"),
        ({"steps": 1.5}, "steps is 1.5"),
        ({"status": "done"}, "status is 'done'"),
        ({"colour": "red"}, "colour"),
        ({"metrics": [1]}, "metrics is [1]"),
        ({"metrics": {"test/loss": "low"}}, "metrics.test/loss is 'low'"),
        ({"best_validation_loss": "low"}, "best_validation_loss is 'low'"),
        ({"training_flops": "low"}, "training_flops is 'low'"),
        ({"seed": "one"}, "seed is 'one'"),
        ({"width": 16.5}, "width is 16.5"),
        ({"backbone": None}, "backbone is None"),
        ({"family": 1}, "family is 1"),
        ({"cost": {"cpu_seconds": "long"}}, "cpu_seconds is 'long'"),
        ({"cost": {"cpu_seconds": True}}, "cpu_seconds is True"),
        ({"learning_curve": [{"epoch": 1, "lr": "x"}]}, "learning_curve.0.lr is 'x'"),
        ({"learning_curve": [5]}, "learning_curve.0 is 5"),
        ({"learning_curve": {}}, "learning_curve is {}"),
        ({"segments": {}}, "segments is {}"),
        ({"segments": [5]}, "segments.0 is 5"),
        (
            {"segments": [{"epoch": 0, "samples_seen": 0, "num_train": "all", "subset": "s"}]},
            "segments.0.num_train is 'all'",
        ),
        ({"segments": [{"epoch": 0}]}, "segments.0.samples_seen"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / RECORD
    write_record(path, FULL)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError) as caught:
        read_record(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_records_of_version_1_are_read(tmp_path: Path) -> None:
    """They state neither objective nor family: unknown, and so they stay."""
    path = tmp_path / RECORD
    write_record(path, FULL)
    plain = json.loads(path.read_text())
    old = {key: value for key, value in plain.items() if key not in ("objective", "family", "segments")}
    path.write_text(json.dumps({**old, "schema_version": 1}))
    assert read_record(path) == replace(FULL, objective="", family="", segments=())
    assert not read_record(path).trained_on_several_sets


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / RECORD
    with pytest.raises(InputError, match="not a readable run record"):
        read_record(path)
    write_record(path, FULL)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(InputError, match="not a run record"):
        read_record(path)
    path.write_text("[]")
    with pytest.raises(InputError, match="not a run record"):
        read_record(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="schema_version"):
        read_record(path)
    path.write_text('{"schema_version": 1, "name": "a"}')
    with pytest.raises(InputError, match="status: Field required"):
        read_record(path)


def test_records_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        read_records(tmp_path / "absent")
    with pytest.raises(InputError, match="no run_record"):
        read_records(tmp_path)
    for name in ("b", "a", "deep/c"):
        write_record(tmp_path / name / RECORD, replace(FULL, name=name))
    assert [record.name for record in read_records(tmp_path)] == ["a", "b", "deep/c"]


def test_reading_needs_no_torch() -> None:
    code = "import sys, dielectric_gnn.training.run_record, dielectric_gnn.studies.local; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "False"
