"""Propagation in the medium: refractive index, absorption coefficient and skin depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn.optics.units import HBAR_C_EV_NM, FloatArray

_PER_NM_IN_PER_CM = 1e7


def refractive_index(eps: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return refractive index n and extinction coefficient k of a non-magnetic medium: (n + ik)² = ε.

    The root has n ≥ 0; k has the sign of Im ε, so that gain gives k < 0.

    Shapes:
        eps (..., W) → n (..., W), k (..., W).
    """
    # Adding 0 turns an imaginary part of −0 (the conjugate of a real number) into +0, which is not gain.
    eps = np.asarray(eps, dtype=np.complex128) + 0
    finite = np.isfinite(eps)
    root = np.sqrt(np.where(finite, eps, 1.0))
    infinite = np.where(np.isnan(eps), np.nan, np.inf)
    return np.where(finite, root.real, infinite), np.where(finite, root.imag, infinite)


def absorption_coefficient(energies: ArrayLike, eps: ArrayLike) -> FloatArray:
    """Return the absorption coefficient α = 2ωk/c: the intensity falls as exp(−αz).

    Shapes:
        energies (W,), eps (..., W) → (..., W).

    Units:
        1/cm; α / 2 is the inverse of the skin depth of the field.

    Args:
        energies: Photon energies in eV.
        eps: Total dielectric function.

    Returns:
        α; its limit 0 at ω = 0, where k of a metal diverges only as 1/√ω; negative where there is gain.

    Source:
        M. Fox, *Optical Properties of Solids* (Oxford 2010), chapter 1.
    """
    omega = np.asarray(energies, dtype=np.float64)
    _, k = refractive_index(eps)
    k = np.where((omega == 0.0) & np.isposinf(k), 0.0, k)
    return np.asarray(2.0 * omega * k / HBAR_C_EV_NM * _PER_NM_IN_PER_CM)


def skin_depth(energies: ArrayLike, eps: ArrayLike) -> FloatArray:
    """Return δ = c/(ωk), the depth at which the *field* has fallen to 1/e; the intensity reaches 1/e at δ/2 = 1/α.

    Shapes:
        energies (W,), eps (..., W) → (..., W).

    Units:
        nm.

    Args:
        energies: Photon energies in eV.
        eps: Total dielectric function.

    Returns:
        δ; infinite where nothing is absorbed and at ω = 0; negative where there is gain.

    Source:
        M. Dressel and G. Grüner, *Electrodynamics of Solids* (Cambridge 2002), doi:10.1017/CBO9780511606168.
    """
    absorption = absorption_coefficient(energies, eps) / _PER_NM_IN_PER_CM
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(absorption == 0.0, np.inf, 2.0 / absorption))
