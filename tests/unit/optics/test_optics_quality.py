"""Scores that need no label: the f-sum rule and the Kramers-Kronig residual."""

import numpy as np
import pytest

from dielectric_gnn import optics
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.optics import kramers_kronig
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError

ENERGIES = EnergyGrid().energies()


def oscillators(places: list[float], broadening: float, energies: np.ndarray = ENERGIES) -> np.ndarray:
    """1 + Σ ω_n · 2ω_n / (ω_n² − (ω + iΓ)²), written out here, apart from the package."""
    square = (energies + 1j * broadening) ** 2
    return np.asarray(1 + sum(2 * place**2 / (place**2 - square) for place in places))


# Kramers-Kronig


@pytest.mark.parametrize("broadening", [0.3, 0.1])
@pytest.mark.parametrize(
    "places", [[3.0], [0.5], [1.0, 4.0, 9.0], [15.0], [19.0], [19.9], [3.0, 8.0, 25.0, 60.0, 150.0]]
)
def test_analytic_oscillators_are_causal_to_a_thousandth(places: list[float], broadening: float) -> None:
    assert optics.kramers_kronig_residual(ENERGIES, oscillators(places, broadening)) < 1e-3


@pytest.mark.parametrize("place", [21.0, 25.0, 40.0, 300.0])
def test_absorption_above_the_window_alone_is_found_by_the_tail(place: float) -> None:
    assert optics.kramers_kronig_residual(ENERGIES, oscillators([place], 0.3)) < 1e-3


def test_an_error_of_scale_or_of_material_is_seen() -> None:
    first, second = oscillators([2.0, 6.0, 30.0], 0.1), oscillators([3.5, 11.0, 30.0], 0.1)
    assert optics.kramers_kronig_residual(ENERGIES, 1.2 * first.real + 1j * first.imag) > 0.1
    assert optics.kramers_kronig_residual(ENERGIES, first.real + 1.2j * first.imag) > 0.1
    assert optics.kramers_kronig_residual(ENERGIES, first.real + 1j * second.imag) > 0.5
    noise = np.random.default_rng(0).normal(size=ENERGIES.size) * 0.1 * np.std(first.imag)
    assert optics.kramers_kronig_residual(ENERGIES, first + 1j * noise) > 0.02
    # The other sign convention is wrong altogether.
    assert optics.kramers_kronig_residual(ENERGIES, first.conj()) > 0.9


@pytest.mark.parametrize(
    "energies", [ENERGIES, np.concatenate([np.linspace(0, 5, 801), np.linspace(5.01, 20, 700)]), ENERGIES[20:]]
)
def test_the_matrix_gives_the_real_part_of_analytic_oscillators(energies: np.ndarray) -> None:
    """Of one that is within the window; and of one that reaches beyond, but for what varies slowly."""
    matrix = optics.kramers_kronig_matrix(energies)
    inside, at_the_end = (oscillators([place], 0.3, energies) for place in (6.0, 18.0))
    np.testing.assert_allclose(matrix @ inside.imag, inside.real - 1, atol=0.02)
    missing = at_the_end.real - 1 - matrix @ at_the_end.imag
    assert np.ptp(at_the_end.real) > 50 and np.abs(missing).max() < 1 and np.abs(np.diff(missing)).max() < 0.05


def test_the_transform_itself_is_the_principal_value() -> None:
    """A triangle between 4 and 6 eV, by the textbook integral of its two straight sides."""
    height = np.clip(1 - np.abs(ENERGIES - 5.0), 0, None)
    found = kramers_kronig._transform(ENERGIES.tobytes()).window @ height

    omega = ENERGIES[[37, 123, 333, 777, 1501, 1999]]

    def both(start: float, stop: float, slope: float, at: float) -> np.ndarray:
        near = slope * ((stop - start) + (omega - at) * np.log(abs((stop - omega) / (start - omega))))
        far = slope * ((stop - start) - (omega + at) * np.log((stop + omega) / (start + omega)))
        return np.asarray((near + far) / np.pi)

    expected = both(4.0, 5.0, 1.0, 4.0) + both(5.0, 6.0, -1.0, 6.0)
    np.testing.assert_allclose(found[[37, 123, 333, 777, 1501, 1999]], expected, atol=1e-10)


def test_uneven_grids_and_grids_that_start_above_zero_work_too() -> None:
    uneven = np.concatenate([np.linspace(0, 6, 1200), np.geomspace(6.01, 20, 500)])
    assert optics.kramers_kronig_residual(uneven, oscillators([3.0, 9.0], 0.3, uneven)) < 1e-3
    late = ENERGIES[50:]
    assert optics.kramers_kronig_residual(late, oscillators([4.0, 9.0], 0.1, late)) < 1e-3


def test_axes_are_scored_one_by_one() -> None:
    eps = np.stack([oscillators([3.0], 0.1), np.full(ENERGIES.size, np.nan + 0j), np.ones(ENERGIES.size) + 0j])
    residual = optics.kramers_kronig_residual(ENERGIES, eps)
    assert residual.shape == (3,)
    assert residual[0] < 1e-3 and np.isnan(residual[1]) and residual[2] == 0
    real = optics.kramers_kronig_real(ENERGIES, eps[0])
    assert np.abs(real - eps[0].real).max() < 5e-3 * np.ptp(eps[0].real)


def test_the_embedded_metals_are_causal(metals: list[CrystalRecord]) -> None:
    eps = np.stack([record.labels.average()[0] for record in metals if record.labels])
    residual = optics.kramers_kronig_residual(ENERGIES, eps)
    # They are stored in half precision: where ε is small but for one peak, its rounding is a larger part of it.
    assert np.median(residual) < 3e-4 and np.quantile(residual, 0.9) < 3e-3 and residual.max() < 1.5e-2
    wrong = optics.kramers_kronig_residual(ENERGIES, eps.real + 1j * np.roll(eps.imag, 1, axis=0))
    assert wrong.min() > 0.1
    scaled = optics.kramers_kronig_residual(ENERGIES, 1.2 * eps.real + 1j * eps.imag)
    assert np.median(scaled) > 0.1 and (scaled > 5 * residual)[residual < 3e-3].all()


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match="increasing"):
        optics.kramers_kronig_residual(ENERGIES[::-1], oscillators([3.0], 0.1))
    with pytest.raises(InputError, match="2001 energies"):
        optics.kramers_kronig_residual(ENERGIES, np.ones(5))


# the f-sum rule


def test_drude_and_lorentz_exhaust_what_they_were_given() -> None:
    """∫ ω Im ε of σω₀²/(ω₀² − ω² − iγω) is (π/2) σω₀²; with ω_D² that makes the whole ω_p²."""
    energies = np.linspace(0, 400, 80001)
    strength, place, damping, drude = 60.0, 5.0, 0.5, 8.0
    eps = 1 + strength / (place**2 - energies**2 - 1j * damping * energies)
    weight = optics.sum_rule_weight(energies, eps, drude)
    assert weight == pytest.approx(strength + drude**2, rel=2e-3)
    volume = 40.0
    electrons = (strength + drude**2) * volume / 1378.8423
    fraction = optics.sum_rule_fraction(energies, eps, drude, electrons, volume)
    assert fraction == pytest.approx(1.0, rel=2e-3)
    window = energies <= place
    half = optics.sum_rule_fraction(energies[window], eps[window], 0.0, electrons, volume)
    assert half == pytest.approx(0.5 * strength / (strength + drude**2), rel=0.15)


def test_the_plasma_energy_of_aluminium_and_axes() -> None:
    assert optics.plasma_energy(12, 4.05**3) == pytest.approx(15.8, abs=0.05)
    fractions = optics.sum_rule_fraction(ENERGIES, np.ones((3, ENERGIES.size)), [1.0, 2.0, 3.0], 12, 4.05**3)
    np.testing.assert_allclose(fractions * 15.78**2, [1, 4, 9], rtol=2e-3)


def test_valence_electrons_by_group() -> None:
    numbers = {1: 1, 2: 2, 3: 1, 12: 2, 13: 3, 8: 6, 26: 8, 29: 11, 30: 12, 31: 3, 64: 3, 78: 10, 79: 11, 82: 4, 83: 5}
    np.testing.assert_array_equal(optics.valence_electrons(list(numbers)), list(numbers.values()))
    np.testing.assert_array_equal(optics.valence_electrons([13, 31, 19, 55], shallow_core=True), [3, 13, 7, 7])
    with pytest.raises(InputError, match="atomic number 0"):
        optics.valence_electrons([0])


def test_embedded_metals_hold_a_part_of_the_sum_rule(metals: list[CrystalRecord]) -> None:
    fractions: list[float] = []
    full: dict[str, list[float]] = {}
    for record in metals:
        if record.labels:
            electrons = optics.valence_electrons(record.atomic_numbers, shallow_core=True).sum()
            volume = abs(np.linalg.det(record.lattice))
            found = float(optics.sum_rule_fraction(ENERGIES, *record.labels.average(), electrons, volume))
            fractions.append(found)
            full.setdefault(record.formula, []).append(found)
    assert min(fractions) > 0.1 and max(fractions) < 1.25
    assert max(full["Al"]) == pytest.approx(1.0, abs=0.02)
    assert max(full["Zn"]) < 0.3  # 3d electrons absorb far above 20 eV


def test_nothing_to_count_is_a_mistake() -> None:
    with pytest.raises(InputError, match="0 valence electrons"):
        optics.sum_rule_fraction(ENERGIES, np.ones(ENERGIES.size), 1.0, 0, 10.0)
    with pytest.raises(InputError, match="volume above 0"):
        optics.plasma_energy(3, -1.0)
