"""Fresnel reflection from a thick, flat, isotropic sample: at normal incidence, and at any angle."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn.optics.units import ComplexArray, FloatArray
from dielectric_gnn.utils.errors import InputError

Polarisation: TypeAlias = Literal["s", "p", "unpolarised"]
"""The electric field is perpendicular to the plane of incidence (s), within it (p), or equal parts of both."""


def reflectivity(n: ArrayLike, k: ArrayLike) -> FloatArray:
    """Return the reflectivity at normal incidence in vacuum, R = ((n − 1)² + k²) / ((n + 1)² + k²).

    Shapes:
        n (..., W), k (..., W) → (..., W).
    """
    n = np.asarray(n, dtype=np.float64)
    k = np.asarray(k, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        value = ((n - 1.0) ** 2 + k**2) / ((n + 1.0) ** 2 + k**2)
    return np.where(np.isposinf(n) | np.isposinf(k), 1.0, value)


def oblique_reflectivity(
    eps: ArrayLike, angle: ArrayLike, polarisation: Polarisation = "unpolarised", ambient_index: float = 1.0
) -> FloatArray:
    """Return the reflectivity at an angle of incidence, from a transparent ambient of index n₀.

    With q = √(ε − n₀² sin²θ), the normal component of the wave vector inside in units of ω/c:
    r_s = (n₀ cosθ − q) / (n₀ cosθ + q), r_p = (cosθ − n₀ q/ε) / (cosθ + n₀ q/ε), R = |r|²; unpolarised light
    has the mean of the two.

    Shapes:
        eps (..., W), angle: scalar or anything that broadcasts against eps → their broadcast shape.

    Units:
        angle in degrees from the normal.

    Args:
        eps: Total dielectric function; where it is infinite (a metal at ω = 0), R is 1.
        angle: θ in the ambient, 0 to 90.
        polarisation: `s`, `p` or `unpolarised`.
        ambient_index: n₀ > 0, real.

    Returns:
        R, within [0, 1] for every passive medium (Im ε ≥ 0), without rounding errors beyond these bounds.

    Raises:
        InputError: An angle is outside 0 to 90, the polarisation is unknown, or the ambient index is not positive.

    Source:
        M. Born and E. Wolf, *Principles of Optics* (Cambridge 1999), doi:10.1017/CBO9781139644181.

    Example:
        >>> brewster = np.degrees(np.arctan(1.5))
        >>> bool(oblique_reflectivity(1.5**2, brewster, "p") < 1e-30)
        True
    """
    theta = np.deg2rad(_validated_angle(angle))
    if polarisation not in get_args(Polarisation):
        raise InputError(f"polarisation {polarisation!r}: expected one of {', '.join(get_args(Polarisation))}")
    index = validated_ambient_index(ambient_index)
    eps = np.asarray(eps, dtype=np.complex128)
    finite = np.isfinite(eps)
    # Adding 0j turns Im ε = −0.0 into +0.0, which puts the root on the decaying branch.
    inside = np.where(finite, eps, 1.0) + 0j
    cosine = np.cos(theta)
    # ε − n₀² sin²θ, written so that ε = n₀² gives R = 0 exactly at any angle.
    normal = np.sqrt((inside - index**2) + (index * cosine) ** 2)
    parts = []
    if polarisation != "p":
        parts.append(_reflected(index * cosine, normal))
    if polarisation != "s":
        parts.append(_reflected(cosine, _p_admittance(inside, normal, index)))
    value = np.mean(parts, axis=0)
    return np.where(finite, value, np.where(np.isnan(eps), np.nan, 1.0))


def _p_admittance(eps: ComplexArray, normal: ComplexArray, index: float) -> ComplexArray:
    """Return n₀ q/ε; its real part, the energy flow into the medium, is not negative for a passive medium."""
    zero = np.asarray(eps == 0.0)
    # At ε → 0 nothing is transmitted: an admittance without real part gives R = 1.
    ratio = np.where(zero, 1j, index * normal / np.where(zero, 1.0, eps))
    clipped = np.where(eps.imag >= 0.0, np.maximum(ratio.real, 0.0), ratio.real)
    return np.asarray(clipped + 1j * ratio.imag)


def _reflected(outside: FloatArray, inside: ComplexArray) -> FloatArray:
    """Return |a − z|² / |a + z|² for a real a ≥ 0, as sums of squares, so that it is at most 1 for Re z ≥ 0."""
    imaginary = inside.imag**2
    return np.asarray(((outside - inside.real) ** 2 + imaginary) / ((outside + inside.real) ** 2 + imaginary))


def _validated_angle(angle: ArrayLike) -> FloatArray:
    degrees = np.asarray(angle, dtype=np.float64)
    wrong = degrees[~((degrees >= 0.0) & (degrees <= 90.0))]
    if wrong.size:
        raise InputError(f"angle {wrong.flat[0]:g}: expected 0 to 90 degrees from the surface normal")
    return degrees


def validated_ambient_index(index: float) -> float:
    """Return the refractive index of the transparent medium in front of the sample, if it is positive."""
    if not (np.isfinite(index) and index > 0.0):
        raise InputError(f"ambient_index {index!r}: expected a real number above 0; 1 is vacuum, 1.33 is water")
    return float(index)
