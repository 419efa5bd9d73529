"""From dielectric function to optical quantities: pure functions on NumPy arrays, each with its closed form.

Convention e^(-iωt): Im ε > 0 is loss. Energies are in eV. The last axis of every spectrum is photon energy;
leading axes broadcast. At ω = 0 a metal's response diverges; the functions return the limits (n, k → ∞, R → 1)
instead of NaN.

Sources: Drude term as in arXiv:2602.05702; Fresnel reflection, e.g. M. Dressel and G. Grüner, *Electrodynamics of
Solids* (Cambridge 2002); colorimetry CIE 015:2018 through colour-science.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]
ComplexArray: TypeAlias = NDArray[np.complex128]

HC_EV_NM = 1239.841984
"""Planck constant times speed of light in eV nm: wavelength = HC_EV_NM / energy."""

DEFAULT_DAMPING = 0.1
"""Drude damping γ of the published study in eV."""

VISIBLE_NM = (380.0, 780.0)
"""Wavelengths that make up colour, in nm, as in the published study."""

_COLOUR_STEP_NM = 5.0


def drude_term(energies: ArrayLike, drude: ArrayLike, damping: float = DEFAULT_DAMPING) -> ComplexArray:
    """Intraband (free-carrier) part of the dielectric function: −ω_D² / (ω² + iγω).

    Shapes:
        energies (W,), drude (...) → (..., W).

    Args:
        energies: Photon energies ω in eV.
        drude: Drude (intraband plasma) frequency ω_D in eV; zero gives exactly zero.
        damping: γ in eV.

    Returns:
        Complex spectrum; at ω = 0 its real part is the limit −ω_D²/γ² and its imaginary part is infinite.
    """
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
    """ε(ω) = ε_inter(ω) − ω_D² / (ω² + iγω).

    Shapes:
        energies (W,), eps_inter (..., W) complex, drude (...) → (..., W).
    """
    return np.asarray(eps_inter, dtype=np.complex128) + drude_term(energies, drude, damping)


def refractive_index(eps: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Refractive index n and extinction coefficient k of a non-magnetic medium: (n + ik)² = ε.

    The root has n ≥ 0; k has the sign of Im ε, so gain stays visible as k < 0.

    Shapes:
        eps (..., W) → n (..., W), k (..., W).
    """
    eps = np.asarray(eps, dtype=np.complex128)
    finite = np.isfinite(eps)
    root = np.sqrt(np.where(finite, eps, 1.0))
    infinite = np.where(np.isnan(eps), np.nan, np.inf)
    return np.where(finite, root.real, infinite), np.where(finite, root.imag, infinite)


def reflectivity(n: ArrayLike, k: ArrayLike) -> FloatArray:
    """Normal-incidence reflectivity against vacuum, R = ((n − 1)² + k²) / ((n + 1)² + k²).

    Shapes:
        n (..., W), k (..., W) → (..., W).
    """
    n = np.asarray(n, dtype=np.float64)
    k = np.asarray(k, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        value = ((n - 1.0) ** 2 + k**2) / ((n + 1.0) ** 2 + k**2)
    return np.where(np.isposinf(n) | np.isposinf(k), 1.0, value)


@cache
def _colour_weights() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Wavelengths (L,) in nm, weights (L, 3) from reflectance to CIE XYZ (Y = 1 for a mirror), white point xy."""
    import colour

    shape = colour.SpectralShape(*VISIBLE_NM, _COLOUR_STEP_NM)
    observer = colour.MSDS_CMFS["CIE 1931 2 Degree Standard Observer"].copy().align(shape)
    illuminant = colour.SDS_ILLUMINANTS["D65"].copy().align(shape)
    weights = observer.values * illuminant.values[:, None]
    weights = weights / weights[:, 1].sum()
    return np.asarray(shape.wavelengths), weights, np.asarray(colour.XYZ_to_xy(weights.sum(axis=0)))


def colour_xyz(energies: ArrayLike, reflectance: ArrayLike) -> FloatArray:
    """CIE XYZ tristimulus values of a reflecting surface under D65, CIE 1931 2° observer; Y = 1 is a mirror.

    Shapes:
        energies (W,) increasing and covering 380–780 nm (1.59–3.26 eV), reflectance (..., W) → (..., 3).

    Raises:
        ValueError: The energies do not cover the visible range.
    """
    omega = np.asarray(energies, dtype=np.float64)
    reflectance = np.asarray(reflectance, dtype=np.float64)
    wavelengths, weights, _ = _colour_weights()
    visible = HC_EV_NM / wavelengths
    if omega[0] > visible.min() or omega[-1] < visible.max():
        raise ValueError(
            f"energies span {omega[0]:g} to {omega[-1]:g} eV, but a colour needs {visible.min():.2f} to "
            f"{visible.max():.2f} eV ({VISIBLE_NM[0]:g}-{VISIBLE_NM[1]:g} nm)"
        )
    # Linear interpolation at the sample wavelengths, for all spectra at once.
    right = np.clip(np.searchsorted(omega, visible), 1, omega.size - 1)
    share = (visible - omega[right - 1]) / (omega[right] - omega[right - 1])
    sampled = reflectance[..., right - 1] * (1.0 - share) + reflectance[..., right] * share
    return np.asarray(sampled @ weights)


def colour_lab(xyz: ArrayLike) -> FloatArray:
    """CIE 1976 L*a*b* of tristimulus values (..., 3) relative to the D65 white of `colour_xyz`; L* in 0–100."""
    import colour

    return np.asarray(colour.XYZ_to_Lab(np.asarray(xyz), illuminant=_colour_weights()[2]))


def colour_srgb(xyz: ArrayLike) -> FloatArray:
    """Gamma-encoded sRGB (IEC 61966-2-1) in [0, 1] of tristimulus values (..., 3), clipped to the gamut."""
    import colour

    return np.clip(np.asarray(colour.XYZ_to_sRGB(np.asarray(xyz))), 0.0, 1.0)


def response_colour(
    energies: ArrayLike, eps_inter: ArrayLike, drude: ArrayLike, damping: float = DEFAULT_DAMPING
) -> FloatArray:
    """CIE XYZ of a thick polished sample, from interband dielectric function and Drude frequency.

    Shapes:
        energies (W,), eps_inter (..., W) complex, drude (...) → (..., 3).
    """
    omega = np.asarray(energies, dtype=np.float64)
    low, high = HC_EV_NM / VISIBLE_NM[1], HC_EV_NM / VISIBLE_NM[0]
    # One grid point beyond the visible range on each side is all that colour needs.
    window = slice(max(np.searchsorted(omega, low) - 1, 0), np.searchsorted(omega, high) + 1)
    omega = omega[window]
    eps = total_dielectric_function(omega, np.asarray(eps_inter)[..., window], drude, damping)
    return colour_xyz(omega, reflectivity(*refractive_index(eps)))


def colour_difference(first_xyz: ArrayLike, second_xyz: ArrayLike) -> FloatArray:
    """ΔE*ab (CIE 1976): Euclidean distance in L*a*b* of tristimulus values (..., 3) → (...)."""
    return np.asarray(np.linalg.norm(colour_lab(first_xyz) - colour_lab(second_xyz), axis=-1))


def hex_colour(srgb: ArrayLike) -> str:
    """`#rrggbb` of one sRGB triple in [0, 1].

    Example:
        >>> hex_colour([1.0, 0.5, 0.0])
        '#ff8000'
    """
    red, green, blue = (round(255 * float(channel)) for channel in np.asarray(srgb))
    return f"#{red:02x}{green:02x}{blue:02x}"
