"""Statistics clustered by formula, folds, and tables of cross-validations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn.cli.cross_validate import cross_validate, split_words
from dielectric_gnn.studies.cross_validation.clustered import clustered_mean, clustered_slope
from dielectric_gnn.studies.cross_validation.folds import make_folds, write_folds
from dielectric_gnn.studies.cross_validation.results import OutOfFold
from dielectric_gnn.studies.cross_validation.table import comparison_table, mean_over_seeds, result_table
from dielectric_gnn.utils.errors import InputError

FORMULAS = [f"A{number % 20}B" for number in range(50)]
IDS = [f"m{number}" for number in range(50)]


def result(values: np.ndarray, seed: str = "0", ids: list[str] | None = None) -> OutOfFold:
    """A result whose ε error and Δω_D are those given, with true ω_D 1, 2, 3, …."""
    true = np.arange(len(values)) + 1.0
    columns = np.stack([values, values / 2, values / 2, true, true / 2], axis=1)
    return OutOfFold(seed, ids or IDS[: len(values)], FORMULAS[: len(values)], [0] * len(values), columns)


def test_standard_error_of_separate_materials_is_the_usual_one(rng: np.random.Generator) -> None:
    values = rng.normal(size=40)
    found = clustered_mean(values, IDS[:40])
    assert found.value == pytest.approx(values.mean())
    assert found.error == pytest.approx(values.std(ddof=1) / np.sqrt(40))


def test_copies_of_a_material_carry_no_information(rng: np.random.Generator) -> None:
    values = rng.normal(size=15)
    once, thrice = (
        clustered_mean(values, IDS[:15]),
        clustered_mean(np.repeat(values, 3), np.repeat(IDS[:15], 3).tolist()),
    )
    assert thrice == pytest.approx(once)


def test_clustered_error_is_the_spread_of_simulated_means(rng: np.random.Generator) -> None:
    means, errors = [], []
    for _ in range(400):
        values = rng.normal(size=20)[[number % 20 for number in range(50)]] + 0.3 * rng.normal(size=50)
        estimate = clustered_mean(values, FORMULAS)
        means.append(estimate.value)
        errors.append(estimate.error)
    assert np.std(means) == pytest.approx(np.mean(errors), rel=0.15)


def test_missing_labels_are_left_out() -> None:
    found = clustered_mean(np.array([1.0, np.nan, 3.0]), ["a", "b", "c"])
    assert found.value == 2.0 and found.error == pytest.approx(1.0)
    assert np.isnan(clustered_mean(np.array([np.nan]), ["a"]).value)


def test_slope_and_its_error(rng: np.random.Generator) -> None:
    x, noise = rng.normal(size=(2, 300))
    found = clustered_slope(x, 0.6 * x + 2 + noise, [str(row) for row in range(300)])
    usual = np.polyfit(x, 0.6 * x + 2 + noise, 1, cov=True)
    assert found.value == pytest.approx(usual[0][0]) and found.error == pytest.approx(usual[1][0, 0] ** 0.5, rel=0.2)
    assert np.isnan(clustered_slope(np.ones(3), np.ones(3), ["a", "b", "c"]).value)


@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_every_material_is_held_out_once_and_no_formula_is_on_two_sides(validation: float) -> None:
    formula = dict(zip(IDS, FORMULAS, strict=True))
    splits = make_folds(IDS, FORMULAS, 4, seed=1, validation=validation)
    assert sorted(name for split in splits for name in split["test"]) == sorted(IDS)
    for split in splits:
        sides = [{formula[name] for name in split[part]} for part in ("train", "val", "test")]
        assert sum(map(len, sides)) == len(set(FORMULAS))
        assert sorted(name for part in split.values() for name in part) == sorted(IDS)
        assert bool(split["val"]) == (validation > 0)


def test_folds_of_another_launch_are_not_overwritten(tmp_path: Path) -> None:
    splits = make_folds(IDS, FORMULAS, 4)
    folds = write_folds(tmp_path, splits)
    assert write_folds(tmp_path, splits) == folds
    for other in (
        make_folds(IDS, FORMULAS, 4, seed=1),
        make_folds(IDS, FORMULAS, 3),
        make_folds(IDS[1:], FORMULAS[1:], 4),
    ):
        with pytest.raises(InputError, match="other materials or folds"):
            write_folds(tmp_path, other)


def test_difference_is_paired(rng: np.random.Generator) -> None:
    hard = rng.exponential(size=50) * 5  # most of the variance is common to both
    gain = rng.normal(0.5, 0.1, size=50)
    table, num = comparison_table([result(hard)], [result(hard + gain)])
    row = next(line for line in table.splitlines() if line.startswith("| loss")).split("|")
    expected = clustered_mean(-gain, FORMULAS)
    assert num == 50
    assert row[4].split() == [f"{expected.value:+.3f}", "±", f"{expected.error:.3f}"]
    assert float(row[6]) == pytest.approx(-expected.value / expected.error, abs=0.05)


def test_common_materials_are_compared_whatever_their_order() -> None:
    one = result(np.arange(20.0))
    order = list(range(19, 4, -1))
    other = OutOfFold("0", [IDS[row] for row in order], [FORMULAS[row] for row in order], [0] * 15, one.values[order])
    table, num = comparison_table([one], [other])
    assert num == 15 and "+0.000 ± 0.000" in table
    with pytest.raises(InputError, match="in common"):
        comparison_table([one], [result(np.ones(2), ids=["x", "y"])])


def test_seeds_are_averaged_and_their_mean_prediction_is_a_row() -> None:
    seeds = [result(np.full(10, value), str(value)) for value in (1.0, 2.0)]
    assert mean_over_seeds(seeds).values[:, 0].tolist() == [1.5] * 10
    lines = result_table([*seeds, result(np.full(10, 1.2), "ensemble")]).splitlines()[2:]
    assert [line.split("|")[1].strip() for line in lines] == ["1.0", "2.0", "mean over seeds", "mean prediction"]
    assert [line.split("|")[2].split()[0] for line in lines] == ["1.000", "2.000", "1.500", "1.200"]
    assert "0.500" in lines[0].split("|")[-2]  # predicted ω_D is half of the true one


def test_own_options_are_separated_from_those_of_fit() -> None:
    words = ["--config", "a.yaml", "--seeds", "0", "1", "--data.batch_size", "4", "--out=x", "--trainer.max_epochs=3"]
    own, fit = split_words(words, cross_validate)
    assert own == ["--seeds", "0", "1", "--out=x"]
    assert fit == ["--config", "a.yaml", "--data.batch_size", "4", "--trainer.max_epochs=3"]
