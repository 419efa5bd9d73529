"""Array types and the constants that turn photon energies in eV into lengths, rates and conductivities."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
ComplexArray: TypeAlias = NDArray[np.complex128]

HC_EV_NM = 1239.841984
"""Planck constant times speed of light in eV nm: wavelength = HC_EV_NM / energy."""

HBAR_C_EV_NM = HC_EV_NM / (2.0 * np.pi)
"""Reduced Planck constant times speed of light in eV nm: vacuum wave number = energy / HBAR_C_EV_NM."""

SIEMENS_PER_METRE_EV = 8.8541878188e-12 * 1.602176634e-19 / 1.054571817e-34
"""ε₀e/ħ (CODATA 2022): an energy in eV, read as an angular frequency, times ε₀, in S/m."""

PLASMA_EV2_ANGSTROM3 = 1378.8423
"""ħ²e²/(ε₀mₑ) in eV² Å³ (CODATA 2022): the squared plasma energy of one electron per Å³."""
