"""Prediction intervals: coverage of a simulation, the finite-sample quantile, and files."""

import json
import math

import numpy as np
import pytest

from dielectric_gnn.optics.intervals import Intervals, conformal_quantile
from dielectric_gnn.utils.errors import InputError


def test_coverage_is_that_of_the_level(rng: np.random.Generator) -> None:
    """Of many calibrations with 60 heavy-tailed errors, a new error is within the interval in 90 to 92 % of cases."""
    inside = []
    for _ in range(3000):
        errors = np.abs(rng.standard_t(3, size=61))
        inside.append(errors[-1] <= conformal_quantile(errors[:-1], 0.9))
    assert 0.885 <= np.mean(inside) <= 0.93


def test_too_few_errors_promise_nothing_and_nan_is_left_out() -> None:
    assert conformal_quantile([0.1] * 8, 0.9) == math.inf
    assert conformal_quantile([*range(9), math.nan], 0.9) == 8


def test_files_bring_back_the_intervals_and_damage_is_one_line(rng: np.random.Generator) -> None:
    energies = np.linspace(0, 4, 5)
    made = Intervals.from_errors(energies, rng.random(40), rng.random((40, 5)), 10 * rng.random(40))
    text = json.dumps(made.to_plain())
    again = Intervals.from_json("a.json", text)
    np.testing.assert_allclose(again.reflectivity, made.reflectivity, atol=1e-4)
    assert again.drude == pytest.approx(made.drude, abs=1e-4) and again.level == 0.9
    for damaged in ("{", "{}", text.replace("0.9", "1.9", 1), json.dumps({**made.to_plain(), "energies_ev": [1.0]})):
        with pytest.raises(InputError, match=r"a\.json"):
            Intervals.from_json("a.json", damaged)
