"""Closed forms, limits and measured optical constants."""

import colour
import numpy as np
import pytest

from dielectric_gnn import optics
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError

ENERGIES = EnergyGrid().energies()


def total(eps_inter: complex, drude: float, damping: float = 0.1) -> np.ndarray:
    return optics.total_dielectric_function(ENERGIES, np.full(ENERGIES.shape, eps_inter), drude, damping)


def test_drude_term_is_its_closed_form() -> None:
    omega, plasma, gamma = ENERGIES[1:], 9.0, 0.07
    term = optics.drude_term(omega, plasma, gamma)
    np.testing.assert_allclose(term, -(plasma**2) / (omega**2 + 1j * gamma * omega), rtol=1e-13)
    np.testing.assert_allclose(term.imag, plasma**2 * gamma / (omega * (omega**2 + gamma**2)), rtol=1e-13)


def test_drude_term_at_zero_energy_is_the_limit() -> None:
    term = optics.drude_term([0.0], [9.0, 0.0], 0.1)
    np.testing.assert_allclose(term[0].real, -8100.0)
    assert np.isposinf(term[0].imag)
    assert term[1] == 0.0


def test_vacuum_is_invisible() -> None:
    n, k = optics.refractive_index(total(1.0, 0.0))
    np.testing.assert_array_equal(n, 1.0)
    np.testing.assert_array_equal(k, 0.0)
    np.testing.assert_array_equal(optics.reflectivity(n, k), 0.0)


def test_glass_reflects_four_percent() -> None:
    n, k = optics.refractive_index(total(1.5**2, 0.0))
    np.testing.assert_allclose(optics.reflectivity(n, k), 0.04, rtol=1e-12)


def test_gold_like_drude_metal() -> None:
    """Hagen-Rubens below the damping, mirror below the screened plasma energy, transparency above."""
    omega = np.array([1e-4, 1.0, 30.0])
    eps = optics.total_dielectric_function(omega, np.ones(3), 9.0, 0.07)
    r = optics.reflectivity(*optics.refractive_index(eps))
    conductivity = 9.0**2 / 0.07  # ω_D²/γ: 4πσ₀ in eV; Hagen-Rubens R = 1 − sqrt(8 ω / 4πσ₀)
    assert 1 - r[0] == pytest.approx(np.sqrt(8 * omega[0] / conductivity), rel=2e-3)
    assert r[1] > 0.98
    assert r[2] < 1e-3
    dense = np.linspace(8.5, 9.5, 10001)
    eps = optics.total_dielectric_function(dense, np.ones(dense.shape), 9.0, 0.07)
    crossing = dense[np.argmin(np.abs(eps.real))]
    assert crossing == pytest.approx(np.sqrt(81 - 0.07**2), abs=2e-4)


def test_index_squares_back_to_epsilon_and_keeps_the_sign_of_gain() -> None:
    rng = np.random.default_rng(0)
    eps = rng.normal(size=500) * 20 + 1j * rng.normal(size=500) * 5
    n, k = optics.refractive_index(eps)
    np.testing.assert_allclose((n + 1j * k) ** 2, eps, rtol=1e-12)
    assert np.all(n >= 0)
    np.testing.assert_array_equal(np.sign(k), np.sign(eps.imag))


def test_a_lossless_metal_does_not_amplify_where_its_im_eps_is_minus_zero() -> None:
    n, k = optics.refractive_index(np.conj([-4.0 + 0j]))
    assert n[0] == 0 and k[0] == 2


@pytest.mark.parametrize("damping", [0.0, -0.1, np.nan, np.inf])
def test_a_damping_that_is_not_positive_is_refused(damping: float) -> None:
    for function in (optics.drude_term, optics.drude_conductivity):
        with pytest.raises(InputError, match="damping is"):
            function(ENERGIES, 9.0, damping)


def test_reflectivity_of_passive_media_stays_within_bounds_and_zero_energy_is_a_mirror() -> None:
    rng = np.random.default_rng(1)
    eps = rng.normal(size=1000) * 100 + 1j * rng.exponential(size=1000) * 100
    r = optics.reflectivity(*optics.refractive_index(eps))
    assert r.min() >= 0 and r.max() <= 1
    n, k = optics.refractive_index(total(2.0, 5.0))
    assert np.isposinf(n[0]) and np.isposinf(k[0])
    assert optics.reflectivity(n, k)[0] == 1.0


def test_nan_stays_nan() -> None:
    n, k = optics.refractive_index(np.array([np.nan + 0j]))
    assert np.isnan(n).all() and np.isnan(optics.reflectivity(n, k)).all()


def test_mirror_is_white_and_black_is_black() -> None:
    mirror = optics.colour_xyz(ENERGIES, np.ones(ENERGIES.size))
    np.testing.assert_allclose(optics.colour_lab(mirror), [100, 0, 0], atol=1e-9)
    np.testing.assert_allclose(optics.colour_srgb(mirror), 1.0, atol=2e-3)
    black = optics.colour_xyz(ENERGIES, np.zeros(ENERGIES.size))
    np.testing.assert_allclose(optics.colour_lab(black), [0, 0, 0], atol=1e-9)


def test_colour_agrees_with_the_library_on_a_smooth_spectrum() -> None:
    reflectance = 0.5 + 0.4 * np.tanh(3 * (2.4 - ENERGIES))
    shape = colour.SpectralShape(380, 780, 1)
    wavelengths = shape.wavelengths
    values = np.interp(optics.HC_EV_NM / wavelengths, ENERGIES, reflectance)
    expected = colour.sd_to_XYZ(
        colour.SpectralDistribution(values, wavelengths),
        cmfs=colour.MSDS_CMFS["CIE 1931 2 Degree Standard Observer"].copy().align(shape),
        illuminant=colour.SDS_ILLUMINANTS["D65"].copy().align(shape),
        method="Integration",
    )
    np.testing.assert_allclose(optics.colour_xyz(ENERGIES, reflectance), expected / 100, rtol=5e-4)


# Measured optical constants: P. B. Johnson and R. W. Christy, Phys. Rev. B 6, 4370 (1972),
# doi:10.1103/PhysRevB.6.4370; photon energy (eV), n, k.
GOLD = np.array([
    [1.51, 0.16, 5.083], [1.64, 0.14, 4.542], [1.76, 0.13, 4.103], [1.88, 0.14, 3.697], [2.01, 0.21, 3.272],
    [2.14, 0.29, 2.863], [2.26, 0.43, 2.455], [2.38, 0.62, 2.081], [2.50, 1.04, 1.833], [2.63, 1.31, 1.849],
    [2.75, 1.38, 1.914], [2.88, 1.45, 1.948], [3.00, 1.46, 1.958], [3.12, 1.47, 1.952], [3.25, 1.46, 1.933],
    [3.37, 1.48, 1.895],
])  # fmt: skip
SILVER = np.array([
    [1.51, 0.04, 5.727], [1.64, 0.03, 5.242], [1.76, 0.04, 4.838], [1.88, 0.05, 4.483], [2.01, 0.06, 4.152],
    [2.14, 0.05, 3.858], [2.26, 0.06, 3.586], [2.38, 0.05, 3.324], [2.50, 0.05, 3.093], [2.63, 0.05, 2.869],
    [2.75, 0.04, 2.657], [2.88, 0.04, 2.462], [3.00, 0.05, 2.275], [3.12, 0.05, 2.070], [3.25, 0.05, 1.864],
    [3.37, 0.07, 1.657],
])  # fmt: skip


def test_measured_gold_is_yellow() -> None:
    xyz = optics.colour_xyz(GOLD[:, 0], optics.reflectivity(GOLD[:, 1], GOLD[:, 2]))
    lightness, a, b = optics.colour_lab(xyz)
    assert 80 < lightness < 95
    assert b > 25 and b > 3 * abs(a)
    red, green, blue = optics.colour_srgb(xyz)
    assert red > green > blue


def test_measured_silver_is_nearly_white() -> None:
    xyz = optics.colour_xyz(SILVER[:, 0], optics.reflectivity(SILVER[:, 1], SILVER[:, 2]))
    lightness, a, b = optics.colour_lab(xyz)
    assert lightness > 95
    assert np.hypot(a, b) < 5


def test_response_colour_uses_the_total_response_and_broadcasts() -> None:
    eps = np.stack([np.full(ENERGIES.size, 1.0 + 0j), np.full(ENERGIES.size, 3.0 + 1j)])
    drude = np.array([9.0, 4.0])
    xyz = optics.response_colour(ENERGIES, eps, drude, damping=0.2)
    for row in range(2):
        full = optics.total_dielectric_function(ENERGIES, eps[row], drude[row], 0.2)
        r = optics.reflectivity(*optics.refractive_index(full))
        np.testing.assert_allclose(xyz[row], optics.colour_xyz(ENERGIES, r), rtol=1e-12)
    assert optics.colour_difference(xyz[0], xyz[0]) == 0
    lab = optics.colour_lab(xyz)
    assert optics.colour_difference(xyz[0], xyz[1]) == pytest.approx(np.linalg.norm(lab[0] - lab[1]))


def test_colour_refuses_a_grid_that_misses_the_visible() -> None:
    with pytest.raises(ValueError, match="380-780 nm"):
        optics.colour_xyz(np.linspace(0, 2, 50), np.ones(50))
