"""Scaling laws in two variables: recovery, their formulas, the compute optimum and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from dielectric_gnn.scaling.compute import Cost, compute_optimal, regime, training_cost
from dielectric_gnn.scaling.fitting import fit
from dielectric_gnn.scaling.points import Points, Run
from dielectric_gnn.scaling.surfaces import SURFACES
from dielectric_gnn.utils.errors import InputError

SURFACE_TRUTH = {
    "kaplan": [0.1, 8.0, 0.3, 5.0], "kaplan-broken": [0.1, 8.0, 0.15, 0.4, 4.6],
    "hoffmann": [0.4, 4.5, 0.3, 3.5, 0.2], "hoffmann-broken": [0.4, 4.5, 0.15, 0.4, 4.3, 0.1],
}  # fmt: skip


@pytest.mark.parametrize("name", SURFACE_TRUTH)
def test_surfaces_are_recovered_and_equal_their_formulas(name: str) -> None:
    law, t = SURFACES[name], SURFACE_TRUTH[name]
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e5, 1e8, 5), np.geomspace(2.5e3, 1.6e5, 7)))
    loss = law.loss(np.array(t), n, d)
    if name.startswith("kaplan"):
        a_n, n_c, *middle, a_d, d_c = t[0], 10 ** t[1], *t[2:-1], 10 ** t[-1]
        bend = (1 + d_c / d) ** (middle[0] / a_d - 1) if middle else 1.0
        expected = ((n_c / n) ** (a_n / a_d) + d_c / d * bend) ** a_d
    else:
        a_n, n_c, *middle, a_d, d_c, floor = t[0], 10 ** t[1], *t[2:-2], 10 ** t[-2], t[-1]
        bend = (1 + d_c / d) ** (middle[0] - a_d) if middle else 1.0
        expected = floor + (n_c / n) ** a_n + (d_c / d) ** a_d * bend
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    runs = tuple(
        Run(f"{a:g} {b:g}", "", {"N": float(a), "D": float(b)}, float(c)) for a, b, c in zip(n, d, loss, strict=True)
    )
    found = fit(law, Points("grid", ("N", "D"), runs))
    np.testing.assert_allclose(found.loss(n, d), loss, rtol=5e-3)


def test_compute_optimum_and_regimes_of_a_closed_form() -> None:
    """Hoffmann without floor: a (N_c/N)^a = b (D_c/D)^b at the optimum on N D = const."""
    theta = np.array([0.5, 4.0, 0.3, 3.0, 1e-12])
    law = SURFACES["hoffmann"]
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e4, 1e7, 4), np.geomspace(1e3, 1e6, 4)))
    runs = tuple(
        Run("", "", {"N": float(a), "D": float(b)}, float(law.loss(theta, a, b))) for a, b in zip(n, d, strict=True)
    )
    found = fit(law, Points("grid", ("N", "D"), runs))
    best = compute_optimal(found, 6e12, Cost(6.0))
    np.testing.assert_allclose(best.num_parameters * best.num_data, 1e12, rtol=1e-6)
    weights = 0.5 * (1e4 / best.num_parameters) ** 0.5, 0.3 * (1e3 / best.num_data) ** 0.3
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-2)
    assert regime(found, 1e9, 1e3) == "data-limited" and regime(found, 1e4, 1e9) == "model-limited"


def test_a_budget_below_one_parameter_and_datum_is_refused() -> None:
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e4, 1e7, 4), np.geomspace(1e3, 1e6, 4)))
    law, theta = SURFACES["kaplan"], np.array([0.1, 8.0, 0.3, 5.0])
    runs = tuple(
        Run("", "", {"N": float(a), "D": float(b)}, float(law.loss(theta, a, b))) for a, b in zip(n, d, strict=True)
    )
    with pytest.raises(InputError, match="less than the cost of one datum and one parameter"):
        compute_optimal(fit(law, Points("grid", ("N", "D"), runs)), 1.0, Cost(6.0))


def test_flops_that_do_not_grow_with_the_parameters_in_proportion() -> None:
    """Small networks use each parameter more often: FLOPs = 40 N^0.8 D."""
    runs = tuple(
        Run("", "", {"N": n, "D": d}, 1.0, flops=40.0 * n**0.8 * d) for n in (1e5, 1e6, 1e7) for d in (1e3, 1e4)
    )
    cost = training_cost(Points("grid", ("N", "D"), runs))
    assert cost is not None and str(cost) == "40 N^0.8 D"
    np.testing.assert_allclose(cost, (40.0, 0.8))
    # Hoffmann without floor: a/β (N_c/N)^a = b (D_c/D)^b at the optimum on N^β D = const.
    law, theta = SURFACES["hoffmann"], np.array([0.5, 4.0, 0.3, 3.0, 1e-12])
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e4, 1e7, 4), np.geomspace(1e3, 1e6, 4)))
    grid = tuple(
        Run("", "", {"N": float(a), "D": float(b)}, float(law.loss(theta, a, b))) for a, b in zip(n, d, strict=True)
    )
    best = compute_optimal(fit(law, Points("grid", ("N", "D"), grid)), 1e13, cost)
    np.testing.assert_allclose(40.0 * best.num_parameters**0.8 * best.num_data, 1e13, rtol=1e-6)
    weights = 0.5 / 0.8 * (1e4 / best.num_parameters) ** 0.5, 0.3 * (1e3 / best.num_data) ** 0.3
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-2)
