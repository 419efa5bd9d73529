"""Runs that differ in more than the variable of a law: they are refused, accepted with a remark, or grouped apart."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from dielectric_gnn.scaling.points import group_runs
from dielectric_gnn.scaling.reading import runs_from_records
from dielectric_gnn.training.run_record import RunRecord
from dielectric_gnn.utils.errors import InputError

ONE = RunRecord(
    name="one", status="finished", backbone="Net", head="Head", num_parameters=10, num_train=100,
    subset="100-a", seed=1, epochs=10, steps=40, samples_seen=1000, best_validation_loss=1.0,
    metrics={"validation/loss": 1.0, "test/loss": 2.0}, objective="Mae(w=1)", family="abcdef0123",
    settings={"source": "a (Made)", "validation": "10-a", "test": "10-b", "batch_size": 25, "optimizer": "AdamW"},
)  # fmt: skip
TWO = replace(ONE, name="two", num_train=200, subset="200-a", steps=80, samples_seen=2000, best_validation_loss=0.8)
LABEL = "Net / Head"


def with_settings(record: RunRecord, **settings: object) -> RunRecord:
    return replace(record, settings={**record.settings, **settings})


def test_runs_of_one_model_share_a_law_without_remarks() -> None:
    runs, remarks = runs_from_records([ONE, TWO])
    assert [run.group for run in runs] == [LABEL, LABEL] and not remarks
    assert len(group_runs(runs)) == 1


@pytest.mark.parametrize(
    ("other", "metric", "message"),
    [
        (replace(TWO, objective="Mae(w=2)"), "best_validation_loss",
         r"different objectives .*: Mae\(w=1\) in one .seed 1.; Mae\(w=2\) in two .seed 1.; keep"),
        (with_settings(TWO, source="b (Measured)"), "best_validation_loss",
         r"different sources of materials .*: Made in one \(seed 1\); Measured in two \(seed 1\)"),
        (with_settings(TWO, validation="9-c"), "best_validation_loss", r"different validation sets .* 9-c in two"),
        (with_settings(TWO, test="9-c"), "test/loss", r"different test sets .* 10-b in one .* 9-c in two"),
    ],
    ids=["objective", "source", "validation set", "test set"],
)  # fmt: skip
def test_losses_that_are_not_comparable_are_refused(other: RunRecord, metric: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^{LABEL}: .*{message}"):
        runs_from_records([ONE, other], metric)


def test_a_comparable_metric_is_accepted() -> None:
    """A validation loss does not depend on the test set, nor on the folder of a store."""
    assert not runs_from_records([ONE, with_settings(TWO, test="9-c", source="elsewhere/b (Made)")])[1]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (replace(TWO, study="t"), "different studies in one law: no study in one (seed 1); t in t/two (seed 1)"),
        (with_settings(TWO, batch_size=50), "different batch sizes in one law: 25 in one (seed 1); 50 in two (seed 1)"),
        (with_settings(TWO, optimizer="SGD"), "different optimisers in one law: AdamW in one (seed 1); SGD in two"),
        (replace(ONE, name="two", seed=2, subset="100-b", best_validation_loss=0.9),
         "different training sets at D = 100: 100-a in one (seed 1); 100-b in two (seed 2)"),
        (replace(TWO, epochs=500, steps=4000),
         "epochs (10 to 500) and steps (40 to 4,000) both differ, so that the law also reflects the length "
         "of training: from one (seed 1) to two (seed 1)"),
    ],
    ids=["study", "batch size", "optimiser", "subset", "length"],
)  # fmt: skip
def test_what_may_distort_a_law_is_a_remark(other: RunRecord, message: str) -> None:
    runs, (remark,) = runs_from_records([ONE, other])
    assert len(runs) == 2 and remark.startswith(f"{LABEL}: {message}")


def test_equal_steps_need_no_remark() -> None:
    """Incomplete last batches change the number slightly: 480 epochs of 8 steps, 30 of 125."""
    few, many = replace(ONE, epochs=480, steps=3840), replace(TWO, epochs=30, steps=3750)
    assert not runs_from_records([few, many])[1]


def test_models_with_other_options_have_separate_laws() -> None:
    """Classes alone do not distinguish models: pooling, layers and heads have options."""
    others = [replace(record, family="fedcba9876", seed=1) for record in (ONE, TWO)]
    runs, (remark,) = runs_from_records([ONE, TWO, *others])
    assert [data.title for data in group_runs(runs)] == [f"{LABEL}, family abcdef", f"{LABEL}, family fedcba"]
    assert "law each: abcdef0123 in one (seed 1), two (seed 1); fedcba9876 in one (seed 1), two" in remark


def test_groups_of_different_objectives_get_a_remark() -> None:
    other = replace(ONE, name="im", head="Other", family="123456", objective="Im()")
    assert runs_from_records([ONE, other])[1] == [
        "losses of different objectives cannot be compared: Mae(w=1) in one (seed 1); Im() in im (seed 1)"
    ]


def test_records_that_do_not_state_their_model() -> None:
    old = replace(TWO, family="", objective="", settings={})
    runs, (remark,) = runs_from_records([ONE, old])
    assert {run.group for run in runs} == {LABEL} and "to be those of the others: two (seed 1)" in remark
    runs, remarks = runs_from_records([ONE, replace(ONE, name="x", family="fedcba"), old])
    assert len({run.group for run in runs}) == 3 and "to differ from all others: two (seed 1)" in remarks[1]
    assert not runs_from_records([old, replace(old, name="three", num_train=300)])[1]


@pytest.mark.parametrize(
    ("changes", "metric"),
    [
        ({"best_validation_loss": None, "learning_curve": ({"validation/loss": None},)}, "best_validation_loss"),
        ({"metrics": {"test/loss": math.nan}}, "test/loss"),
    ],
    ids=["best", "test"],
)  # fmt: skip
def test_losses_that_are_not_finite(changes: Mapping[str, object], metric: str) -> None:
    diverged = replace(TWO, **changes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=rf"{metric} is not finite in two \(seed 1\): these trainings diverged"):
        runs_from_records([ONE, diverged], metric)


def test_a_run_without_validation_has_no_best_loss() -> None:
    with pytest.raises(InputError, match=r"run two .seed 1. .*'best_validation_loss'; .* test/loss$"):
        runs_from_records([ONE, replace(TWO, best_validation_loss=None, metrics={"test/loss": 1.0})])


def test_a_subset_per_seed_is_no_remark() -> None:
    other = replace(ONE, name="two", seed=2, subset="100-b", best_validation_loss=0.9)
    drawn = [with_settings(record, subset_seed=record.seed) for record in (ONE, other)]
    assert not runs_from_records([*drawn, TWO])[1]
    shared = [with_settings(record, subset_seed=0) for record in (ONE, other)]
    assert any("different training sets at D = 100" in line for line in runs_from_records([*shared, TWO])[1])


def test_a_group_that_cannot_share_a_law_does_not_stop_the_others() -> None:
    others = [replace(ONE, backbone="Other"), replace(TWO, backbone="Other", objective="Mae(w=2)")]
    runs, remarks = runs_from_records([ONE, TWO, *others])
    assert {run.group for run in runs} == {LABEL}
    assert any(line.startswith("left out: Other / Head: runs with different objectives") for line in remarks)
