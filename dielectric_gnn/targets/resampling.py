"""Spectra on any photon energies, brought onto the grid of a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError

_RANGE_TOLERANCE_EV = 1e-4
"""Codes round the energies they write; a grid may begin or end this far outside of them."""


RESAMPLING_ERROR = "resampling_error"
"""Key of `Resampled.error` in the metadata of a material."""


@dataclass(frozen=True)
class Resampled:
    """Spectra on a grid, and how well they stand for the spectra they were made from.

    Shapes:
        values: (A, W) complex.

    Args:
        values: The spectra on the grid.
        error: Largest deviation of the spectra on the grid, interpolated back to the given energies within its range,
            from the given spectra, divided by the largest modulus of the component within that range.
    """

    values: NDArray[np.complex128]
    error: float


def resample(energies: ArrayLike, spectra: ArrayLike, grid: EnergyGrid) -> Resampled:
    """Interpolate spectra onto the energies of a grid, real and imaginary part on their own.

    Piecewise cubic Hermite interpolation with the slopes of Fritsch and Butland (doi:10.1137/0905021): between two
    given energies the result lies between the two given values, so that no extrema appear which the spectra do not
    have, and Im ε ≥ 0 stays so. Nothing is extrapolated.

    Shapes:
        energies: (V,) in eV, at least 2, strictly rising. spectra: (A, V), finite, but for real parts that are all NaN
            (not known), and stay so.

    Raises:
        InputError: The energies do not rise strictly, are not finite, or do not cover the grid.
    """
    x = np.asarray(energies, dtype=np.float64)
    y = np.asarray(spectra, dtype=np.complex128)
    _check(x, y, grid)
    target = grid.energies()
    if grid.matches(x):
        return Resampled(y, 0.0)
    # A grid may begin or end beyond the given energies by less than their rounding.
    inside = np.clip(target, x[0], x[-1])
    has_real = not np.isnan(y.real).all()
    if not has_real:
        y = np.asarray(1j * y.imag, dtype=np.complex128)
    values = _interpolated(x, y, inside)
    covered = (x >= target[0]) & (x <= target[-1])
    error = 0.0
    if covered.any():
        back = _interpolated(target, values, x[covered])
        scale = np.abs(y[:, covered]).max(axis=1, keepdims=True)
        error = float((np.abs(back - y[:, covered]) / np.where(scale > 0, scale, 1.0)).max())
    if not has_real:
        values.real = np.nan
    return Resampled(values, error)


def _interpolated(
    energies: NDArray[np.float64], spectra: NDArray[np.complex128], at: NDArray[np.float64]
) -> NDArray[np.complex128]:
    from scipy.interpolate import PchipInterpolator

    real, imaginary = (PchipInterpolator(energies, part, axis=1)(at) for part in (spectra.real, spectra.imag))
    return np.asarray(real + 1j * imaginary, dtype=np.complex128)


def _check(energies: NDArray[np.float64], spectra: NDArray[np.complex128], grid: EnergyGrid) -> None:
    if energies.ndim != 1 or energies.size < 2 or spectra.ndim != 2 or spectra.shape[1] != energies.size:
        raise InputError(
            f"energies of shape {energies.shape} with spectra of shape {spectra.shape}, "
            "expected (V,) with (A, V), V >= 2"
        )
    if not np.isfinite(energies).all() or not (np.diff(energies) > 0).all():
        place = int(np.argmin(np.diff(energies) > 0)) if np.isfinite(energies).all() else -1
        near = (
            "they are not finite" if place < 0 else f"{energies[place]:g} eV is followed by {energies[place + 1]:g} eV"
        )
        raise InputError(f"photon energies must rise strictly, but {near}")
    known = spectra.imag if np.isnan(spectra.real).all() else spectra
    if bad := np.count_nonzero(~np.isfinite(known)):
        raise InputError(f"the spectra contain {bad} NaN or infinite values, expected finite ones")
    low, high = energies[0] - _RANGE_TOLERANCE_EV, energies[-1] + _RANGE_TOLERANCE_EV
    if grid.start < low or grid.stop > high:
        raise InputError(
            f"the spectra cover {energies[0]:g} to {energies[-1]:g} eV, but the grid is {grid}; nothing is "
            "extrapolated: choose a grid within the energies of the spectra"
        )
