"""Laws with repeated data: their limits, the published coefficients, recovery, and the data that they require."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dielectric_gnn.scaling import fit
from dielectric_gnn.scaling.laws import POWER_FLOOR, Law
from dielectric_gnn.scaling.repeats import REPEATS_IN_BOTH, REPEATS_IN_D, effective_data
from dielectric_gnn.scaling.surfaces import SURFACES
from dielectric_gnn.training.run_record import RunRecord
from dielectric_gnn.utils.errors import InputError

TRUTH = [0.35, 4.5, 0.3, 3.5, 0.2, 1.0, 0.7]
"""aN, log10 Nc, aD, log10 Dc, Linf, log10 RD, log10 RN."""
EPOCHS = (1, 2, 4, 8, 16, 32, 64)


def table(
    law: Law, theta: list[float], noise: float = 0.005, widths: tuple[float, ...] = (1e5, 1e6, 1e7)
) -> pd.DataFrame:
    """Losses of a grid of N, D and epochs, with one run per size."""
    grid = np.array([(n, d, e) for n in widths for d in (1e3, 4e3, 1.6e4) for e in EPOCHS])
    scatter = np.exp(noise * np.random.default_rng(0).standard_normal(len(grid)))
    losses = law.loss(np.array(theta), *grid.T[-len(law.variables) :]) * scatter
    return pd.DataFrame(grid, columns=["N", "D", "epochs"]).assign(loss=losses)


def test_the_published_coefficients() -> None:
    """Losses that the reference implementation of arXiv:2305.16264 states for two trainings on 25e9 unique tokens."""
    a, b, e, exponent = 6.255414, 7.3049974, 0.6254804, 0.3526596
    scales = [value / exponent / np.log(10.0) for value in (a, b)]
    theta = [exponent, scales[0], exponent, scales[1], np.exp(e), *np.log10([15.387756, 5.309743])]
    losses = REPEATS_IN_BOTH[2].loss(np.array(theta), [6.34e9, 8.67e9], 25e9, [242 / 25, 178 / 25])
    np.testing.assert_allclose(losses, [2.2256440889984477, 2.2269634075087867], rtol=1e-12)
    assert effective_data(15.39, np.array(4.0)) == pytest.approx(1 + 15.39 * (1 - np.exp(-3 / 15.39)))
    assert effective_data(15.39, np.array(1e6)) == pytest.approx(16.39)


@pytest.mark.parametrize(
    ("repeated", "plain"), [(REPEATS_IN_D[1], POWER_FLOOR), (REPEATS_IN_BOTH[1], SURFACES["hoffmann"])]
)
def test_one_epoch_and_repetitions_of_full_value_give_the_plain_law(repeated: Law, plain: Law) -> None:
    base = [TRUTH[2], TRUTH[3], TRUTH[4]] if plain is POWER_FLOOR else TRUTH[:5]
    size = (np.array([1e5, 1e6]),) if len(repeated.variables) == 3 else ()
    data = np.array([1e3, 1e4])
    at_one_epoch = repeated.loss(np.array([*base, 1.0]), *size, data, 1.0)
    np.testing.assert_allclose(at_one_epoch, plain.loss(np.array(base), *size, data), rtol=1e-12)
    full = repeated.loss(np.array([*base, 12.0]), *size, data, 32.0)
    np.testing.assert_allclose(full, plain.loss(np.array(base), *size, 32.0 * data), rtol=1e-9)
    saturated = repeated.loss(np.array([*base, 1.0]), *size, data, 1e9)
    np.testing.assert_allclose(saturated, plain.loss(np.array(base), *size, 11.0 * data), rtol=1e-9)


def test_excess_parameters_lose_value_only_beyond_the_optimum_of_the_data() -> None:
    """(N_c/U)^aN aN = aD (D_c/D)^aD at the optimum U; with equal terms, U is proportional to D."""
    theta = np.array([0.3, 3.0, 0.3, 3.0, 0.1, 1.0, 0.5])
    plain, excess = REPEATS_IN_BOTH[1], REPEATS_IN_BOTH[2]
    sizes = np.array([1e3, 1e4, 1e6])
    difference = excess.loss(theta, sizes, 1e4, 2.0) - plain.loss(theta[:-1], sizes, 1e4, 2.0)
    assert abs(difference[:2]).max() < 1e-12 and difference[2] > 1e-2


@pytest.mark.parametrize("with_parameters", [True, False])
def test_known_parameters_are_recovered(with_parameters: bool) -> None:
    law, theta = (REPEATS_IN_BOTH[2], TRUTH) if with_parameters else (REPEATS_IN_D[1], [0.3, 3.5, 0.2, 1.0])
    data = table(law, theta, widths=(1e5, 1e6, 1e7) if with_parameters else (1e6,))
    found = fit(data, repeats=True, draws=10)
    (group,) = found.groups
    assert group.law.law is law and found.verdict.startswith("repeats")
    assert group.profiles[law.name]["RD"].low < 10.0 < group.profiles[law.name]["RD"].high
    np.testing.assert_allclose(group.law.theta, theta, atol=0.12)
    row = group.findings[-1].details[0]
    half, worth = row["epochs_of_half_value"], row["largest_effective_data"]
    assert half["low"] < 1 + 10 * np.log(2) < half["high"] and worth["low"] < 11 < worth["high"]
    assert "fresh data" in group.findings[-1].text and found.figure_names() == ["repeats_0"]
    assert found.figure().axes[0].get_xlabel() == "epochs"


def test_repetitions_that_count_as_fresh_data_have_no_limit() -> None:
    group = fit(table(REPEATS_IN_D[0], [0.3, 3.5, 0.2], widths=(1e6,)), repeats=True, draws=10).groups[0]
    assert group.comparison.shape == "fresh"
    assert "Up to 64 epochs" in group.findings[-1].text
    assert all(row["epochs_of_half_value"]["high"] == np.inf for row in group.findings[-1].details)


def test_run_records_state_their_epochs(tmp_path: Path) -> None:
    rows = table(REPEATS_IN_D[1], [0.3, 3.5, 0.2, 1.0], widths=(1e6,)).itertuples()
    records = [
        RunRecord(
            name=f"{row.D:g}-{row.epochs:g}", status="finished", backbone="Net", head="Head", num_parameters=1000,
            num_train=int(row.D), subset=f"{row.D:g}", seed=1, epochs=int(row.epochs),
            steps=int(row.D * row.epochs) // 10,
            samples_seen=int(row.D * row.epochs), best_validation_loss=float(row.loss),
        )
        for row in rows
    ]  # fmt: skip
    found = fit(records, repeats=True, draws=10)
    assert found.laws["Net / Head"].parameters["RD"] == pytest.approx(10.0, rel=0.1) and not found.remarks


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[data.epochs == 4], "several values of D and of epochs, and epochs is 4"),
        (lambda data: data[data.D == 1e3], "several values of D and of epochs, and D is 1000"),
        (lambda data: data.drop(columns="epochs"), "requires `D`, of unique data, and `epochs`"),
        (lambda data: data.assign(epochs=data.epochs / 2), "epochs is below 1"),
    ],
)
def test_data_that_do_not_determine_the_value_of_repetitions(
    change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fit(change(table(REPEATS_IN_D[1], [0.3, 3.5, 0.2, 1.0])), repeats=True)


def test_checkpoints_and_repeats_exclude_each_other() -> None:
    with pytest.raises(InputError, match="checkpoints and repeats"):
        fit(table(REPEATS_IN_D[1], [0.3, 3.5, 0.2, 1.0]), repeats=True, checkpoints=True)


def test_without_the_option_epochs_are_a_column_that_is_not_used() -> None:
    """Nine sizes leave two beyond the parameters of a broken law, and its break lies outside them: undecided."""
    found = fit(table(REPEATS_IN_BOTH[2], TRUTH), draws=10)
    assert found.verdict.startswith("undecided") and any("not used: epochs" in remark for remark in found.remarks)
