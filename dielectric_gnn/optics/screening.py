"""Figures of merit for screening, one number per material each, and quality scores of a spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn import optics

PLASMONIC_WINDOW_EV = (0.5, 4.0)
"""Energies at which plasmonic quality factors are maximised: near infrared and visible."""


@dataclass(frozen=True)
class FigureOfMerit:
    """A screened property: key in files, heading of tables, and unit."""

    key: str
    heading: str
    unit: str = ""


FIGURES_OF_MERIT = (
    FigureOfMerit("luminous_reflectance", "luminous reflectance"),
    FigureOfMerit("screened_plasma_ev", "screened plasma energy", "eV"),
    FigureOfMerit("q_lsp", "localised plasmon Q", "best in 0.5-4 eV"),
    FigureOfMerit("q_lsp_ev", "localised plasmon at", "eV"),
    FigureOfMerit("q_spp", "surface plasmon Q", "best in 0.5-4 eV"),
    FigureOfMerit("q_spp_ev", "surface plasmon at", "eV"),
)
"""The results of `figures_of_merit`, in the order of the tables."""

QUALITY_SCORES = (
    FigureOfMerit("f_sum", "f-sum", "share of valence electrons"),
    FigureOfMerit("kk_residual", "Kramers-Kronig residual"),
    FigureOfMerit("gain_share", "gain", "share of energies"),
)
"""The results of `spectrum_quality`, in the order of the tables."""


def figures_of_merit(
    energies: ArrayLike,
    eps_inter: ArrayLike,
    drude: ArrayLike,
    damping: float = optics.DEFAULT_DAMPING,
    illuminant: str = optics.DEFAULT_ILLUMINANT,
    observer: optics.Observer = optics.DEFAULT_OBSERVER,
) -> dict[str, optics.FloatArray]:
    """Return figures of merit of B materials; NaN where undefined, or where a part of the response is not predicted.

    Shapes:
        energies (W,), eps_inter (B, W) complex, drude (B,) → (B,) for each key.

    Args:
        energies: Photon energies in eV.
        eps_inter: Interband dielectric function.
        drude: Drude frequency in eV.
        damping: γ of the Drude term in eV.
        illuminant: CIE illuminant of the luminous reflectance.
        observer: CIE standard observer of the luminous reflectance.
    """
    omega, eps_inter = np.asarray(energies, dtype=np.float64), np.asarray(eps_inter, dtype=np.complex128)
    eps = optics.total_dielectric_function(omega, eps_inter, drude, damping)
    window = (omega >= PLASMONIC_WINDOW_EV[0]) & (omega <= PLASMONIC_WINDOW_EV[1])
    localised, localised_at = _maximum(omega[window], optics.quality_localised(eps[:, window]))
    bound, bound_at = _maximum(omega[window], optics.quality_propagating(eps[:, window]))
    return {
        "luminous_reflectance": optics.response_colour_or_nan(omega, eps_inter, drude, damping, illuminant, observer)[
            :, 1
        ],
        "screened_plasma_ev": optics.screened_plasma_energy(omega, eps),
        "q_lsp": localised,
        "q_lsp_ev": localised_at,
        "q_spp": bound,
        "q_spp_ev": bound_at,
    }


def spectrum_quality(
    energies: ArrayLike, eps_inter: ArrayLike, drude: ArrayLike, electrons: ArrayLike, volumes: ArrayLike
) -> dict[str, optics.FloatArray]:
    """Return scores of how well the spectra of B materials obey general laws; no label is needed.

    `f_sum`: fraction of the f-sum rule within the window. `kk_residual`: relative deviation of Re ε from the
    Kramers-Kronig transform of Im ε. `gain_share`: fraction of photon energies above 0 at which Im ε < 0 (gain).

    Shapes:
        energies (W,), eps_inter (B, W) complex, drude (B,), electrons (B,), volumes (B,) → (B,) for each key; NaN
        where a part of the response is not predicted.

    Args:
        energies: Photon energies in eV.
        eps_inter: Interband dielectric function.
        drude: Drude frequency in eV.
        electrons: Valence electrons in the cell.
        volumes: Volumes of the cells in Å³.
    """
    omega, eps_inter = np.asarray(energies, dtype=np.float64), np.asarray(eps_inter, dtype=np.complex128)
    absorption = eps_inter.imag[:, omega > 0]
    finite = np.isfinite(absorption).all(axis=1)
    return {
        "f_sum": optics.sum_rule_fraction(omega, eps_inter, drude, electrons, volumes),
        "kk_residual": optics.kramers_kronig_residual(omega, eps_inter),
        "gain_share": np.where(finite, (absorption < 0).mean(axis=1), np.nan),
    }


def _maximum(energies: optics.FloatArray, quality: optics.FloatArray) -> tuple[optics.FloatArray, optics.FloatArray]:
    """Return the maximum of each row and its energy; NaN for rows without a defined value."""
    if energies.size == 0:
        return np.full(len(quality), np.nan), np.full(len(quality), np.nan)
    filled = np.where(np.isnan(quality), -np.inf, quality)
    place = filled.argmax(axis=1)
    best = np.take_along_axis(filled, place[:, None], axis=1)[:, 0]
    defined = np.isfinite(best)
    return np.where(defined, best, np.nan), np.where(defined, energies[place], np.nan)
