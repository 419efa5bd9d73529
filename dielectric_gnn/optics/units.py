"""Array types and the constants that turn photon energies in eV into lengths, rates and conductivities (CODATA)."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import constants

FloatArray: TypeAlias = NDArray[np.float64]
ComplexArray: TypeAlias = NDArray[np.complex128]

HC_EV_NM = constants.h * constants.c / constants.e * 1e9
"""Planck constant times speed of light in eV nm: wavelength = HC_EV_NM / energy."""

HBAR_C_EV_NM = HC_EV_NM / (2.0 * np.pi)
"""Reduced Planck constant times speed of light in eV nm: vacuum wave number = energy / HBAR_C_EV_NM."""

SIEMENS_PER_METRE_EV = constants.epsilon_0 * constants.e / constants.hbar
"""ε₀e/ħ: an energy in eV, read as an angular frequency, times ε₀, in S/m."""

PLASMA_EV2_ANGSTROM3 = constants.hbar**2 / (constants.epsilon_0 * constants.m_e) * 1e30
"""ħ²e²/(ε₀mₑ) in eV² Å³: the squared plasma energy of one electron per Å³."""
