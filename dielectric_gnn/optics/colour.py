"""The colour of a thick polished sample, from its reflectance: CIE XYZ, L*a*b* and sRGB through colour-science.

Colorimetry as in CIE 015:2018, https://doi.org/10.25039/TR.015.2018. Every function takes the illuminant and the
observer, without which tristimulus values have no meaning.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn.optics.reflection import reflectivity
from dielectric_gnn.optics.refraction import refractive_index
from dielectric_gnn.optics.response import DEFAULT_DAMPING, total_dielectric_function
from dielectric_gnn.optics.units import HC_EV_NM, FloatArray
from dielectric_gnn.utils.errors import InputError

VISIBLE_NM = (380.0, 780.0)
"""Visible wavelengths in nm, as in the published study."""

Observer: TypeAlias = Literal["2deg", "10deg"]
"""The CIE 1931 2° or the CIE 1964 10° standard observer."""

ColourDistance: TypeAlias = Literal["CIE 1976", "CIE 2000"]
"""ΔE*ab, the Euclidean distance in L*a*b*, or ΔE00, which is closer to perceived differences."""

DEFAULT_ILLUMINANT = "D65"
DEFAULT_OBSERVER: Observer = "2deg"

_COLOUR_STEP_NM = 5.0
_OBSERVERS = {"2deg": "CIE 1931 2 Degree Standard Observer", "10deg": "CIE 1964 10 Degree Standard Observer"}


@cache
def _colour_weights(illuminant: str, observer: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return wavelengths (L,) in nm, weights (L, 3) from R to CIE XYZ (Y = 1 for a mirror), and white point xy."""
    import colour

    if illuminant not in colour.SDS_ILLUMINANTS:
        raise InputError(
            f"illuminant {illuminant!r}: expected a CIE illuminant such as D65, D50, A, E or FL2; all names are in "
            "colour.SDS_ILLUMINANTS of colour-science"
        )
    if observer not in _OBSERVERS:
        raise InputError(f"observer {observer!r}: expected {' or '.join(_OBSERVERS)}")
    shape = colour.SpectralShape(*VISIBLE_NM, _COLOUR_STEP_NM)
    matching = colour.MSDS_CMFS[_OBSERVERS[observer]].copy().align(shape)
    light = colour.SDS_ILLUMINANTS[illuminant].copy().align(shape)
    weights = matching.values * light.values[:, None]
    weights = weights / weights[:, 1].sum()
    return np.asarray(shape.wavelengths), weights, np.asarray(colour.XYZ_to_xy(weights.sum(axis=0)))


def white_point(illuminant: str = DEFAULT_ILLUMINANT, observer: Observer = DEFAULT_OBSERVER) -> FloatArray:
    """Return the chromaticity xy (2,) of a perfect mirror under the illuminant."""
    return _colour_weights(illuminant, observer)[2].copy()


def colour_xyz(
    energies: ArrayLike,
    reflectance: ArrayLike,
    illuminant: str = DEFAULT_ILLUMINANT,
    observer: Observer = DEFAULT_OBSERVER,
) -> FloatArray:
    """Return the CIE XYZ tristimulus values of a reflecting surface; Y = 1 is a mirror.

    X = Σ R(λ) S(λ) x̄(λ) / Σ S(λ) ȳ(λ), and likewise Y and Z, over 380–780 nm in steps of 5 nm.

    Shapes:
        energies (W,) increasing and covering 380–780 nm (1.59–3.26 eV), reflectance (..., W) → (..., 3).

    Args:
        energies: Photon energies in eV.
        reflectance: R at normal incidence.
        illuminant: Name of a CIE illuminant: `D65` (daylight), `D50` (print), `A` (incandescent), `E`, `FL2`, …
        observer: `2deg` or `10deg`.

    Raises:
        InputError: The energies do not cover the visible range, or the illuminant or observer is unknown.
    """
    omega = np.asarray(energies, dtype=np.float64)
    reflectance = np.asarray(reflectance, dtype=np.float64)
    wavelengths, weights, _ = _colour_weights(illuminant, observer)
    visible = HC_EV_NM / wavelengths
    if omega[0] > visible.min() or omega[-1] < visible.max():
        raise InputError(
            f"energies span {omega[0]:g} to {omega[-1]:g} eV, but a colour needs {visible.min():.2f} to "
            f"{visible.max():.2f} eV ({VISIBLE_NM[0]:g}-{VISIBLE_NM[1]:g} nm); give a wider spectrum"
        )
    # Linear interpolation at the sample wavelengths, for all spectra at once.
    right = np.clip(np.searchsorted(omega, visible), 1, omega.size - 1)
    fraction = (visible - omega[right - 1]) / (omega[right] - omega[right - 1])
    sampled = reflectance[..., right - 1] * (1.0 - fraction) + reflectance[..., right] * fraction
    return np.asarray(sampled @ weights)


def colour_lab(
    xyz: ArrayLike, illuminant: str = DEFAULT_ILLUMINANT, observer: Observer = DEFAULT_OBSERVER
) -> FloatArray:
    """Return CIE 1976 L*a*b* of tristimulus values (..., 3) relative to the white of `colour_xyz`; L* in 0–100."""
    import colour

    return np.asarray(colour.XYZ_to_Lab(np.asarray(xyz), illuminant=_colour_weights(illuminant, observer)[2]))


def colour_srgb(
    xyz: ArrayLike, illuminant: str = DEFAULT_ILLUMINANT, observer: Observer = DEFAULT_OBSERVER
) -> FloatArray:
    """Return gamma-encoded sRGB (IEC 61966-2-1) in [0, 1] of tristimulus values (..., 3), clipped to the gamut.

    sRGB is defined for D65 and the 2° observer; from other white points the values are adapted (CAT02), so that white
    under the illuminant is displayed as white.
    """
    import colour

    if (illuminant, observer) == (DEFAULT_ILLUMINANT, DEFAULT_OBSERVER):
        rgb = colour.XYZ_to_sRGB(np.asarray(xyz))
    else:
        rgb = colour.XYZ_to_sRGB(np.asarray(xyz), illuminant=_colour_weights(illuminant, observer)[2])
    return np.clip(np.asarray(rgb), 0.0, 1.0)


def response_colour(
    energies: ArrayLike,
    eps_inter: ArrayLike,
    drude: ArrayLike,
    damping: float = DEFAULT_DAMPING,
    illuminant: str = DEFAULT_ILLUMINANT,
    observer: Observer = DEFAULT_OBSERVER,
) -> FloatArray:
    """Return CIE XYZ of a thick polished sample, from interband dielectric function and Drude frequency.

    Shapes:
        energies (W,), eps_inter (..., W) complex, drude (...) → (..., 3).
    """
    omega = np.asarray(energies, dtype=np.float64)
    low, high = HC_EV_NM / VISIBLE_NM[1], HC_EV_NM / VISIBLE_NM[0]
    # Interpolation needs one grid point beyond the visible range on each side.
    window = slice(max(np.searchsorted(omega, low) - 1, 0), np.searchsorted(omega, high) + 1)
    omega = omega[window]
    eps = total_dielectric_function(omega, np.asarray(eps_inter)[..., window], drude, damping)
    return colour_xyz(omega, reflectivity(*refractive_index(eps)), illuminant, observer)


def covers_visible(energies: ArrayLike) -> bool:
    """Return whether photon energies (eV, increasing) cover 780 to 380 nm, which a colour needs."""
    omega = np.asarray(energies, dtype=np.float64)
    low, high = HC_EV_NM / VISIBLE_NM[1], HC_EV_NM / VISIBLE_NM[0]
    return bool(omega.size and omega[0] <= low and omega[-1] >= high)


def response_colour_or_nan(
    energies: ArrayLike,
    eps_inter: ArrayLike,
    drude: ArrayLike,
    damping: float = DEFAULT_DAMPING,
    illuminant: str = DEFAULT_ILLUMINANT,
    observer: Observer = DEFAULT_OBSERVER,
) -> FloatArray:
    """Return `response_colour`, or NaN (..., 3) if the energies do not cover the visible range."""
    if covers_visible(energies):
        return response_colour(energies, eps_inter, drude, damping, illuminant, observer)
    return np.full((*np.shape(drude), 3), np.nan)


def colour_difference(
    first_xyz: ArrayLike,
    second_xyz: ArrayLike,
    illuminant: str = DEFAULT_ILLUMINANT,
    observer: Observer = DEFAULT_OBSERVER,
    method: ColourDistance = "CIE 1976",
) -> FloatArray:
    """Return ΔE of tristimulus values (..., 3) → (...), both under the same illuminant and observer.

    Args:
        first_xyz: The first colour.
        second_xyz: The second colour.
        illuminant: As in `colour_xyz`.
        observer: As in `colour_xyz`.
        method: `CIE 1976`: Euclidean distance in L*a*b*; about 2.3 is just noticeable. `CIE 2000`: ISO/CIE 11664-6,
            more uniform for saturated colours; about 1 is just noticeable.

    Raises:
        InputError: The method is unknown.
    """
    if method not in get_args(ColourDistance):
        raise InputError(f"method {method!r}: expected one of {', '.join(get_args(ColourDistance))}")
    first, second = (colour_lab(xyz, illuminant, observer) for xyz in (first_xyz, second_xyz))
    if method == "CIE 1976":
        return np.asarray(np.linalg.norm(first - second, axis=-1))
    import colour

    return np.asarray(colour.delta_E(first, second, method=method))


def hex_colour(srgb: ArrayLike) -> str:
    """Return `#rrggbb` of one sRGB triple in [0, 1].

    Example:
        >>> hex_colour([1.0, 0.5, 0.0])
        '#ff8000'
    """
    red, green, blue = (round(255 * float(channel)) for channel in np.asarray(srgb))
    return f"#{red:02x}{green:02x}{blue:02x}"
