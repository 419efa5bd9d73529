"""Energy loss and plasmonics against the closed forms of a Drude metal."""

import numpy as np
import pytest

from dielectric_gnn import optics
from dielectric_gnn.optics.units import HBAR_C_EV_NM

PLASMA, DAMPING = 9.0, 0.05
ENERGIES = np.linspace(0.0, 20.0, 4001)


def metal(eps_inf: float, damping: float = DAMPING) -> np.ndarray:
    return optics.total_dielectric_function(ENERGIES, np.full(ENERGIES.shape, eps_inf), PLASMA, damping)


@pytest.mark.parametrize("eps_inf", [1.0, 2.5, 9.0])
def test_loss_of_a_drude_metal_peaks_at_the_screened_plasma_energy(eps_inf: float) -> None:
    eps = metal(eps_inf)
    screened = np.sqrt(PLASMA**2 / eps_inf - DAMPING**2)
    assert optics.screened_plasma_energy(ENERGIES, eps) == pytest.approx(screened, abs=1e-5)
    loss = optics.loss_function(eps)
    assert ENERGIES[np.argmax(loss)] == pytest.approx(PLASMA / np.sqrt(eps_inf), abs=0.006)
    np.testing.assert_allclose(loss[1:], (-1 / eps[1:]).imag, rtol=1e-12)
    assert loss[0] == 0 and loss.min() >= 0


def test_loss_limits() -> None:
    np.testing.assert_array_equal(optics.loss_function([0.0, 2.0 + 0j, complex(-5, np.inf)]), [np.inf, 0.0, 0.0])
    assert np.isnan(optics.loss_function([np.nan + 0j])).all()


def test_of_several_crossings_the_plasmon_is_the_one_that_loses_most() -> None:
    """An interband resonance at 3 eV makes Re ε positive below it, and negative again above."""
    resonance = 30.0 / (3.0**2 - ENERGIES**2 - 0.3j * ENERGIES)
    eps = metal(1.0) + resonance
    crossings = np.flatnonzero((eps.real[:-1] < 0) & (eps.real[1:] >= 0))
    assert crossings.size == 2
    found = optics.screened_plasma_energy(ENERGIES, eps)
    best = crossings[np.argmax(optics.loss_function(eps)[crossings])]
    assert ENERGIES[best] <= found <= ENERGIES[best + 1]
    # It is found whether it is the higher or, with strong damping there, the lower one.
    damped = eps + 40j * np.exp(-((ENERGIES - ENERGIES[best]) ** 2))
    other = (set(crossings.tolist()) - {int(best)}).pop()
    assert optics.screened_plasma_energy(ENERGIES, damped) == pytest.approx(ENERGIES[other], abs=0.01)


def test_a_crossing_with_gain_is_no_plasmon_if_there_is_another() -> None:
    energies = np.arange(1.0, 7.0)
    eps = np.array([-1 - 0.5j, 1 - 0.5j, -1 + 1j, -1 + 0.2j, 1 + 0.2j, 2 + 0.2j])
    assert optics.screened_plasma_energy(energies, eps) == pytest.approx(4.5)
    assert optics.screened_plasma_energy(energies[:3], eps[:3]) == pytest.approx(1.5)


def test_without_a_crossing_there_is_no_plasma_energy_and_axes_are_independent() -> None:
    eps = np.stack([metal(1.0), np.full(ENERGIES.size, 2.0 + 0.1j), metal(4.0)])
    found = optics.screened_plasma_energy(ENERGIES, eps)
    np.testing.assert_allclose(found[[0, 2]], [9.0, 4.5], atol=1e-3)
    assert np.isnan(found[1])
    assert np.isnan(optics.screened_plasma_energy(ENERGIES[:100], eps[:, :100])).all()
    assert np.isnan(optics.screened_plasma_energy(ENERGIES, np.full(ENERGIES.size, np.nan + 0j)))


def test_plasmonic_quality_of_a_drude_metal() -> None:
    """Q_LSP → ω/γ far below the plasma energy; both are defined only where the plasmon is."""
    eps, at = metal(1.0), 200  # 1 eV
    omega = ENERGIES[at]
    loss = PLASMA**2 * DAMPING / (omega * (omega**2 + DAMPING**2))
    real = 1 - PLASMA**2 / (omega**2 + DAMPING**2)
    assert optics.quality_localised(eps)[at] == pytest.approx(-real / loss)
    assert optics.quality_localised(eps)[at] == pytest.approx(omega / DAMPING, rel=0.02)
    assert optics.quality_propagating(eps)[at] == pytest.approx(real**2 / loss)
    assert np.isnan(optics.quality_localised(eps)[ENERGIES > 9.0]).all()
    edge = 9.0 / np.sqrt(2)  # Re ε = −1
    for values in (optics.quality_propagating(eps), optics.propagation_length(ENERGIES, eps)):
        assert np.isnan(values[edge + 0.01 < ENERGIES]).all()
        assert (values[(edge - 0.01 > ENERGIES) & (ENERGIES > 0)] > 0).all()
    in_water = 9.0 / np.sqrt(1 + 1.33**2)
    defined = np.isfinite(optics.quality_propagating(eps, 1.33)[1:])
    assert ENERGIES[1:][defined].max() == pytest.approx(in_water, abs=0.01)


def test_propagation_length_far_from_resonance_is_that_of_the_quality() -> None:
    """For |Re ε| ≫ Im ε, 1: L = (c/ω) (Re ε)² / Im ε."""
    eps, low = metal(1.0, 1e-3), slice(100, 140)
    expected = HBAR_C_EV_NM / ENERGIES[low] * optics.quality_propagating(eps)[low]
    np.testing.assert_allclose(optics.propagation_length(ENERGIES, eps)[low], expected, rtol=0.02)
    assert np.isposinf(optics.propagation_length([1.0], [-5.0]))
    assert np.isnan(optics.propagation_length([1.0, 0.0], [-5.0 - 0.1j, complex(-5, np.inf)])).all()


def test_there_is_no_quality_where_there_is_gain_and_no_end_where_there_is_no_loss() -> None:
    np.testing.assert_array_equal(optics.quality_localised([-4.0 + 0j, -4.0 - 1j, 4.0 + 1j]), [np.inf, np.nan, np.nan])
    np.testing.assert_array_equal(optics.quality_propagating([-4.0, -4.0 - 1j, -0.5 + 1j]), [np.inf, np.nan, np.nan])
