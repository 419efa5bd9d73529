"""Kramers-Kronig relations: Re ε from Im ε, and a score of causality that needs no label.

Re ε(ω) = 1 + (2/π) P∫₀^∞ ω' Im ε(ω') / (ω'² − ω²) dω'. Im ε is interpolated linearly between the energies, for which
the principal value has a closed form: no singularity is sampled or cut out. On an even grid the linear pieces go
through Im ε minus a twelfth of its second difference, which makes the transform exact to fourth order.

Beyond the window Im ε is unknown. It is continued from its last value by linear pieces between increasingly spaced
energies; their heights ≥ 0 are fitted to Re ε, as is a constant ≥ 0 for still higher energies. Within the window the
contribution of this tail is smooth and rises with energy, so that it cannot compensate for a wrong shape or scale.

Source: V. Lucarini et al., *Kramers-Kronig Relations in Optical Materials Research* (Springer 2005),
doi:10.1007/b138913.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn.optics.units import FloatArray
from dielectric_gnn.utils.errors import InputError

_TAIL = (1.005, 1.01, 1.02, 1.04, 1.07, 1.12, 1.25, 1.45, 1.8, 2.4, 3.5, 6.0, 12.0)
"""Energies of the tail in units of the end of the window; Im ε is fitted at all but the last, where it is zero."""


class _Transform(NamedTuple):
    """From Im ε (W,) and the heights of the tail (T,) to Re ε − 1 (W,): Re = window @ Im + tail @ heights."""

    window: FloatArray
    tail: FloatArray
    tail_q: FloatArray
    tail_r: FloatArray
    even: bool


def kramers_kronig_real(energies: ArrayLike, eps: ArrayLike) -> FloatArray:
    """Return Re ε that follows from Im ε, with the tail above the window that fits the given Re ε best.

    Shapes:
        energies (W,) increasing from ≥ 0, eps (..., W) → (..., W).

    Args:
        energies: Photon energies in eV. Below the first one Im ε falls linearly to zero.
        eps: A response without free carriers (ε_inter): the 1/ω of a Drude term cannot be integrated from a table.

    Returns:
        Re ε; NaN for spectra that are not finite.

    Raises:
        InputError: There are fewer than 3 energies, they do not increase from ≥ 0, or ε has another number of them.

    Source:
        See the module.
    """
    from scipy.optimize import nnls

    omega, eps = np.asarray(energies, dtype=np.float64), np.asarray(eps, dtype=np.complex128)
    _check_spectrum(omega, eps)
    transform = _transform(omega.tobytes())
    spectra = eps.reshape(-1, omega.size)
    real = 1.0 + _corrected_heights(spectra.imag, transform.even) @ transform.window.T
    # The tail is fitted in the few coordinates of its QR decomposition.
    for row in range(len(spectra)):
        missing = transform.tail_q.T @ (spectra[row].real - real[row])
        if np.isfinite(missing).all():
            real[row] += transform.tail @ nnls(transform.tail_r, missing)[0]
        else:
            real[row] = np.nan
    return real.reshape(eps.shape)


def kramers_kronig_matrix(energies: ArrayLike) -> FloatArray:
    """Return the matrix M of the transform as a linear map: Re ε − 1 = M @ Im ε, plus what lies above the window.

    Above the last energy, Im ε is continued by its last value times (ω_last / ω)³, by linear pieces up to twelve times
    the window. Whatever is missing there varies slowly within the window.

    Shapes:
        energies (W,) increasing from ≥ 0 → (W, W).

    Args:
        energies: Photon energies in eV. Below the first one Im ε falls linearly to zero.

    Returns:
        M, dimensionless.

    Raises:
        InputError: There are fewer than 3 energies, or they do not increase from ≥ 0.

    Source:
        See the module.
    """
    omega = np.asarray(energies, dtype=np.float64)
    _check_spectrum(omega, omega)
    transform = _transform(omega.tobytes())
    matrix = transform.window.copy()
    if transform.even:  # `_corrected_heights`, applied to the columns
        twelfth = transform.window[:, 1:-1] / 12.0
        matrix[:, :-2] -= twelfth
        matrix[:, 1:-1] += 2.0 * twelfth
        matrix[:, 2:] -= twelfth
    heights = np.array(_TAIL[:-1]) ** -3
    matrix[:, -1] += transform.tail[:, : heights.size] @ heights
    return matrix


def kramers_kronig_residual(energies: ArrayLike, eps: ArrayLike) -> FloatArray:
    """Return the relative deviation of Re ε from the Kramers-Kronig transform of Im ε, ‖Re ε − Re ε_KK‖ / ‖Re ε − 1‖.

    It is about 1e-3 or less for causal spectra; Re ε scaled by 1.2, or Im ε of another material, gives 0.1 or more.

    Shapes:
        energies (W,) increasing from ≥ 0, eps (..., W) → (...).

    Args:
        energies: Photon energies in eV.
        eps: Interband dielectric function, as in `kramers_kronig_real`.

    Returns:
        The residual, dimensionless; 0 for vacuum, NaN for spectra that are not finite.

    Raises:
        InputError: As for `kramers_kronig_real`.

    Source:
        See the module.
    """
    eps = np.asarray(eps, dtype=np.complex128)
    distance = np.linalg.norm(eps.real - kramers_kronig_real(energies, eps), axis=-1)
    size = np.linalg.norm(eps.real - 1.0, axis=-1)
    return np.where(distance == 0.0, 0.0, distance / np.where(size == 0.0, np.finfo(float).tiny, size))


def _check_spectrum(omega: FloatArray, eps: ArrayLike) -> None:
    if omega.ndim != 1 or omega.size < 3 or not omega[0] >= 0.0 or not np.all(np.diff(omega) > 0.0):
        raise InputError("energies: expected at least 3, increasing from 0 eV or more; sort them and drop duplicates")
    if np.shape(eps)[-1:] != omega.shape:
        raise InputError(f"eps of shape {np.shape(eps)}: expected {omega.size} energies on the last axis")


def _corrected_heights(imaginary: FloatArray, even: bool) -> FloatArray:
    """Return heights of linear pieces whose transform equals that of the smooth curve to fourth order."""
    if not even:
        return imaginary
    sharp = imaginary.copy()
    sharp[:, 1:-1] -= (imaginary[:, 2:] - 2.0 * imaginary[:, 1:-1] + imaginary[:, :-2]) / 12.0
    return sharp


@lru_cache(maxsize=2)
def _transform(energies: bytes) -> _Transform:
    """Return the matrices of a grid, tens of MB for 2001 energies; two grids are cached."""
    omega = np.frombuffer(energies, dtype=np.float64)
    inside = omega if omega[0] == 0.0 else np.concatenate([[0.0], omega])
    nodes = np.concatenate([inside, omega[-1] * np.array(_TAIL)])
    # The transform of a linear hat function of height 1, continued as odd to negative energies, is the second divided
    # difference of this: the second derivative of a hat consists of three delta functions, integrated with x ln|x|.
    kernel = _x_log_x(nodes - omega[:, None]) + _x_log_x(nodes + omega[:, None])
    hats = np.diff(np.diff(kernel, axis=1) / np.diff(nodes), axis=1) / np.pi
    # hats[:, i] belongs to node i + 1. At 0 the odd Im ε is zero.
    num_inside = inside.size - 1
    window = hats[:, :num_inside]
    if omega[0] == 0.0:
        window = np.concatenate([np.zeros((omega.size, 1)), window], axis=1)
    tail = np.concatenate([hats[:, num_inside:], np.ones((omega.size, 1))], axis=1)
    steps = np.diff(omega)
    return _Transform(window, tail, *np.linalg.qr(tail), bool(np.ptp(steps) < 1e-6 * steps.mean()))


def _x_log_x(x: FloatArray) -> FloatArray:
    size = np.abs(x)
    return np.asarray(x * np.log(size, where=size > 0.0, out=np.zeros_like(size)))
