"""Verdicts, outliers, and remarks if no law describes the data."""

from __future__ import annotations

import numpy as np
import pytest

from dielectric_gnn.scaling.analysis import FitOptions, analyse
from dielectric_gnn.scaling.comparison import compare
from dielectric_gnn.scaling.fitting import fit
from dielectric_gnn.scaling.lack_of_fit import lack_of_fit
from dielectric_gnn.scaling.laws import BROKEN, BROKEN_AMPLITUDE, POWER, POWER_FLOOR, FloatArray, Law
from dielectric_gnn.scaling.points import Points, Run
from dielectric_gnn.scaling.surfaces import SURFACES
from dielectric_gnn.utils.errors import InputError

LAWS = (POWER, POWER_FLOOR, BROKEN, BROKEN_AMPLITUDE)
SIZES = 2500.0 * 2.0 ** np.arange(7)
BROKEN_TRUTH = np.array([0.15, 0.42, 4.72])


def study(law: Law, theta: FloatArray, sizes: int = 7, seeds: int = 3, noise: float = 0.01, draw: int = 0) -> Points:
    x = np.repeat(SIZES[:sizes], seeds)
    scatter = np.random.default_rng(draw).standard_normal(x.size)
    return Points.from_arrays("study", x, law.loss(np.asarray(theta), x) * np.exp(noise * scatter))


def test_the_simpler_law_is_kept_unless_the_larger_is_better() -> None:
    found = compare(LAWS, study(POWER, np.array([0.23, 4.29])))
    assert found.shape == "power" and found.best.law is POWER
    assert "a power law suffices; no floor and no break is seen in these data" in found.verdict
    assert compare(LAWS, study(BROKEN, BROKEN_TRUTH)).shape == "broken"
    assert compare(LAWS, study(POWER_FLOOR, np.array([0.53, 4.4, 1.01]), draw=1)).shape == "saturating"


@pytest.mark.parametrize("draw", range(6))
def test_too_few_runs_are_undecided(draw: int) -> None:
    """With five values the penalty of three parameters outweighs a true break."""
    for law, theta in ((BROKEN, BROKEN_TRUTH), (POWER, np.array([0.23, 4.29]))):
        found = compare(LAWS, study(law, theta, sizes=5, seeds=1, draw=draw))
        assert found.shape is None and "5 sizes are too few" in found.verdict


def test_laws_of_one_shape_alone_are_undecided() -> None:
    found = compare((POWER,), study(POWER, np.array([0.23, 4.29])))
    assert found.shape is None and "only laws of one shape (power) were fitted" in found.verdict


def test_broken_surfaces_of_two_styles_agree_that_there_is_a_break() -> None:
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e5, 1e8, 4), SIZES))
    rng = np.random.default_rng(0)
    for name, theta, chosen in (
        ("kaplan-broken", [0.05, 4.5, 0.15, 0.42, 4.7], "broken"),
        ("kaplan", [0.05, 4.5, 0.3, 4.7], "unbroken"),
    ):
        losses = SURFACES[name].loss(np.array(theta), n, d) * np.exp(0.005 * rng.standard_normal(n.size))
        runs = tuple(Run("", "", {"N": a, "D": b}, float(loss)) for a, b, loss in zip(n, d, losses, strict=True))
        found = analyse(Points("grid", ("N", "D"), runs), FitOptions(()))
        assert found.comparison.shape == chosen, found.comparison.verdict
        if chosen == "broken":
            detail = found.findings[0].details[0]
            assert (
                detail["question"] == "break"
                and detail["variable"] == "D"
                and detail["low"] < detail["value"] < detail["high"]
            )
            assert abs(np.log10(detail["value"]) - 4.7) < 0.1


def test_an_outlier_is_named_and_left_out() -> None:
    clean = study(BROKEN, BROKEN_TRUTH)
    losses = np.exp(clean.log_loss)
    losses[4] *= 50.0
    found = analyse(Points.from_arrays("study", np.exp(clean.logs[:, 0]), losses), FitOptions(LAWS, draws=10))
    assert found.comparison.shape == "broken"
    assert [run.loss for run, _ in found.comparison.outliers] == [losses[4]]
    assert "D = 5000 is left out: its loss" in found.remarks[0] and "times the law's" in found.remarks[0]
    assert not compare(LAWS, clean).outliers


def test_a_size_far_off_is_no_outlier() -> None:
    clean = study(BROKEN, BROKEN_TRUTH)
    losses = np.exp(clean.log_loss)
    losses[9:12] *= 1.5
    found = analyse(Points.from_arrays("study", np.exp(clean.logs[:, 0]), losses), FitOptions(LAWS, draws=10))
    assert not found.comparison.outliers
    assert any(line.startswith("No law here describes these data within the noise") for line in found.remarks)


def test_lack_of_fit_is_the_textbook_f_test() -> None:
    from scipy.stats import f

    data = study(BROKEN, BROKEN_TRUTH)
    line = fit(POWER, study(POWER, np.array([0.23, 4.29])))
    logs = np.array([np.log(losses) for losses in line.points.losses_by_size])
    slope = np.polyfit(np.log(SIZES), logs.mean(axis=1), 1, w=1.0 / line.problem.scale)
    # Each size counts by the inverse of the relative variance of its seeds.
    shape = line.samples.shape
    between = 3 * ((logs.mean(axis=1) - np.polyval(slope, np.log(SIZES))) ** 2 / shape).sum() / 5
    within = ((logs - logs.mean(axis=1, keepdims=True)) ** 2 / shape[:, None]).sum() / 14
    found = lack_of_fit(line)
    assert found is not None
    np.testing.assert_allclose(
        [found.ratio, found.probability], [between / within, f.sf(between / within, 5, 14)], 1e-4
    )
    bent, broken = lack_of_fit(fit(POWER, data)), lack_of_fit(fit(BROKEN, data))
    assert bent is not None and broken is not None and bent.probability < 1e-6 < 0.01 < broken.probability
    assert lack_of_fit(fit(POWER, study(POWER, np.array([0.23, 4.29]), seeds=1))) is None


def test_equal_losses_are_refused() -> None:
    with pytest.raises(InputError, match=r"all 7 losses are 0\.5"):
        compare(LAWS, Points.from_arrays("flat", SIZES, np.full(7, 0.5)))


def test_rising_losses_are_refused() -> None:
    with pytest.raises(InputError, match=r"the loss rises with D.*one_minus"):
        analyse(study(POWER, np.array([-0.2, 4.0])), FitOptions(LAWS, draws=10))


def test_large_amplitudes_are_power_laws() -> None:
    n = np.repeat(np.geomspace(3e5, 8e7, 7), 3)
    losses = 12.0 * (n / 1e6) ** -0.03 * np.exp(0.01 * np.random.default_rng(0).standard_normal(n.size))
    assert compare(LAWS, Points.from_arrays("colour", n, losses, "N")).shape == "power"


def test_parameters_at_bounds_are_remarks() -> None:
    steep = Points.from_arrays("steep", SIZES, (SIZES / 2e3) ** -4.0)
    assert fit(POWER, steep).at_bounds == ["a"]
    assert any("power: a is at a bound of the search" in line for line in analyse(steep, FitOptions((POWER,))).remarks)
    assert not fit(POWER_FLOOR, study(POWER, np.array([0.23, 4.29]))).at_bounds
