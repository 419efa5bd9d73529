"""The energy-loss function of fast electrons, and the screened plasma energy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn.optics.units import FloatArray

_LARGEST = np.finfo(np.float64).max


def loss_function(eps: ArrayLike) -> FloatArray:
    """Return the energy-loss function Im(−1/ε) = Im ε / |ε|²; it peaks at plasmons.

    Shapes:
        eps (..., W) → (..., W).

    Args:
        eps: Total dielectric function.

    Returns:
        The loss function, dimensionless: 0 where ε is infinite (perfect screening), infinite where ε = 0.

    Source:
        H. Raether, *Excitation of Plasmons and Interband Transitions by Electrons* (Springer 1980),
        doi:10.1007/BFb0045951.
    """
    eps = np.asarray(eps, dtype=np.complex128)
    finite = np.isfinite(eps)
    safe = np.where(finite, eps, 1.0)
    zero = safe == 0.0
    value = np.where(zero, np.inf, safe.imag / np.where(zero, 1.0, np.abs(safe) ** 2))
    return np.where(finite, value, np.where(np.isnan(eps), np.nan, 0.0))


def screened_plasma_energy(energies: ArrayLike, eps: ArrayLike) -> FloatArray:
    """Return the energy at which Re ε crosses zero from below: the volume plasmon, screened by interband transitions.

    For a Drude metal with background ε_∞ it is √(ω_D²/ε_∞ − γ²). If Re ε crosses zero more than once, the crossing with
    the largest loss function, 1/Im ε, is the plasmon; the others are edges of strong interband transitions.

    Shapes:
        energies (W,) increasing, eps (..., W) → (...).

    Units:
        eV.

    Args:
        energies: Photon energies in eV.
        eps: Total dielectric function; Re and Im are interpolated linearly.

    Returns:
        The crossing; NaN where Re ε does not cross zero from below within the window.

    Source:
        As for `loss_function`.
    """
    omega = np.asarray(energies, dtype=np.float64)
    eps = np.asarray(eps, dtype=np.complex128)
    real, imaginary = eps.real, np.where(np.isnan(eps.imag), np.inf, eps.imag)
    below, above = real[..., :-1], real[..., 1:]
    crosses = (below < 0.0) & (above >= 0.0)
    fraction = np.where(crosses, -below, 0.0) / np.where(crosses, above - below, 1.0)
    with np.errstate(invalid="ignore"):
        damping = imaginary[..., :-1] * (1.0 - fraction) + imaginary[..., 1:] * fraction
    # A crossing with infinite (ω = 0), unknown or negative Im ε is chosen only if there is no other.
    lossless = ~((damping >= 0.0) & (damping < _LARGEST))
    damping = np.where(crosses, np.where(lossless, _LARGEST, damping), np.inf)
    best = np.argmin(damping, axis=-1)[..., None]
    energy = np.take_along_axis(omega[:-1] + fraction * np.diff(omega), best, axis=-1)[..., 0]
    return np.where(np.take_along_axis(crosses, best, axis=-1)[..., 0], energy, np.nan)
