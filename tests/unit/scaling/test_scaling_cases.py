"""Tables on which a verdict or the reading was wrong, and tables as people have them (tests/data/scaling_cases)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dielectric_gnn.scaling import fit
from dielectric_gnn.scaling.fitting import fit as fit_law
from dielectric_gnn.scaling.laws import general_broken
from dielectric_gnn.scaling.points import Points, group_runs
from dielectric_gnn.scaling.reading import runs_from_csv
from dielectric_gnn.utils.errors import InputError

CASES = Path(__file__).parents[2] / "data" / "scaling_cases"
FLOOR_TRUTH = {"a": 0.5, "Linf": 0.3}


@pytest.mark.parametrize("factor", [0.01, 10.0, 100.0])
@pytest.mark.parametrize("name", ["00_plain.csv", "falsebreak_floor.csv"])
def test_the_unit_of_the_loss_does_not_matter(name: str, factor: float) -> None:
    table = pd.read_csv(CASES / name)
    plain, scaled = (fit(table.assign(loss=table.loss * unit), draws=10).groups[0] for unit in (1.0, factor))
    assert scaled.comparison.shape == plain.comparison.shape and scaled.law.law is plain.law.law
    for one, other in zip(plain.comparison.fits, scaled.comparison.fits, strict=True):
        assert one.law is other.law and one.aicc == pytest.approx(other.aicc, abs=1e-3)
        for place in one.law.breaks:
            assert other.parameters[place] == pytest.approx(one.parameters[place], rel=1e-3)


@pytest.mark.parametrize("factor", [0.01, 100.0])
def test_the_units_of_the_sizes_do_not_matter(factor: float) -> None:
    table = pd.read_csv(CASES / "00_plain.csv")
    plain, scaled = (fit(table.assign(D=table.D * unit), draws=10).groups[0] for unit in (1.0, factor))
    for one, other in zip(plain.comparison.fits, scaled.comparison.fits, strict=True):
        assert one.law is other.law and one.aicc == pytest.approx(other.aicc, abs=1e-3)


def test_noise_shared_by_the_seeds_of_a_size_gives_no_decisive_break() -> None:
    group = fit(CASES / "falsebreak_floor.csv").groups[0]
    assert group.comparison.shape != "broken"
    floor = group.profiles["power+floor"]
    assert floor["a"].low < FLOOR_TRUTH["a"] < floor["a"].high
    assert floor["Linf"].low < FLOOR_TRUTH["Linf"] < floor["Linf"].high


def test_a_row_that_occurs_twice_is_named_and_counts_once() -> None:
    found = fit(CASES / "10b_dup_noseed.csv")
    assert any("equal rows" in remark and "line 9" in remark for remark in found.remarks)
    once = pd.read_csv(CASES / "10b_dup_noseed.csv").drop_duplicates()
    assert found.verdict == fit(once).verdict and found.verdict.startswith("undecided")


def test_an_outlier_without_seeds_is_named() -> None:
    group = fit(CASES / "one_seed_outlier.csv").groups[0]
    assert [run.values["D"] for run, _ in group.comparison.outliers] == [32000.0]
    assert group.comparison.shape == "power" and any("left out" in remark for remark in group.remarks)


def test_a_group_of_one_size_does_not_stop_the_others() -> None:
    found = fit(CASES / "18c_group_const.csv")
    assert [group.data.title for group in found.groups] == ["g0"]
    assert any(remark.startswith("left out: g1") for remark in found.remarks)


def test_the_noiseless_simulation_of_the_broken_law_is_found() -> None:
    """The break lies beyond the fitted points; the reference code (arXiv:2210.14891) has an RMSLE of 2e-5."""
    (data,) = group_runs(runs_from_csv(CASES / "bnsl_noiseless_405.csv")[0])
    found = fit_law(general_broken(1), data)
    assert np.sqrt((found.residuals**2).mean()) < 1e-8
    assert 600 < found.parameters["d1"] < 650
    x = np.exp(data.logs[:, 0])
    first = fit_law(general_broken(1), Points.from_arrays("first", x[:300], np.exp(data.log_loss[:300]), "x"))
    beyond = np.log(first.loss(x[300:])) - data.log_loss[300:]
    assert np.sqrt((beyond**2).mean()) < 1e-4


def test_the_chinchilla_runs_by_default_settings() -> None:
    """Besiroglu et al. 2024, arXiv:2404.10102: α 0.348, β 0.366, E 1.817, about 20 tokens per parameter."""
    group = fit(CASES / "chinchilla_240.csv", budget=[5.76e23], epochs=1, draws=50).groups[0]
    assert group.law.law.name == "hoffmann"
    for name, value, tolerance in (("aN", 0.348, 0.01), ("aD", 0.366, 0.01), ("Linf", 1.817, 0.01)):
        assert group.law.parameters[name] == pytest.approx(value, abs=tolerance)
        assert value in group.profiles["hoffmann"][name]
    optimum = group.findings[-1].details[0]
    ratio = optimum["data_per_parameter"]
    assert 15 < ratio["value"] < 25 and ratio["low"] < 20 < ratio["high"]
    assert optimum["exponent_N"]["low"] < 0.513 < optimum["exponent_N"]["high"]
    assert {row["law"] for row in group.findings[-1].details} > {"hoffmann"}


@pytest.mark.parametrize("name", ["02_thousands_quoted.csv", "05_semicolon_dot.csv", "06_tabs.tsv"])
def test_separators_and_delimiters(name: str) -> None:
    runs, remarks = runs_from_csv(CASES / name)
    expected, _ = runs_from_csv(CASES / "00_plain.csv")
    assert [(run.values, run.loss, run.seed) for run in runs] == [(one.values, one.loss, one.seed) for one in expected]
    assert not remarks


def test_the_export_of_an_experiment_tracker() -> None:
    with pytest.raises(InputError, match=r"val/loss.*--column loss=val_loss"):
        fit(CASES / "17_wandb.csv")
    found = fit(CASES / "17_wandb.csv", column=["loss=val/loss"], draws=10)
    assert found.verdict == fit(CASES / "00_plain.csv", draws=10).verdict and found.metric == "val/loss"


def test_accuracies_are_refused_as_losses_and_fitted_as_one_minus_them() -> None:
    with pytest.raises(InputError, match=r"the loss rises with D.*one_minus"):
        fit(CASES / "08_accuracy_as_loss.csv")
    found = fit(CASES / "08_accuracy_as_loss.csv", one_minus=True, draws=10)
    assert found.metric == "1 − loss" and found.groups[0].comparison.shape is not None
