"""Prediction of held-out sizes: who is held out, bands, weights, and the verdict that follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn.scaling.comparison import compare
from dielectric_gnn.scaling.fitting import Mode
from dielectric_gnn.scaling.holdout import AVERAGE, hold_out
from dielectric_gnn.scaling.laws import BROKEN_AMPLITUDE, POWER, POWER_FLOOR, UNIT_FREE_CURVES, FloatArray, Law
from dielectric_gnn.scaling.points import Points, Run, group_runs
from dielectric_gnn.scaling.reading import runs_from_csv

SIZES = 2500.0 * 2.0 ** np.arange(9)


def study(law: Law, theta: list[float], draw: int = 0, seeds: int = 3, sizes: FloatArray = SIZES) -> Points:
    x = np.repeat(sizes, seeds)
    noise = 0.01 * np.random.default_rng(draw).standard_normal(x.size)
    return Points.from_arrays("study", x, law.loss(np.array(theta), x) * np.exp(noise))


def test_the_largest_sizes_are_held_out() -> None:
    data = study(POWER, [0.23, 4.29])
    held = hold_out((POWER,), data, number=2)
    assert held is not None and held.sizes[:, 0].tolist() == SIZES[-2:].tolist()
    np.testing.assert_allclose(held.measured, [np.exp(np.log(losses).mean()) for losses in data.losses_by_size[-2:]])
    assert [one.law for one in held.predictions] == ["power", AVERAGE]
    grid = [(n, d) for n in (1e5, 1e6, 1e7) for d in (1e3, 1e4, 1e5)]
    runs = tuple(Run("", "", {"N": n, "D": d}, (1e4 / n) ** 0.4 + (1e3 / d) ** 0.3) for n, d in grid)
    smaller, largest = Points("grid", ("N", "D"), runs).split_largest(1)
    assert largest.sizes.tolist() == [[1e7, 1e5]] and len(smaller.runs) == 8


def test_bands_contain_the_held_out_means() -> None:
    """Of 40 draws with a probability of 0.9 each, fewer than 30 occur once in a thousand times."""
    inside = sum(
        held.inside(held.predictions[0])
        for draw in range(40)
        if (held := hold_out((POWER_FLOOR,), study(POWER_FLOOR, [0.5, 4.0, 0.3], draw), number=1)) is not None
    )
    assert 30 <= inside <= 40


def test_the_band_of_a_wrong_law_contains_its_curvature() -> None:
    """A power law through a broken one: the scatter of its residuals alone would exclude the held-out mean."""
    held = hold_out((POWER,), study(BROKEN_AMPLITUDE, [0.15, 0.5, 4.5, 0.0]), number=1)
    right = hold_out((BROKEN_AMPLITUDE,), study(BROKEN_AMPLITUDE, [0.15, 0.5, 4.5, 0.0]), number=1)
    assert held is not None and right is not None
    assert held.predictions[0].error > 10 * right.predictions[0].error and held.inside(held.predictions[0]) == 1
    assert (
        right.predictions[0].high[0] / right.predictions[0].low[0]
        < held.predictions[0].high[0] / held.predictions[0].low[0]
    )


def test_the_average_follows_the_law_that_describes_the_data() -> None:
    held = hold_out(UNIT_FREE_CURVES, study(BROKEN_AMPLITUDE, [0.15, 0.5, 4.5, 0.0]), number=1)
    assert held is not None
    weights = {one.law: one.weight for one in held.predictions}
    assert weights["broken*A"] > 0.99
    assert sum(weight for law, weight in weights.items() if law != AVERAGE) == pytest.approx(1.0)
    assert held.errors[AVERAGE] == pytest.approx(held.errors["broken*A"], rel=0.1)


def test_too_few_sizes_are_not_held_out() -> None:
    assert hold_out((POWER,), study(POWER, [0.23, 4.29], sizes=SIZES[:4]), number=1) is None
    assert hold_out((POWER,), study(POWER, [0.23, 4.29], sizes=SIZES[:4]), number=9) is None


def test_a_law_that_fails_to_predict_is_not_followed() -> None:
    """Like OptiMetal2B-TC of the published study: a break near the smallest of seven sizes."""
    data = study(BROKEN_AMPLITUDE, [0.1, 0.35, 3.9, 0.1], draw=3, sizes=SIZES[:7])
    found = compare(UNIT_FREE_CURVES, data)
    assert found.shape != "power" and found.extrapolation["power"] > 2 * found.extrapolation["broken*A"]
    assert found.best.law.name == "broken*A"


@pytest.mark.parametrize(
    ("seeds", "mode", "laws"),
    [
        (3, "robust", ["power", "power+floor", "broken*A"]),
        (1, "robust", ["power", "power+floor"]),
        (3, "published", ["power"]),
    ],
)
def test_laws_that_four_sizes_determine_are_averaged(seeds: int, mode: Mode, laws: list[str]) -> None:
    """Without them a straight line through the smallest sizes would be certain to go on."""
    held = hold_out(UNIT_FREE_CURVES, study(POWER, [0.23, 4.29], seeds=seeds, sizes=SIZES[:7]), mode, number=3)
    assert held is not None and [one.law for one in held.predictions] == [*laws, AVERAGE]


@pytest.mark.parametrize(("law", "theta"), [(POWER, [0.23, 4.29]), (BROKEN_AMPLITUDE, [0.15, 0.5, 4.7, 0.0])])
def test_the_average_of_few_sizes_contains_the_held_out_means(law: Law, theta: list[float]) -> None:
    """Of 45 means, three of each draw; the power law alone contains 18 of those of the broken law."""
    data = [study(law, theta, draw, sizes=SIZES[:7]) for draw in range(15)]
    held = [found for one in data if (found := hold_out(UNIT_FREE_CURVES, one, number=3)) is not None]
    assert len(held) == 15 and sum(found.inside(found.predictions[-1]) for found in held) >= 32


def test_the_published_curves_contain_their_held_out_means(repository: Path) -> None:
    """At least 80 % of the cases, at the nominal 90 %."""
    curves = group_runs(runs_from_csv(repository / "tests/data/published_losses.csv")[0])
    found = [hold_out(UNIT_FREE_CURVES, data, number=number) for data in curves for number in (1, 2, 3)]
    inside = sum(held.inside(held.predictions[-1]) for held in found if held is not None)
    assert inside / sum(len(held.sizes) for held in found if held is not None) >= 0.8
