"""Spectra on other energies: exact where they can be, no new extrema, nothing extrapolated."""

import numpy as np
import pytest
from numpy.typing import NDArray

from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.resampling import resample
from dielectric_gnn.utils.errors import InputError


def lorentz(energies: NDArray[np.float64], gamma: float = 0.3) -> NDArray[np.complex128]:
    """Two oscillators, along two axes."""
    return np.stack([1 + 40 / (e0**2 - energies**2 - 1j * gamma * energies) for e0 in (3.0, 6.0)])


def test_values_of_a_closed_form_from_nonuniform_energies() -> None:
    energies = np.geomspace(0.05, 30, 3000)
    grid = EnergyGrid(0.1, 8.0, 401)
    found = resample(energies, lorentz(energies), grid)
    expected = lorentz(grid.energies())
    assert np.abs(found.values - expected).max() < 5e-4 * np.abs(expected).max()
    assert found.error < 5e-3


def test_the_same_grid_changes_nothing() -> None:
    grid = EnergyGrid(0.0, 8.0, 401)
    spectra = lorentz(grid.energies())
    found = resample(grid.energies(), spectra, grid)
    assert found.error == 0.0 and (found.values == spectra).all()


def test_between_two_energies_lie_the_values_between_theirs(rng: np.random.Generator) -> None:
    energies = np.cumsum(rng.uniform(0.01, 1.0, 40))
    spectra = rng.normal(size=(2, 40)) + 1j * rng.uniform(0, 1, size=(2, 40))
    grid = EnergyGrid(float(energies[0]), float(energies[-1]), 5000)
    found = resample(energies, spectra, grid).values
    place = np.clip(np.searchsorted(energies, grid.energies(), side="right") - 1, 0, 38)
    for part in ("real", "imag"):
        given, values = getattr(spectra, part), getattr(found, part)
        low = np.minimum(given[:, place], given[:, place + 1])
        high = np.maximum(given[:, place], given[:, place + 1])
        assert (values >= low - 1e-12).all() and (values <= high + 1e-12).all()
    assert found.imag.min() >= 0


def test_the_error_shows_a_grid_that_is_too_coarse() -> None:
    energies = np.linspace(0, 10, 2001)
    spectra = lorentz(energies, gamma=0.05)
    fine, coarse = (resample(energies, spectra, EnergyGrid(0, 10, num)).error for num in (1001, 21))
    assert fine < 0.02 < 0.3 < coarse


@pytest.mark.parametrize(
    ("energies", "grid", "words"),
    [
        (np.linspace(0.5, 10, 100), EnergyGrid(0, 8, 81), ["0.5 to 10 eV", "extrapolated"]),
        (np.linspace(0, 7.9, 100), EnergyGrid(0, 8, 81), ["0 to 7.9 eV"]),
        (np.array([0.0, 1.0, 1.0, 9.0]), EnergyGrid(0, 8, 81), ["rise strictly", "1 eV is followed by 1 eV"]),
        (np.array([0.0, np.nan, 9.0]), EnergyGrid(0, 8, 81), ["not finite"]),
    ],
)
def test_mistakes_are_named(energies: NDArray[np.float64], grid: EnergyGrid, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        resample(energies, np.ones((1, energies.size)), grid)
    assert all(word in str(error.value) for word in words)
