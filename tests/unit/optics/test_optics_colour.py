"""Colour under every light, against the library and against the numbers of earlier releases."""

import colour
import numpy as np
import pytest

from dielectric_gnn import optics
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError

ENERGIES = EnergyGrid().energies()
YELLOW = 0.5 + 0.4 * np.tanh(3 * (2.4 - ENERGIES))
OBSERVERS = {"2deg": "CIE 1931 2 Degree Standard Observer", "10deg": "CIE 1964 10 Degree Standard Observer"}
LIGHTS = ["D65", "D50", "A", "E", "FL2", "LED-B3"]


def test_the_default_is_that_of_earlier_releases() -> None:
    xyz = optics.colour_xyz(ENERGIES, YELLOW)
    np.testing.assert_allclose(xyz, [0.63163745, 0.65438393, 0.2378423], rtol=1e-7)
    np.testing.assert_allclose(optics.colour_lab(xyz), [84.70913453, 2.24314818, 53.18548334], rtol=1e-7)
    np.testing.assert_allclose(optics.colour_srgb(xyz), [0.96507246, 0.81258023, 0.4276626], rtol=1e-7)


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("light", LIGHTS)
def test_a_mirror_has_the_colour_of_the_light_and_is_shown_white(light: str, observer: optics.Observer) -> None:
    mirror = optics.colour_xyz(ENERGIES, np.ones(ENERGIES.size), light, observer)
    assert mirror[1] == pytest.approx(1.0)
    published = colour.CCS_ILLUMINANTS[OBSERVERS[observer]][light]
    np.testing.assert_allclose(colour.XYZ_to_xy(mirror), published, atol=1e-3)
    np.testing.assert_allclose(optics.white_point(light, observer), colour.XYZ_to_xy(mirror), rtol=1e-12)
    np.testing.assert_allclose(optics.colour_lab(mirror, light, observer), [100, 0, 0], atol=1e-9)
    np.testing.assert_allclose(optics.colour_srgb(mirror, light, observer), 1.0, atol=2e-3)


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("light", ["D50", "A"])
def test_it_agrees_with_the_library(light: str, observer: optics.Observer) -> None:
    shape = colour.SpectralShape(380, 780, 1)
    values = np.interp(optics.HC_EV_NM / shape.wavelengths, ENERGIES, YELLOW)
    expected = colour.sd_to_XYZ(
        colour.SpectralDistribution(values, shape.wavelengths),
        cmfs=colour.MSDS_CMFS[OBSERVERS[observer]].copy().align(shape),
        illuminant=colour.SDS_ILLUMINANTS[light].copy().align(shape),
        method="Integration",
    )
    np.testing.assert_allclose(optics.colour_xyz(ENERGIES, YELLOW, light, observer), expected / 100, rtol=6e-4)


def test_lamp_light_makes_a_yellow_metal_redder() -> None:
    by_day, by_lamp = (optics.colour_xyz(ENERGIES, YELLOW, light) for light in ("D65", "A"))
    assert colour.XYZ_to_xy(by_lamp)[0] > colour.XYZ_to_xy(by_day)[0] + 0.05


def test_differences_are_those_of_the_library() -> None:
    first, second = (optics.colour_xyz(ENERGIES, r, "D50", "10deg") for r in (YELLOW, 0.9 * YELLOW + 0.05))
    labs = [optics.colour_lab(xyz, "D50", "10deg") for xyz in (first, second)]
    for method in ("CIE 1976", "CIE 2000"):
        found = optics.colour_difference(first, second, "D50", "10deg", method)
        assert found == pytest.approx(float(colour.delta_E(*labs, method=method)), rel=1e-12)
        assert found > 1
    # Published example of ΔE00: G. Sharma et al., Color Res. Appl. 30, 21 (2005), doi:10.1002/col.20070, pair 1.
    pair = [colour.Lab_to_XYZ(lab, optics.white_point()) for lab in ([50, 2.6772, -79.7751], [50, 0, -82.7485])]
    assert optics.colour_difference(*pair, method="CIE 2000") == pytest.approx(2.0425, abs=1e-4)


def test_the_response_takes_light_and_observer() -> None:
    eps = np.full((2, ENERGIES.size), 3.0 + 1j)
    found = optics.response_colour(ENERGIES, eps, np.array([9.0, 4.0]), 0.2, "A", "10deg")
    for row, drude in enumerate((9.0, 4.0)):
        total = optics.total_dielectric_function(ENERGIES, eps[row], drude, 0.2)
        r = optics.reflectivity(*optics.refractive_index(total))
        np.testing.assert_allclose(found[row], optics.colour_xyz(ENERGIES, r, "A", "10deg"), rtol=1e-12)


def test_mistakes_are_named() -> None:
    with pytest.raises(InputError, match=r"illuminant 'sun'.*D65"):
        optics.colour_xyz(ENERGIES, YELLOW, "sun")
    with pytest.raises(InputError, match=r"observer '5deg'.*2deg or 10deg"):
        optics.colour_xyz(ENERGIES, YELLOW, "D65", "5deg")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="method 'CIE 1666'"):
        optics.colour_difference([1, 1, 1], [1, 1, 1], method="CIE 1666")  # type: ignore[arg-type]
