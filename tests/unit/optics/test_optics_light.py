"""Reflection, absorption and conductivity against closed forms, and the bounds that passivity sets."""

import numpy as np
import pytest
from scipy import constants

from dielectric_gnn import optics
from dielectric_gnn.optics import units
from dielectric_gnn.utils.errors import InputError

PLASMA, DAMPING = 9.0, 0.07


def metal(energies: np.ndarray, eps_inf: float = 1.0) -> np.ndarray:
    return optics.total_dielectric_function(energies, np.full(energies.shape, eps_inf), PLASMA, DAMPING)


def passive_media(seed: int, num: int = 4000) -> np.ndarray:
    """Metals, insulators, absorbers and things without loss, of sizes from 1e-6 to 1e6."""
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.uniform(-6, 6, (2, num))
    loss = np.where(rng.random(num) < 0.2, 0.0, size[1])
    return rng.choice([-1.0, 1.0], num) * size[0] + 1j * loss


def test_constants_are_those_of_codata() -> None:
    assert pytest.approx(constants.h * constants.c / constants.e * 1e9, rel=1e-9) == units.HC_EV_NM
    siemens = constants.epsilon_0 * constants.e / constants.hbar
    assert pytest.approx(siemens, rel=1e-9) == units.SIEMENS_PER_METRE_EV
    plasma = constants.hbar**2 / (constants.epsilon_0 * constants.m_e) * 1e30
    assert pytest.approx(plasma, rel=1e-7) == units.PLASMA_EV2_ANGSTROM3


# Fresnel


def test_normal_incidence_is_both_polarisations_and_the_plain_formula() -> None:
    eps = passive_media(0)
    expected = optics.reflectivity(*optics.refractive_index(eps))
    for polarisation in ("s", "p", "unpolarised"):
        np.testing.assert_allclose(optics.oblique_reflectivity(eps, 0.0, polarisation), expected, atol=1e-12)


@pytest.mark.parametrize("ambient", [1.0, 1.33, 2.4])
def test_brewster_angle_and_total_reflection(ambient: float) -> None:
    index = 1.5
    brewster = np.degrees(np.arctan(index / ambient))
    assert optics.oblique_reflectivity(index**2, brewster, "p", ambient) < 1e-28
    assert optics.oblique_reflectivity(index**2, brewster, "s", ambient) > 1e-3
    if ambient > index:
        beyond = np.degrees(np.arcsin(index / ambient)) + np.array([1.0, 10.0, 30.0])
        for polarisation in ("s", "p"):
            np.testing.assert_array_equal(optics.oblique_reflectivity(index**2, beyond, polarisation, ambient), 1.0)


def test_grazing_light_is_reflected_and_equal_media_are_invisible() -> None:
    eps = passive_media(1)
    for polarisation in ("s", "p"):
        np.testing.assert_allclose(optics.oblique_reflectivity(eps, 90.0, polarisation), 1.0, atol=1e-9)
        angles = np.linspace(0, 90, 19)
        assert optics.oblique_reflectivity(1.33**2, angles, polarisation, 1.33).max() < 1e-30


def test_reflectivity_stays_within_bounds_for_every_passive_medium() -> None:
    for seed in range(5):
        eps = passive_media(seed)
        angle = np.random.default_rng(seed).uniform(0, 90, eps.size)
        for ambient in (0.8, 1.0, 1.5, 3.0):
            for polarisation in ("s", "p", "unpolarised"):
                r = optics.oblique_reflectivity(eps, angle, polarisation, ambient)
                assert r.min() >= 0.0 and r.max() <= 1.0
        n, k = optics.refractive_index(eps)
        assert n.min() >= 0.0 and k.min() >= 0.0
        assert optics.absorption_coefficient(np.full(eps.shape, 2.0), eps).min() >= 0.0
        assert optics.optical_conductivity(np.full(eps.shape, 2.0), eps).real.min() >= 0.0


def test_energy_is_conserved_against_the_field_amplitudes_of_a_transfer_matrix() -> None:
    """R + T = 1 with T from the Poynting vector of the transmitted field: amplitudes, not reflection formulas."""
    rng = np.random.default_rng(7)
    eps = rng.normal(size=300) * 10 + 1j * rng.exponential(size=300) * 5
    ambient, theta = 1.33, np.deg2rad(rng.uniform(0, 89, 300))
    inside = np.sqrt(eps - (ambient * np.sin(theta)) ** 2)
    outside = ambient * np.cos(theta)
    for polarisation in ("s", "p"):
        # Boundary conditions: 1 + r = t for the tangential field, Y₀(1 − r) = Y t for the other one.
        y0, y = (outside, inside) if polarisation == "s" else (ambient**2 / outside, eps / inside)
        t = np.array([np.linalg.solve([[1, -1], [-a, -b]], [-1, -a])[1] for a, b in zip(y0, y, strict=True)])
        transmitted = y.real / y0 * np.abs(t) ** 2
        r = optics.oblique_reflectivity(eps, np.rad2deg(theta), polarisation, ambient)
        np.testing.assert_allclose(r + transmitted, 1.0, atol=1e-10)


def test_unpolarised_is_the_mean_and_axes_and_angles_broadcast() -> None:
    energies = np.linspace(0, 20, 201)
    eps = np.stack([metal(energies, eps_inf) for eps_inf in (1.0, 4.0, 9.0)])
    r = {p: optics.oblique_reflectivity(eps, 60.0, p) for p in ("s", "p", "unpolarised")}
    np.testing.assert_allclose(r["unpolarised"], (r["s"] + r["p"]) / 2)
    np.testing.assert_array_equal(r["s"][:, 0], 1.0)  # a metal at ω = 0
    many = optics.oblique_reflectivity(eps[:, None, :], np.array([0.0, 60.0])[:, None], "s")
    assert many.shape == (3, 2, 201)
    np.testing.assert_array_equal(many[:, 1], r["s"])
    assert np.isnan(optics.oblique_reflectivity(np.nan + 0j, 30.0))
    assert optics.oblique_reflectivity(0.0, 0.0, "p") == optics.oblique_reflectivity(0.0, 0.0, "s") == 1.0


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match="angle 91"):
        optics.oblique_reflectivity(2.0, 91.0)
    with pytest.raises(InputError, match=r"polarisation 'x'.*unpolarised"):
        optics.oblique_reflectivity(2.0, 1.0, "x")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="ambient_index 0"):
        optics.oblique_reflectivity(2.0, 1.0, ambient_index=0)


# absorption and conduction


def test_absorption_is_twice_the_inverse_skin_depth_and_beer_lambert() -> None:
    energies = np.array([0.0, 0.5, 2.0, 5.0])
    eps = np.full(4, (1.5 + 0.2j) ** 2)
    alpha = optics.absorption_coefficient(energies, eps)
    wavelength_cm = units.HC_EV_NM * 1e-7 / energies[1:]
    np.testing.assert_allclose(alpha[1:], 4 * np.pi * 0.2 / wavelength_cm, rtol=1e-12)
    depth = optics.skin_depth(energies, eps)
    np.testing.assert_allclose(depth[1:] * 1e-7 * alpha[1:], 2.0, rtol=1e-12)
    assert alpha[0] == 0 and np.isposinf(depth[0])
    assert np.isposinf(optics.skin_depth([1.0], [2.25])).all()
    assert optics.skin_depth([1.0], [2.25 - 0.1j])[0] < 0  # gain stays visible


def test_skin_depth_of_a_drude_metal_has_its_two_limits() -> None:
    """√(2/(μ₀σ₀ω)) where ω ≪ γ, and c/ω_p where γ ≪ ω ≪ ω_p."""
    slow = np.array([1e-6])
    conductivity = optics.drude_conductivity([0.0], PLASMA, DAMPING).real[0]
    omega = slow * constants.e / constants.hbar
    classical = np.sqrt(2 / (constants.mu_0 * conductivity * omega)) * 1e9
    np.testing.assert_allclose(optics.skin_depth(slow, metal(slow)), classical, rtol=1e-4)
    fast = np.array([0.5])
    eps = optics.total_dielectric_function(fast, np.ones(1), PLASMA, 1e-5)
    collisionless = units.HC_EV_NM / (2 * np.pi) / PLASMA
    np.testing.assert_allclose(optics.skin_depth(fast, eps), collisionless, rtol=5e-3)
    assert np.isposinf(optics.skin_depth([0.0], metal(np.zeros(1)))[0])
    assert optics.absorption_coefficient([0.0], metal(np.zeros(1)))[0] == 0


def test_conductivities_of_a_drude_metal() -> None:
    energies = np.linspace(0, 10, 101)
    free = optics.drude_conductivity(energies, PLASMA, DAMPING)
    rate = DAMPING * constants.e / constants.hbar
    static = constants.epsilon_0 * (PLASMA * constants.e / constants.hbar) ** 2 / rate
    assert free[0] == pytest.approx(static, rel=1e-8)
    sigma = optics.optical_conductivity(energies, metal(energies))
    assert np.isnan(sigma[0])  # ε is infinite: its product with ω is not told
    np.testing.assert_allclose(sigma[1:], free[1:], rtol=1e-10)
    # Parts add: bound and free electrons.
    both = optics.optical_conductivity(energies[1:], metal(energies[1:], 4.0))
    bound = optics.optical_conductivity(energies[1:], np.full(100, 4.0))
    np.testing.assert_allclose(both, bound + free[1:], rtol=1e-10)
    axes = optics.drude_conductivity(energies, [9.0, 5.0, 0.0], DAMPING)
    assert axes.shape == (3, 101) and np.all(axes[2] == 0)
