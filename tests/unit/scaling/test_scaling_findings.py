"""Findings of fits: breaks, sizes for a loss, budgets, regimes; as sentences and as values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dielectric_gnn.scaling import fit as fit_table
from dielectric_gnn.scaling.analysis import FitOptions, analyse
from dielectric_gnn.scaling.figures import curves_figure
from dielectric_gnn.scaling.fitting import fit
from dielectric_gnn.scaling.intervals import bootstrap, profile_intervals
from dielectric_gnn.scaling.latex import latex, symbol
from dielectric_gnn.scaling.laws import BROKEN, BROKEN_AMPLITUDE, POWER, POWER_FLOOR, general_broken
from dielectric_gnn.scaling.points import Points, Run
from dielectric_gnn.scaling.report import markdown
from dielectric_gnn.utils.errors import InputError
from tests.unit.scaling.test_scaling import ADDITION, DIGITS

LAWS = (POWER, POWER_FLOOR, BROKEN, BROKEN_AMPLITUDE)
SIZES = 2500.0 * 2.0 ** np.arange(7)
TRUTH = np.array([0.15, 0.42, 4.72])


def study(noise: float = 0.01) -> Points:
    x = np.repeat(SIZES, 3)
    return Points.from_arrays(
        "study", x, BROKEN.loss(TRUTH, x) * np.exp(noise * np.random.default_rng(0).standard_normal(x.size))
    )


def test_equal_seeds_of_an_exact_law_are_fitted_exactly() -> None:
    found = fit(BROKEN, study(noise=0.0))
    np.testing.assert_allclose(found.theta, TRUTH, atol=1e-4)
    interval = profile_intervals(found)["a2"]
    np.testing.assert_allclose([interval.low, interval.high], 0.42, atol=1e-4)


def test_equal_seeds_with_scatter_between_sizes_are_fitted_by_least_squares() -> None:
    """No scatter over seeds, 1 % over sizes: Huber's loss must not replace the sum of squares by absolute values."""
    x = np.repeat(SIZES, 3)
    scatter = np.repeat(0.01 * np.random.default_rng(3).standard_normal(7), 3)
    found = fit(BROKEN, Points.from_arrays("scatter", x, BROKEN.loss(TRUTH, x) * np.exp(scatter)))
    assert 3 * (found.residuals**2).sum() < (scatter**2).sum()
    assert found.objective == pytest.approx(float((found.problem.residuals(found.theta) ** 2).sum()))
    np.testing.assert_allclose(found.theta, TRUTH, atol=0.15)


def test_a_bootstrap_of_the_published_fit_keeps_its_weights() -> None:
    """The standard deviation of the draws is that of weighted least squares, with the residuals as the noise."""
    found = fit(BROKEN, study(), "published")
    draws = bootstrap(found, 400)
    low, high = np.quantile(draws[:, 1], [0.05, 0.95])
    profile = profile_intervals(found)["a2"]
    np.testing.assert_allclose([low, high], [profile.low, profile.high], rtol=0.05)


def test_the_break_of_the_general_law_has_an_interval() -> None:
    found = analyse(Points.from_arrays("addition", DIGITS, ADDITION, "x"), FitOptions((*LAWS, general_broken(1))))
    assert found.comparison.shape == "broken" and found.comparison.best.law.name == "bnsl1"
    (detail,) = (detail for detail in found.findings[0].details if detail["law"] == "bnsl1")
    assert 590 < detail["low"] < detail["value"] < detail["high"] < 630 and detail["within_runs"]
    assert detail["bootstrap"]["low"] < detail["value"] < detail["bootstrap"]["high"]
    assert any("One seed per size" in line for line in found.remarks)


def test_the_break_of_a_plausible_law_is_reported() -> None:
    x = np.repeat(2500.0 * 2.0 ** np.arange(12), 3)
    noise = np.exp(0.01 * np.random.default_rng(1).standard_normal(x.size))
    found = analyse(
        Points.from_arrays("line", x, POWER.loss(np.array([0.23, 4.29]), x) * noise), FitOptions(LAWS, draws=10)
    )
    assert found.comparison.shape == "power"
    assert found.findings[0].text.startswith("If there is a break, it lies around D = ")
    assert "given broken" in found.findings[0].text and "behind in AICc with the exponents" in found.findings[0].text


def test_a_size_for_a_loss_is_given_by_every_plausible_law() -> None:
    x = np.repeat(2500.0 * 2.0 ** np.arange(12), 3)
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(x.size))
    data = Points.from_arrays("study", x, BROKEN.loss(TRUTH, x) * noise)
    found = analyse(data, FitOptions(LAWS, draws=30, target=(0.2, 1e-9, 99.0)))
    size, never, above = found.findings[-3:]
    assert {detail["law"] for detail in size.details} == {one.law.name for one in found.comparison.plausible}
    assert len(size.details) > 1 and all(detail["low"] < detail["value"] < detail["high"] for detail in size.details)
    assert "behind in AICc, gives" in size.text
    assert "is never reached" in never.text or "requires D" in never.text
    assert "the target loss 99 is reached far below" in above.text


def test_tables_in_latex() -> None:
    assert [symbol(name) for name in ("a", "a1", "aD2", "x0", "Linf", "A")] == [
        r"\alpha", r"\alpha_{1}", r"\alpha_{D2}", "x_{0}", r"L_\infty", "A",
    ]  # fmt: skip
    text = latex([analyse(study(), FitOptions(LAWS, draws=10))])
    assert text.count(r"\midrule") == 4 and r"broken $\times A$" in text and r"90 \% by profile" in text
    columns = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
    assert {line.count(" & ") for line in columns.splitlines() if line.endswith(r"\\")} == {6}


@pytest.mark.parametrize("span", [1.3, 100.0])
def test_figures_label_losses_however_little_they_span(span: float) -> None:
    exponent = np.log(span) / np.log(64.0)
    figure = curves_figure(
        [analyse(Points.from_arrays("line", SIZES, (SIZES / 2e4) ** -exponent), FitOptions((POWER,)))]
    )
    figure.canvas.draw()
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    shown = [label.get_text() for label in axes.get_yticklabels() if low <= label.get_position()[1] <= high]
    assert len([text for text in shown if text]) >= 2


def test_bands_have_the_level_of_the_intervals() -> None:
    heights = []
    for level in (0.5, 0.95):
        found = analyse(study(), FitOptions((BROKEN,), draws=40, level=level))
        band = curves_figure([found]).axes[0].collections[0].get_paths()[0]
        heights.append(float(np.ptp(band.vertices[:, 1])))
        assert found.profiles["broken"]["a2"].level == level
    assert heights[0] < heights[1]


def test_regimes_are_listed_run_by_run() -> None:
    """Sizes that agree in four digits stay apart."""
    n, d = (grid.ravel() for grid in np.meshgrid([1e5, 1.00001e5, 1e6, 1e7], [1e3, 1e4, 1e5]))
    runs = tuple(
        Run(f"run {i}", "", {"N": a, "D": b}, float(0.1 + (1e4 / a) ** 0.4 + (1e3 / b) ** 0.3), 1)
        for i, (a, b) in enumerate(zip(n, d, strict=True))
    )
    found = analyse(Points("grid", ("N", "D"), runs), FitOptions(()))
    assert [row["run"] for row in found.regimes] == [run.name for run in runs]
    assert {row["regime"] for row in found.regimes} == {"data-limited", "model-limited"}


def test_the_sensitivity_to_choices_of_the_fit() -> None:
    found = analyse(study(), FitOptions((POWER, BROKEN), draws=10, sensitivity=True))
    rows = {row["choice"]: row for row in found.sensitivity}
    assert len(rows) == 5 + 2 + 7
    assert rows["least squares"]["a2"] == pytest.approx(rows["as fitted"]["a2"], rel=1e-3)
    assert rows["without D = 1.6e+05"]["a2"] != pytest.approx(rows["as fitted"]["a2"], rel=1e-3)
    assert all(row["loss_beyond"] == pytest.approx(BROKEN.loss(TRUTH, 3.2e5), rel=0.1) for row in rows.values())
    assert "without D = 1.6e+05" in markdown([found])
    assert not analyse(study(), FitOptions((POWER, BROKEN), "published", draws=10, sensitivity=True)).sensitivity


def test_one_minus_a_metric_and_named_columns_must_exist() -> None:
    table = pd.DataFrame({"D": SIZES, "score": 1.0 - (SIZES / 1e3) ** -0.3})
    found = fit_table(table, column=["loss=score"], one_minus=True, draws=10)
    assert found.groups[0].law.parameters["a"] == pytest.approx(0.3, abs=1e-3)
    with pytest.raises(InputError, match="no column 'lost'; the columns are D, score"):
        fit_table(table, column=["loss=lost"])
    with pytest.raises(InputError, match="expected KNOWN=NAME"):
        fit_table(table, column=["score"])


def test_a_budget_requires_a_known_cost() -> None:
    n, d = (grid.ravel() for grid in np.meshgrid([1e5, 1e6, 1e7], [1e3, 1e4, 1e5]))
    table = pd.DataFrame({"N": n, "D": d, "loss": 0.1 + (1e4 / n) ** 0.4 + (1e3 / d) ** 0.3})
    with pytest.raises(InputError, match="a budget requires the FLOPs of a training"):
        fit_table(table, budget=[1e15])
    found = fit_table(table, budget=[1e15], epochs=1, draws=10)
    row = found.groups[0].findings[-1].details[0]
    assert row["N"]["value"] * row["D"]["value"] == pytest.approx(1e15 / 6)
    assert row["exponent_N"]["value"] == pytest.approx(0.3 / 0.7, abs=0.02)
