"""One number per material for each property that people screen for, and some that say how far to trust a spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn import optics

PLASMONIC_WINDOW_EV = (0.5, 4.0)
"""Where plasmonic quality factors are maximised: near infrared and visible."""


@dataclass(frozen=True)
class Figure:
    """One screened property: its key in files, its heading for people, and its unit."""

    key: str
    heading: str
    unit: str = ""


FIGURES = (
    Figure("luminous_reflectance", "luminous reflectance"),
    Figure("screened_plasma_ev", "screened plasma energy", "eV"),
    Figure("q_lsp", "localised plasmon Q", "best in 0.5-4 eV"),
    Figure("q_lsp_ev", "localised plasmon at", "eV"),
    Figure("q_spp", "surface plasmon Q", "best in 0.5-4 eV"),
    Figure("q_spp_ev", "surface plasmon at", "eV"),
)
"""What `figures_of_merit` gives, in the order of the tables."""

QUALITY = (
    Figure("f_sum", "f-sum", "share of valence electrons"),
    Figure("kk_residual", "Kramers-Kronig residual"),
    Figure("gain_share", "gain", "share of energies"),
)
"""What `spectrum_quality` gives, in the order of the tables."""


def figures_of_merit(
    energies: ArrayLike,
    eps_inter: ArrayLike,
    drude: ArrayLike,
    damping: float = optics.DEFAULT_DAMPING,
    illuminant: str = optics.DEFAULT_ILLUMINANT,
    observer: optics.Observer = optics.DEFAULT_OBSERVER,
) -> dict[str, optics.FloatArray]:
    """Figures of merit of B materials; NaN where one is undefined, or where its part of the response is not predicted.

    Shapes:
        energies (W,), eps_inter (B, W) complex, drude (B,) → (B,) for each key.

    Args:
        energies: Photon energies in eV.
        eps_inter: Interband dielectric function.
        drude: Drude frequency in eV.
        damping: γ of the Drude term in eV.
        illuminant: Light by which the luminous reflectance is seen.
        observer: And by whom.
    """
    omega, eps_inter = np.asarray(energies, dtype=np.float64), np.asarray(eps_inter, dtype=np.complex128)
    eps = optics.total_dielectric_function(omega, eps_inter, drude, damping)
    window = (omega >= PLASMONIC_WINDOW_EV[0]) & (omega <= PLASMONIC_WINDOW_EV[1])
    localised, localised_at = _best(omega[window], optics.quality_localised(eps[:, window]))
    bound, bound_at = _best(omega[window], optics.quality_propagating(eps[:, window]))
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
    """How far the spectra of B materials keep the laws that every response obeys; no label is needed.

    `f_sum`: share of the f-sum rule within the window. `kk_residual`: relative distance of Re ε from the causal partner
    of Im ε. `gain_share`: share of photon energies above 0 at which Im ε < 0, where a passive crystal would emit light.

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
    known = np.isfinite(absorption).all(axis=1)
    return {
        "f_sum": optics.sum_rule_fraction(omega, eps_inter, drude, electrons, volumes),
        "kk_residual": optics.kramers_kronig_residual(omega, eps_inter),
        "gain_share": np.where(known, (absorption < 0).mean(axis=1), np.nan),
    }


def _best(energies: optics.FloatArray, quality: optics.FloatArray) -> tuple[optics.FloatArray, optics.FloatArray]:
    """The largest value of each row and its energy; NaN where nothing is defined."""
    if energies.size == 0:
        return np.full(len(quality), np.nan), np.full(len(quality), np.nan)
    known = np.where(np.isnan(quality), -np.inf, quality)
    place = known.argmax(axis=1)
    best = np.take_along_axis(known, place[:, None], axis=1)[:, 0]
    defined = np.isfinite(best)
    return np.where(defined, best, np.nan), np.where(defined, energies[place], np.nan)
