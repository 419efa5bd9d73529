"""A sum of a Drude and a few Lorentz terms: the form in which time-domain programs take a dielectric function."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn import optics
from dielectric_gnn.optics import ComplexArray, FloatArray
from dielectric_gnn.utils.errors import InputError


@dataclass(frozen=True)
class DrudeLorentz:
    """ε(ω) = ε_∞ + Σ_n σ_n ω_n² / (ω_n² − ω² − iωγ_n) − ω_D² / (ω² + iωγ_D).

    Passive at every energy for σ_n ≥ 0 and dampings > 0, and causal.

    Units:
        Energies and dampings in eV.

    Args:
        eps_inf: ε_∞ ≥ 1: explicit time steps are stable only then.
        drude: ω_D ≥ 0.
        drude_damping: γ_D > 0.
        strengths: σ_n ≥ 0, the contribution of each resonance to the static ε.
        resonances: ω_n > 0.
        dampings: γ_n > 0, full widths.

    Raises:
        InputError: A value is outside these bounds.
    """

    eps_inf: float
    drude: float
    drude_damping: float
    strengths: tuple[float, ...] = ()
    resonances: tuple[float, ...] = ()
    dampings: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        positive = min((self.drude_damping, *self.resonances, *self.dampings)) > 0.0
        if not (self.eps_inf >= 1.0 and min((self.drude, *self.strengths)) >= 0.0 and positive):
            raise InputError(f"{self}: expected eps_inf >= 1, drude and strengths >= 0, resonances and dampings > 0")

    def permittivity(self, energies: ArrayLike) -> ComplexArray:
        """Return ε at photon energies (W,) > 0 in eV."""
        omega = np.asarray(energies, dtype=np.float64)
        eps = self.eps_inf - self.drude**2 / (omega**2 + 1j * self.drude_damping * omega)
        for strength, resonance, damping in zip(self.strengths, self.resonances, self.dampings, strict=True):
            eps = eps + strength * resonance**2 / (resonance**2 - omega**2 - 1j * damping * omega)
        return np.asarray(eps, dtype=np.complex128)


@dataclass(frozen=True)
class FitError:
    """Errors of a model, over the energies of a window.

    Args:
        eps: Root mean square of |Δε| / max(|ε|, 1).
        index: Root mean square of |Δ(n + ik)| / max(|n + ik|, 1).
        worst: The largest |Δε| / max(|ε|, 1).
    """

    eps: float
    index: float
    worst: float

    @classmethod
    def between(cls, model: ComplexArray, eps: ComplexArray) -> FitError:
        """Return the errors of ε (W,) of a model relative to the given ε (W,)."""
        eps_error = np.abs(model - eps) / scale(eps)
        n, k = optics.refractive_index(eps)
        model_n, model_k = optics.refractive_index(model)
        index_error = np.hypot(model_n - n, model_k - k) / scale(n + 1j * k)
        return cls(_rms(eps_error), _rms(index_error), float(eps_error.max()))


def scale(values: ComplexArray) -> FloatArray:
    """Return max(|ε|, 1), the scale of relative errors: near a zero of ε errors are absolute."""
    return np.maximum(np.abs(values), 1.0)


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
