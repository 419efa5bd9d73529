"""Optical conductivity."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn.optics.response import DEFAULT_DAMPING, check_damping
from dielectric_gnn.optics.units import SIEMENS_PER_METRE_EV, ComplexArray


def optical_conductivity(energies: ArrayLike, eps: ArrayLike) -> ComplexArray:
    """Return the conductivity σ(ω) = −iε₀ω(ε − 1): Re σ ≥ 0 is loss.

    Shapes:
        energies (W,), eps (..., W) → (..., W).

    Units:
        S/m.

    Args:
        energies: Photon energies in eV.
        eps: Total dielectric function, or a part of it: conductivities add.

    Returns:
        σ; NaN where ε is infinite, since the finite limit cannot be computed from it. `drude_conductivity` gives the
        static conductivity of a metal.

    Source:
        M. Dressel and G. Grüner, *Electrodynamics of Solids* (Cambridge 2002), doi:10.1017/CBO9780511606168.
    """
    eps = np.asarray(eps, dtype=np.complex128)
    finite = np.where(np.isfinite(eps), eps, np.nan)
    return np.asarray(-1j * SIEMENS_PER_METRE_EV * np.asarray(energies, dtype=np.float64) * (finite - 1.0))


def drude_conductivity(energies: ArrayLike, drude: ArrayLike, damping: float = DEFAULT_DAMPING) -> ComplexArray:
    """Return the conductivity of free carriers, ε₀ω_D² / (γ − iω); at ω = 0 the static ε₀ω_D²/γ.

    The static value depends on γ, which is a parameter of the model and not a property of the material.

    Shapes:
        energies (W,), drude (...) → (..., W).

    Units:
        S/m.

    Args:
        energies: Photon energies in eV.
        drude: ω_D in eV.
        damping: γ > 0 in eV.

    Raises:
        InputError: γ is not a positive number.

    Source:
        As `optical_conductivity`.
    """
    check_damping(damping)
    squared = np.asarray(drude, dtype=np.float64)[..., None] ** 2
    return np.asarray(SIEMENS_PER_METRE_EV * squared / (damping - 1j * np.asarray(energies, dtype=np.float64)))
