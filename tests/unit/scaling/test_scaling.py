"""Scaling laws: published fits to the printed digits, known laws recovered, verdicts, derived quantities, mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import curve_fit

from dielectric_gnn.scaling.comparison import compare
from dielectric_gnn.scaling.derived import local_exponent, required_size
from dielectric_gnn.scaling.fitting import fit
from dielectric_gnn.scaling.holdout import hold_out
from dielectric_gnn.scaling.intervals import bootstrap, bootstrap_intervals, profile_intervals
from dielectric_gnn.scaling.laws import BROKEN, BROKEN_AMPLITUDE, POWER, POWER_FLOOR, Law, general_broken
from dielectric_gnn.scaling.points import Points, Run, group_runs
from dielectric_gnn.scaling.reading import runs_from_csv, runs_from_records
from dielectric_gnn.training.run_record import RunRecord
from dielectric_gnn.utils.errors import InputError

REPOSITORY = Path(__file__).parents[3]
PUBLISHED = REPOSITORY / "tests" / "data" / "published_losses.csv"
LAWS = (POWER, POWER_FLOOR, BROKEN, BROKEN_AMPLITUDE)


@pytest.fixture(scope="module")
def published() -> dict[str, Points]:
    return {data.title: data for data in group_runs(runs_from_csv(PUBLISHED)[0])}


# Law, parameters in the form in which the study prints them, AICc (arXiv:2602.05702).
TABLE = {
    "OptiMetal2B-CGC": [
        (BROKEN, {"a1": 0.15, "a2": 0.42, "log10 xc": 4.72}, -57.74),
        (POWER, {"a": 0.23, "log10 x0": 4.29}, -36.20),
        (POWER_FLOOR, {"Linf": 0.00}, -29.20),
        (BROKEN_AMPLITUDE, {"a1": 0.16, "a2": 0.51, "log10 xc": 5.00, "A": 0.87}, -49.89),
    ],
    "OptiMetal2B-TC": [
        (BROKEN, {"a1": 0.18, "a2": 0.39, "log10 xc": 4.62}, -44.88),
        (POWER, {"a": 0.24, "log10 x0": 4.29}, -34.87),
        (POWER_FLOOR, {"Linf": 0.00}, -27.87),
        (BROKEN_AMPLITUDE, {"a1": 0.11, "a2": 0.32, "log10 xc": 3.87, "A": 1.55}, -38.72),
    ],
    "OptiMetal2B-CGC width": [
        (POWER_FLOOR, {"a": 0.53, "log10 x0": 4.40, "Linf": 1.01}, -60.97),
        (BROKEN, {"a1": 0.09, "a2": -0.01, "log10 xc": 6.60}, -48.73),
    ],
}


@pytest.mark.parametrize(
    ("group", "law", "parameters", "aicc"), [(g, *row) for g, rows in TABLE.items() for row in rows],
    ids=[f"{g}-{row[0].name}" for g, rows in TABLE.items() for row in rows],
)  # fmt: skip
def test_published_fits_to_the_printed_digits(
    published: dict[str, Points], group: str, law: Law, parameters: dict[str, float], aicc: float
) -> None:
    found = fit(law, published[group], "published")
    for name, value in parameters.items():
        shown = found.parameters[name.removeprefix("log10 ")]
        assert f"{np.log10(shown) if name.startswith('log10') else shown:.2f}" == f"{value:.2f}", name
    assert f"{found.aicc:.2f}" == f"{aicc:.2f}"


def test_printed_breaks_in_thousands(published: dict[str, Points]) -> None:
    breaks = [fit(BROKEN, published[f"OptiMetal2B-{m}"], "published").parameters["xc"] for m in ("CGC", "TC")]
    assert [f"{x / 1000:.1f}" for x in breaks] == ["52.4", "42.1"]
    floor = fit(POWER_FLOOR, published["OptiMetal2B-CGC width"], "published")
    assert f"{floor.parameters['x0'] / 1000:.1f}" == "25.1"


def test_published_mode_equals_scipy_curve_fit(published: dict[str, Points]) -> None:
    data = published["OptiMetal2B-CGC"]
    mean, deviation = (np.array([f(losses) for losses in data.losses_by_size]) for f in (np.mean, np.std))

    def broken(d: np.ndarray, a1: float, a2: float, xc: float) -> np.ndarray:
        return np.asarray((xc / d) ** a2 * (1 + xc / d) ** (a1 - a2))

    expected, _ = curve_fit(broken, data.sizes[:, 0], mean, (0.1, 0.4, 5e4), sigma=deviation)
    np.testing.assert_allclose(list(fit(BROKEN, data, "published").parameters.values()), expected, rtol=1e-4)


def test_profile_interval_of_a_straight_line_is_the_textbook_one() -> None:
    """For a power law ln L is linear: Student's t with n − 2 degrees of freedom."""
    from scipy.stats import t

    rng = np.random.default_rng(1)
    x = 2.0 ** np.arange(4, 12)
    y = 0.5 - 0.3 * np.log(x) + 0.02 * rng.standard_normal(x.size)
    found = profile_intervals(fit(POWER, Points.from_arrays("line", x, np.exp(y))))["a"]
    (slope, _), covariance = np.polyfit(np.log(x), y, 1, cov="unscaled")
    residuals = y - np.polyval(np.polyfit(np.log(x), y, 1), np.log(x))
    half = t.ppf(0.95, x.size - 2) * np.sqrt(covariance[0, 0] * residuals @ residuals / (x.size - 2))
    np.testing.assert_allclose([found.low, found.high], [-slope - half, -slope + half], rtol=2e-3)


def test_a_diverged_run_does_not_distort_the_law() -> None:
    x = np.repeat(2500 * 2.0 ** np.arange(7), 3)
    losses = BROKEN.loss(np.array([0.15, 0.42, 4.72]), x) * np.exp(0.01 * np.random.default_rng(0).standard_normal(21))
    clean = fit(BROKEN, Points.from_arrays("clean", x, losses)).parameters
    losses[20] *= 3.0
    distorted = fit(BROKEN, Points.from_arrays("diverged", x, losses)).parameters
    assert abs(distorted["a2"] - clean["a2"]) < 0.03 and abs(np.log10(distorted["xc"] / clean["xc"])) < 0.1


DIGITS = np.array([160, 192, 256, 320, 384, 448, 480, 512, 544, 576, 608, 640, 672, 736, 800, 864, 928], dtype=float)
ADDITION = np.array([
    2.13809046, 2.11813418, 2.08955508, 2.06988398, 2.05404987, 2.03837089, 2.02814281, 2.00496872, 1.95576149,
    1.86313841, 1.70891537, 1.50637664, 1.29754721, 0.96559684, 0.75856477, 0.64768338, 0.55695445,
])  # fmt: skip


def test_one_break_extrapolates_four_digit_addition() -> None:
    """The example of arXiv:2210.14891: fitted to 14 sizes, evaluated at the last three."""
    data = Points.from_arrays("addition", DIGITS, ADDITION, "x")
    held = hold_out((POWER, general_broken(1)), data, number=3)
    assert held is not None
    errors = held.errors
    assert errors["bnsl1"] < 0.02 and 0.8 < errors["power"] < 1.1, errors


@pytest.mark.parametrize("law", [*LAWS, general_broken(1), general_broken(2)], ids=lambda law: law.name)
def test_noiseless_laws_are_recovered(law: Law) -> None:
    theta = {
        "power": [0.3, 4.0], "power+floor": [0.5, 4.0, 0.3], "broken": [0.1, 0.4, 4.5],
        "broken*A": [0.1, 0.4, 4.5, 0.2], "bnsl1": [0.2, 0.6, 0.1, 0.5, 4.0, -0.5],
        "bnsl2": [0.1, 0.5, 0.05, 0.4, 3.0, -0.7, 0.3, 5.0, -0.7],
    }[law.name]  # fmt: skip
    x = np.geomspace(1e2, 1e6, 24)
    found = fit(law, Points.from_arrays("exact", x, law.loss(np.array(theta), x)))
    np.testing.assert_allclose(found.loss(x), law.loss(np.array(theta), x), rtol=2e-3)


def test_limits_of_the_broken_law() -> None:
    theta = np.array([0.15, 0.42, 4.0])
    found = fit(BROKEN, Points.from_arrays("exact", (x := np.geomspace(1e2, 1e6, 9)), BROKEN.loss(theta, x)))
    exponents = local_exponent(found, np.array([1e-2, 1e10]))
    np.testing.assert_allclose(exponents, [0.15, 0.42], atol=1e-4)
    np.testing.assert_allclose(required_size(found, float(BROKEN.loss(theta, 3e6))), 3e6, rtol=1e-4)
    floor = fit(POWER_FLOOR, Points.from_arrays("floor", x, POWER_FLOOR.loss(np.array([0.5, 3.0, 0.2]), x)))
    assert required_size(floor, 0.1) == np.inf
    with pytest.raises(InputError, match="expected more than 0"):
        required_size(found, -1.0)


def test_bootstrap_agrees_with_the_profile(published: dict[str, Points]) -> None:
    found = fit(BROKEN, published["OptiMetal2B-CGC"])
    interval = bootstrap_intervals(BROKEN, bootstrap(found, 200))["a2"]
    profile = profile_intervals(found)["a2"]
    np.testing.assert_allclose([interval.low, interval.high], [profile.low, profile.high], rtol=0.05)


def test_bootstrap_without_seeds_is_students_interval() -> None:
    """A straight line with one seed per size: the spread of the draws is that of Student's t."""
    rng = np.random.default_rng(2)
    x = 2.0 ** np.arange(4, 12)
    losses = np.exp(0.5 - 0.3 * np.log(x) + 0.02 * rng.standard_normal(x.size))
    found = fit(POWER, Points.from_arrays("line", x, losses))
    interval, profile = bootstrap_intervals(POWER, bootstrap(found, 4000))["a"], profile_intervals(found)["a"]
    np.testing.assert_allclose([interval.low, interval.high], [profile.low, profile.high], rtol=0.01)


def test_verdict_of_the_published_data(published: dict[str, Points]) -> None:
    assert compare(LAWS, published["OptiMetal2B-CGC"]).shape == "broken"
    assert compare((POWER, POWER_FLOOR, BROKEN), published["OptiMetal2B-CGC width"]).shape == "saturating"
    width = compare(LAWS, published["OptiMetal2B-CGC width"])
    assert width.shape == "saturating" and width.best.law is POWER_FLOOR
    assert "leads" in width.verdict


def test_mistakes_are_named(published: dict[str, Points], tmp_path: Path) -> None:
    few = Points.from_arrays("few", [1.0, 2.0, 4.0], [1.0, 0.9, 0.8])
    with pytest.raises(InputError, match=r"few: 3 sizes are too few for the law broken, which has 3 parameters"):
        fit(BROKEN, few)
    single = Points.from_arrays("single", [1.0, 2.0, 4.0, 8.0], [1.0, 0.9, 0.8, 0.7])
    with pytest.raises(InputError, match=r"D = 1 has none \(one run, or equal losses\); run more seeds"):
        fit(POWER, single, "published")
    runs = [Run("a", "", {"D": 1.0}, 1.0, 1), Run("b", "", {"D": 1.0}, 1.1, 1)]
    with pytest.raises(InputError, match="same size and seed: a, b"):
        group_runs(runs)
    with pytest.raises(InputError, match="not a positive number in diverged"):
        group_runs([*runs[:1], Run("diverged", "", {"D": 2.0}, float("nan"), 1)])
    with pytest.raises(InputError, match="all have the same D"):
        group_runs([Run("a", "", {"D": 1.0}, 1.0, 1), Run("b", "", {"D": 1.0}, 1.1, 2)])
    for text, message in (
        ("D,lost\n1,2\n", "expected `loss` with"), ("D,loss\n1,x\n", "line 2: loss is 'x'"), ("x,N,loss\n", "expected"),
        ("D,loss\n", "no rows below the header"),
    ):  # fmt: skip
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            runs_from_csv(tmp_path / "bad.csv")


def test_a_law_that_rises_again_reaches_its_losses_before_the_minimum() -> None:
    theta, x = np.array([0.3, -0.1, 4.7]), 2500 * 2.0 ** np.arange(7)
    found = fit(BROKEN, Points.from_arrays("rising", x, BROKEN.loss(theta, x)))
    np.testing.assert_allclose(required_size(found, float(BROKEN.loss(theta, 1e4))), 1e4, rtol=1e-4)
    assert required_size(found, 0.5) == np.inf


def test_the_required_size_is_not_searched_far_left_of_the_data() -> None:
    """With a1 < 0 the loss at a thousandth of the smallest size is below the target, which is not the required size."""
    theta, x = np.array([-0.3, 0.3, 4.2, 0.3]), 2500 * 2.0 ** np.arange(7)
    found = fit(BROKEN_AMPLITUDE, Points.from_arrays("hill", x, BROKEN_AMPLITUDE.loss(theta, x)))
    target = float(BROKEN_AMPLITUDE.loss(theta, 3e5))
    assert float(found.loss(2.5)) < target < float(found.loss(2500))
    np.testing.assert_allclose(required_size(found, target), 3e5, rtol=1e-3)


def test_a_law_in_one_variable_does_not_mix_values_of_the_other() -> None:
    runs = [Run(f"{n} {d}", "net", {"N": n, "D": d}, 1 / n + 1 / d, 1) for n in (1.0, 2.0) for d in (1.0, 2.0, 4.0)]
    assert [data.title for data in group_runs(runs, "D")] == ["net, N = 1", "net, N = 2"]
    assert [len(data.runs) for data in group_runs(runs, "N")] == [2, 2, 2]
    assert [data.variables for data in group_runs(runs)] == [("N", "D")]


def test_intervals_that_reach_a_bound_of_the_search_are_open() -> None:
    """The exponent of a steeper decrease than the search allows: 3 is a bound of the search, not of the data."""
    found = profile_intervals(fit(BROKEN, Points.from_arrays("addition", DIGITS[:14], ADDITION[:14], "x")))
    assert found["a2"].high == np.inf and found["a2"].low < 3.0


def record(name: str, status: str = "finished", loss: float | None = 1.0, size: int = 100) -> RunRecord:
    return RunRecord(
        name=name, status=status, backbone="Net", head="Head", num_parameters=10, num_train=size,  # type: ignore[arg-type]
        subset="s", seed=1, epochs=1, steps=1, samples_seen=100, best_validation_loss=loss, metrics={"test/loss": 2.0},
    )  # fmt: skip


def test_runs_continued_on_other_materials_are_left_out() -> None:
    def segment(epoch: int, size: int, subset: str) -> dict[str, object]:
        return {"epoch": epoch, "samples_seen": 10 * epoch, "num_train": size, "subset": subset}

    clean = replace(record("a"), segments=(segment(0, 100, "s"),))
    mixed = replace(record("b", size=200), segments=(segment(0, 100, "s"), segment(1, 200, "t")))
    runs, remarks = runs_from_records([clean, mixed])
    assert [run.name for run in runs] == ["a (seed 1)"]
    assert len(remarks) == 1 and "left out: b" in remarks[0] and "100, then 200" in remarks[0]


def test_records_become_runs_and_unfinished_ones_are_named() -> None:
    runs, remarks = runs_from_records([record("a"), record("b", "interrupted"), record("c", size=200)])
    assert [run.values["D"] for run in runs] == [100, 200] and remarks == ["left out: b (seed 1) is interrupted"]
    assert runs[0].group == "Net / Head" and runs_from_records([record("a")], "test/loss")[0][0].loss == 2.0
    with pytest.raises(
        InputError, match=r"run a .seed 1. .*'test/mae'; its metrics are best_validation_loss, test/loss"
    ):
        runs_from_records([record("a")], "test/mae")
