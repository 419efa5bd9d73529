"""Tables of spectra: `.nk`, CSV and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn import optics
from dielectric_gnn.export.material import Material, spectrum_warnings, validated_spectrum
from dielectric_gnn.export.quantities import single_values, spectra
from dielectric_gnn.utils.files import write_csv, write_text
from dielectric_gnn.utils.json_values import finite_or_none

JSON_SCHEMA = 1
"""Schema version of the JSON file."""


def nk_rows(energies: ArrayLike, eps: ArrayLike) -> list[str]:
    """Return lines `wavelength n k` by increasing vacuum wavelength in µm."""
    omega, values = validated_spectrum(energies, eps)
    n, k = optics.refractive_index(values)
    table = np.stack([optics.HC_EV_NM / 1e3 / omega, n, k], axis=1)[::-1]
    return [f"{wavelength:.8g} {index:.8g} {extinction:.8g}" for wavelength, index, extinction in table.tolist()]


def write_nk(path: Path, energies: ArrayLike, eps: ArrayLike, material: Material) -> None:
    """Write three columns separated by spaces, vacuum wavelength in µm, n and k, after `#` lines.

    `numpy.loadtxt` reads it.

    Args:
        path: The file.
        energies: Photon energies (W,) in eV, increasing; an energy of 0 is left out.
        eps: Total dielectric function (W,).
        material: Name and origin.

    Raises:
        InputError: The spectrum cannot be written; see `validated_spectrum`.
    """
    rows = nk_rows(energies, eps)
    notes = _notes(energies, eps, material)
    write_text(path, "\n".join([*(f"# {note}" for note in notes), "# wavelength_um n k", *rows]) + "\n")


def write_quantities_csv(path: Path, energies: ArrayLike, eps: ArrayLike, material: Material) -> None:
    """Write all derived spectra as columns named `quantity [unit]`; single values are in the comments.

    Cells are empty where a quantity is undefined, and `inf` where it is infinite.

    Args:
        path: The file.
        energies: Photon energies (W,) in eV, increasing; an energy of 0 is left out.
        eps: Total dielectric function (W,).
        material: Name and origin.

    Raises:
        InputError: The spectrum cannot be written; see `validated_spectrum`.
    """
    omega, values = validated_spectrum(energies, eps)
    columns = spectra(omega, values)
    rows = (["" if np.isnan(cell) else f"{cell:.8g}" for cell in row] for row in zip(*columns.values(), strict=True))
    quantities = [f"{key}: {value}" for key, value in single_values(omega, values).items() if value is not None]
    write_csv(path, columns, rows, [*_notes(energies, eps, material), *quantities])


def write_quantities_json(path: Path, energies: ArrayLike, eps: ArrayLike, material: Material) -> None:
    """Write all derived quantities as JSON with keys `quantity [unit]`; undefined and infinite values are null.

    Args:
        path: The file.
        energies: Photon energies (W,) in eV, increasing; an energy of 0 is left out.
        eps: Total dielectric function (W,).
        material: Name and origin.

    Raises:
        InputError: The spectrum cannot be written; see `validated_spectrum`.
    """
    omega, values = validated_spectrum(energies, eps)
    content = {
        "schema": JSON_SCHEMA,
        "material_id": material.material_id,
        "formula": material.formula,
        "origin": material.origin,
        "direction": material.direction,
        "notes": _notes(energies, eps, material),
        "values": single_values(omega, values),
        "spectra": {
            name: [finite_or_none(float(f"{cell:.8g}")) for cell in column.tolist()]
            for name, column in spectra(omega, values).items()
        },
    }
    write_text(path, json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n")


def _notes(energies: ArrayLike, eps: ArrayLike, material: Material) -> list[str]:
    _, values = validated_spectrum(energies, eps)
    return [material.reference(), *material.remarks(), *spectrum_warnings(values)]
