"""The free-carrier (Drude) term and the total dielectric function."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn.optics.units import ComplexArray
from dielectric_gnn.utils.errors import InputError

DEFAULT_DAMPING = 0.1
"""Drude damping γ of the published study in eV."""


def check_damping(damping: float) -> None:
    """Check that a Drude damping γ is positive and finite.

    Raises:
        InputError: γ is not a positive number.
    """
    if not 0 < damping < np.inf:
        raise InputError(f"the Drude damping is {damping} eV, expected a number above 0")


def drude_term(energies: ArrayLike, drude: ArrayLike, damping: float = DEFAULT_DAMPING) -> ComplexArray:
    """Return the intraband (free-carrier) part of the dielectric function, −ω_D² / (ω² + iγω).

    Shapes:
        energies (W,), drude (...) → (..., W).

    Args:
        energies: Photon energies ω in eV.
        drude: Drude (intraband plasma) frequency ω_D in eV; 0 gives exactly 0.
        damping: γ > 0 in eV.

    Returns:
        Complex spectrum; at ω = 0 its real part is the limit −ω_D²/γ² and its imaginary part is infinite.

    Raises:
        InputError: γ is not a positive number.
    """
    check_damping(damping)
    omega = np.asarray(energies, dtype=np.float64)
    squared = np.asarray(drude, dtype=np.float64)[..., None] ** 2
    term = np.empty(np.broadcast_shapes(squared.shape, omega.shape), dtype=np.complex128)
    term.real = -squared / (omega**2 + damping**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        imaginary = squared * damping / (omega * (omega**2 + damping**2))
    term.imag = np.where(squared == 0.0, 0.0, imaginary)
    return term


def total_dielectric_function(
    energies: ArrayLike, eps_inter: ArrayLike, drude: ArrayLike, damping: float = DEFAULT_DAMPING
) -> ComplexArray:
    """Return the total dielectric function ε(ω) = ε_inter(ω) − ω_D² / (ω² + iγω).

    Shapes:
        energies (W,), eps_inter (..., W) complex, drude (...) → (..., W).

    Raises:
        InputError: γ is not a positive number.
    """
    return np.asarray(eps_inter, dtype=np.complex128) + drude_term(energies, drude, damping)
