"""Fitting a passive Drude-Lorentz model to a dielectric function."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn.export.drude_lorentz import DrudeLorentz, FitError, scale
from dielectric_gnn.export.material import validated_spectrum
from dielectric_gnn.optics import ComplexArray, FloatArray
from dielectric_gnn.utils.errors import InputError

FIT_WINDOW_EV = (0.5, 6.0)
"""Near infrared to near ultraviolet, the usual range of time-domain simulations of metals."""

_DRUDE_DAMPINGS = np.geomspace(0.003, 3.0, 16)
_MIN_DRUDE_DAMPING, _MAX_DAMPING = 1e-3, 20.0


class Fit(NamedTuple):
    """A model, its error, and the energies in eV between which it was fitted and may be used."""

    model: DrudeLorentz
    error: FitError
    window: tuple[float, float]


def fit_drude_lorentz(
    energies: ArrayLike,
    eps: ArrayLike,
    window: tuple[float, float] = FIT_WINDOW_EV,
    max_resonances: int = 8,
    tolerance: float = 0.01,
) -> Fit:
    """Fit a passive Drude-Lorentz model to ε in a window of energies.

    The fit starts from non-negative least squares over Drude terms of fixed dampings and a constant. Then it adds the
    resonance of a dictionary that reduces the misfit most, refines all parameters within their bounds (least squares
    with exact derivatives), and repeats this until the error is below the tolerance or the number of resonances is
    reached. Errors are relative to max(|ε|, 1), so that the visible range has weight beside the large ε of the
    infrared.

    Shapes:
        energies (W,), eps (W,).

    Args:
        energies: Photon energies in eV, increasing.
        eps: Total dielectric function.
        window: Lowest and highest energy of the fit, in eV.
        max_resonances: Maximum number of Lorentz terms; each costs memory and time in a simulation.
        tolerance: Relative rms error of ε at which the fit ends.

    Raises:
        InputError: The window contains fewer than 5 energies, or the spectrum cannot be used.
    """
    omega, values = validated_spectrum(energies, eps)
    inside = (omega >= window[0]) & (omega <= window[1])
    omega, values = omega[inside], values[inside]
    if omega.size < 5:
        raise InputError(
            f"the fit window {window[0]:g} to {window[1]:g} eV contains {omega.size} energies: expected at least 5; "
            "give a window within the spectrum"
        )
    weights = 1.0 / scale(values)
    parameters = _fit_drude(omega, values, weights)
    error = FitError.between(_evaluate(parameters, omega)[0], values)
    for _ in range(max_resonances):
        if error.eps <= tolerance:
            break
        added = _add_resonance(parameters, omega, values, weights)
        if added is None:
            break
        parameters = _refine(added, omega, values, weights)
        error = FitError.between(_evaluate(parameters, omega)[0], values)
    model = _to_model(parameters)
    return Fit(model, FitError.between(model.permittivity(omega), values), (float(omega[0]), float(omega[-1])))


def _fit_drude(omega: FloatArray, eps: ComplexArray, weights: FloatArray) -> FloatArray:
    """Return parameters (ε_∞, ω_D², γ_D) by non-negative least squares over a set of γ_D, then refined."""
    from scipy.optimize import nnls

    columns = [np.ones(omega.size, dtype=np.complex128)]
    columns += [-1.0 / (omega**2 + 1j * damping * omega) for damping in _DRUDE_DAMPINGS]
    found, _ = nnls(_stack_real_imag(np.stack(columns) * weights).T, _stack_real_imag((eps - 1.0) * weights))
    drude = found[1:]
    damping = float(drude @ _DRUDE_DAMPINGS / drude.sum()) if drude.any() else 0.1
    return _refine(np.array([1.0 + found[0], drude.sum(), damping]), omega, eps, weights)


def _add_resonance(
    parameters: FloatArray, omega: FloatArray, eps: ComplexArray, weights: FloatArray
) -> FloatArray | None:
    """Return the parameters with one more resonance (S = σω_n², ω_n, γ_n), or None if none reduces the misfit."""
    centres = np.geomspace(0.5 * omega[0], 2.0 * omega[-1], 80)
    places, widths = (grid.reshape(-1, 1) for grid in np.meshgrid(centres, np.geomspace(0.05, 5.0, 12)))
    terms = np.asarray(weights / (places**2 - omega**2 - 1j * widths * omega), dtype=np.complex128)
    candidates = _stack_real_imag(terms)
    misfit = _stack_real_imag((eps - _evaluate(parameters, omega)[0]) * weights)
    overlap = candidates @ misfit
    gain = np.where(overlap > 0.0, overlap, 0.0) ** 2 / (candidates**2).sum(axis=1)
    best = int(np.argmax(gain))
    if gain[best] == 0.0:
        return None
    strength = overlap[best] / (candidates[best] @ candidates[best])
    return np.concatenate([parameters, [strength, places[best, 0], widths[best, 0]]])


def _refine(parameters: FloatArray, omega: FloatArray, eps: ComplexArray, weights: FloatArray) -> FloatArray:
    from scipy.optimize import least_squares

    terms = (parameters.size - 3) // 3
    # A resonance narrower than the spacing of the data would fit the points and spike between them.
    narrowest = float(np.median(np.diff(omega)))
    lower = np.array([1.0, 0.0, _MIN_DRUDE_DAMPING] + [0.0, 0.25 * omega[0], narrowest] * terms)
    upper = np.array([np.inf, np.inf, _MAX_DAMPING] + [np.inf, 3.0 * omega[-1], _MAX_DAMPING] * terms)
    # The solver needs a start strictly inside the bounds.
    start = np.clip(parameters, lower + 1e-6, upper - 1e-6)
    found = least_squares(
        lambda p: _stack_real_imag((_evaluate(p, omega)[0] - eps) * weights),
        start,
        jac=lambda p: _stack_real_imag(_evaluate(p, omega)[1] * weights).T,
        bounds=(lower, upper),
        x_scale="jac",
        max_nfev=300,
    )
    return np.asarray(found.x, dtype=np.float64)


def _evaluate(parameters: FloatArray, omega: FloatArray) -> tuple[ComplexArray, ComplexArray]:
    """Return ε (W,) and its derivatives with respect to the parameters (P, W)."""
    constant, drude, damping = parameters[:3]
    free = 1.0 / (omega**2 + 1j * damping * omega)
    eps = constant - drude * free
    slopes = [np.ones(omega.size, dtype=np.complex128), -free, drude * free**2 * 1j * omega]
    for strength, place, width in parameters[3:].reshape(-1, 3):
        term = 1.0 / (place**2 - omega**2 - 1j * width * omega)
        eps = eps + strength * term
        slopes += [term, -strength * term**2 * 2.0 * place, strength * term**2 * 1j * omega]
    return np.asarray(eps), np.stack(slopes)


def _to_model(parameters: FloatArray) -> DrudeLorentz:
    """Return the model, without resonances of zero strength and sorted by energy."""
    terms = sorted(parameters[3:].reshape(-1, 3).tolist(), key=lambda term: term[1])
    kept = [term for term in terms if term[0] > 1e-9]
    return DrudeLorentz(
        eps_inf=float(parameters[0]),
        drude=float(np.sqrt(parameters[1])),
        drude_damping=float(parameters[2]),
        strengths=tuple(strength / place**2 for strength, place, _ in kept),
        resonances=tuple(place for _, place, _ in kept),
        dampings=tuple(width for _, _, width in kept),
    )


def _stack_real_imag(values: ComplexArray) -> FloatArray:
    """Return real and imaginary parts concatenated on the last axis."""
    return np.concatenate([values.real, values.imag], axis=-1)
