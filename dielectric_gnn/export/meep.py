"""A material for Meep, the time-domain electromagnetic simulator: a Python file with a Drude-Lorentz medium."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from numpy.typing import ArrayLike

from dielectric_gnn.export.drude_lorentz import DrudeLorentz
from dielectric_gnn.export.fitting import FIT_WINDOW_EV, Fit, fit_drude_lorentz
from dielectric_gnn.export.material import Material, spectrum_warnings, validated_spectrum
from dielectric_gnn.optics import HC_EV_NM
from dielectric_gnn.utils.files import write_text

EV_PER_FREQUENCY = HC_EV_NM / 1e3
"""Photon energy in eV at frequency 1 in Meep's units for lengths in µm: f = 1/λ."""

_SCRIPT = '''\
"""A medium for Meep with lengths in um: frequencies are 1/wavelength in 1/um. MEDIUM states its origin and fit error.

permittivity(f) does not need Meep, so that the fit can be checked anywhere; medium() returns the meep.Medium. If Meep
reports an unstable simulation, raise the resolution: the highest resonance is at {highest:.4g} / um.
"""

import json

MEDIUM = json.loads{content}


def permittivity(frequency):
    """The complex dielectric function at a frequency (number or NumPy array) in 1/um; Im > 0 is loss."""
    eps = MEDIUM["epsilon"]
    for term in MEDIUM["drude"]:
        eps = eps - term["sigma"] * term["frequency"] ** 2 / (frequency**2 + 1j * frequency * term["gamma"])
    for term in MEDIUM["lorentz"]:
        square = term["frequency"] ** 2
        eps = eps + term["sigma"] * square / (square - frequency**2 - 1j * frequency * term["gamma"])
    return eps


def medium():
    """The meep.Medium, valid within MEDIUM["valid_frequency"]."""
    import meep

    poles = [meep.DrudeSusceptibility(**term) for term in MEDIUM["drude"]]
    poles += [meep.LorentzianSusceptibility(**term) for term in MEDIUM["lorentz"]]
    valid = meep.FreqRange(*MEDIUM["valid_frequency"])
    return meep.Medium(epsilon=MEDIUM["epsilon"], E_susceptibilities=poles, valid_freq_range=valid)
'''


def write_meep(
    path: Path,
    energies: ArrayLike,
    eps: ArrayLike,
    material: Material,
    window: tuple[float, float] = FIT_WINDOW_EV,
    max_resonances: int = 8,
) -> None:
    """Write a Python file that defines a `meep.Medium`, fitted to ε in a window, with the error of the fit.

    Meep's ε(f) = ε_∞ + Σ σ f_n² / (f_n² − f² − ifγ_n), with −σ f_D² / (f² + ifγ_D) for free carriers; frequencies and γ
    are energies over hc/1 µm = 1.2398 eV. The model is passive at every frequency.

    Args:
        path: The file.
        energies: Photon energies (W,) in eV, increasing; an energy of 0 is left out.
        eps: Total dielectric function (W,).
        material: Name and origin.
        window: Energies of the fit in eV.
        max_resonances: Maximum number of Lorentz terms.

    Raises:
        InputError: The spectrum cannot be written, or fewer than 5 energies are in the window.

    Source:
        A. F. Oskooi et al., Comput. Phys. Commun. 181, 687 (2010), doi:10.1016/j.cpc.2009.11.008, and Meep's manual,
        "Materials".
    """
    omega, values = validated_spectrum(energies, eps)
    fit = fit_drude_lorentz(omega, values, window, max_resonances)
    inside = (omega >= fit.window[0]) & (omega <= fit.window[1])
    notes = [material.reference(), *material.remarks(), *spectrum_warnings(values[inside])]
    content = json.dumps(_content(fit, material, notes), ensure_ascii=True, allow_nan=False, indent=1)
    highest = max((fit.model.drude, *fit.model.resonances)) / EV_PER_FREQUENCY
    # JSON within a Python literal: text from a data set cannot become code.
    write_text(path, _SCRIPT.format(content=_literal(content), highest=highest))


def _content(fit: Fit, material: Material, notes: list[str]) -> Mapping[str, object]:
    model = fit.model
    return {
        "material_id": material.material_id,
        "formula": material.formula,
        "origin": material.origin,
        "direction": material.direction,
        "notes": notes,
        "length_unit": "um",
        "epsilon": model.eps_inf,
        "drude": _drude(model),
        "lorentz": [
            _term(place, damping, strength)
            for strength, place, damping in zip(model.strengths, model.resonances, model.dampings, strict=True)
        ],
        "valid_frequency": [energy / EV_PER_FREQUENCY for energy in fit.window],
        "fit": {
            "window_ev": list(fit.window),
            "rms_relative_error_eps": fit.error.eps,
            "rms_relative_error_n_k": fit.error.index,
            "largest_relative_error_eps": fit.error.worst,
            "definition": "|difference| / max(|value|, 1), of eps and of n + ik, over the energies in the window",
        },
    }


def _drude(model: DrudeLorentz) -> list[dict[str, float]]:
    return [_term(model.drude, model.drude_damping, 1.0)] if model.drude > 0.0 else []


def _term(energy: float, damping: float, sigma: float) -> dict[str, float]:
    return {"frequency": energy / EV_PER_FREQUENCY, "gamma": damping / EV_PER_FREQUENCY, "sigma": sigma}


def _literal(text: str) -> str:
    """Return a Python string literal over several lines."""
    lines = [f"    {line + chr(10)!r}" for line in text.split("\n")]
    return "(\n" + "\n".join(lines) + "\n)"
