"""Figures of merit of a metal for plasmonics: quality factors and propagation length of surface plasmons.

Sources: P. R. West et al., Laser Photonics Rev. 4, 795 (2010), doi:10.1002/lpor.200900055; M. G. Blaber, M. D. Arnold
and M. J. Ford, J. Phys.: Condens. Matter 22, 143201 (2010), doi:10.1088/0953-8984/22/14/143201.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn.optics.reflection import validated_ambient_index
from dielectric_gnn.optics.units import HBAR_C_EV_NM, FloatArray


def quality_localised(eps: ArrayLike) -> FloatArray:
    """Return the quality factor of localised surface plasmons in a small particle, Q_LSP = −Re ε / Im ε.

    It is the field enhancement at an energy to which the resonance is tuned by the shape of the particle or its
    surroundings.

    Shapes:
        eps (..., W) → (..., W).

    Args:
        eps: Total dielectric function.

    Returns:
        Q_LSP, dimensionless; NaN where there is no such plasmon (Re ε ≥ 0) or there is gain (Im ε < 0).

    Source:
        See the module.
    """
    eps = np.asarray(eps, dtype=np.complex128)
    return _ratio(-eps.real, eps.imag, eps.real < 0.0)


def quality_propagating(eps: ArrayLike, ambient_index: float = 1.0) -> FloatArray:
    """Return the quality factor of surface plasmon polaritons on a flat surface, Q_SPP = (Re ε)² / Im ε.

    This is the definition of West et al. for a metal in vacuum and |Re ε| ≫ Im ε; the ambient only determines where the
    polariton is bound. `propagation_length` is valid without these limits.

    Shapes:
        eps (..., W) → (..., W).

    Args:
        eps: Total dielectric function.
        ambient_index: n₀ of the transparent ambient.

    Returns:
        Q_SPP, dimensionless; NaN where no polariton is bound (Re ε ≥ −n₀²) or Im ε < 0.

    Source:
        See the module.
    """
    eps = np.asarray(eps, dtype=np.complex128)
    return _ratio(eps.real**2, eps.imag, eps.real < -(validated_ambient_index(ambient_index) ** 2))


def propagation_length(energies: ArrayLike, eps: ArrayLike, ambient_index: float = 1.0) -> FloatArray:
    """Return the length over which the *intensity* of a surface plasmon polariton falls to 1/e: L = 1 / (2 Im k_SPP).

    k_SPP = (ω/c) √(ε n₀² / (ε + n₀²)), exact for a flat surface.

    Shapes:
        energies (W,), eps (..., W) → (..., W).

    Units:
        nm.

    Args:
        energies: Photon energies in eV.
        eps: Total dielectric function.
        ambient_index: n₀ of the transparent ambient.

    Returns:
        L; infinite without loss; NaN where no polariton is bound (Re ε ≥ −n₀²), Im ε < 0, or ω = 0.

    Source:
        H. Raether, *Surface Plasmons* (Springer 1988), doi:10.1007/BFb0048317.
    """
    omega = np.asarray(energies, dtype=np.float64)
    eps = np.asarray(eps, dtype=np.complex128)
    ambient = validated_ambient_index(ambient_index) ** 2
    bound = (eps.real < -ambient) & (eps.imag >= 0.0) & np.isfinite(eps) & (omega > 0.0)
    metal = np.where(bound, eps, -2.0 * ambient) + 0j
    wave_number = omega / HBAR_C_EV_NM * np.sqrt(ambient * metal / (metal + ambient))
    return _ratio(np.ones(wave_number.shape), 2.0 * np.abs(wave_number.imag), bound)


def _ratio(numerator: FloatArray, denominator: FloatArray, defined: np.ndarray) -> FloatArray:
    """Return the quotient where defined and the denominator is not negative (infinite where it is 0), else NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = numerator / denominator
    return np.where(defined & (denominator >= 0.0), value, np.nan)
