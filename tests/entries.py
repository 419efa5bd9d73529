"""JSON entries: with spectra in closed form, one Lorentz oscillator for each axis, or of a labelled material."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure

from dielectric_gnn.data.record import CrystalRecord

INSULATORS = {
    ("Li", "F"): 4.03,
    ("Na", "Cl"): 5.64,
    ("Mg", "O"): 4.21,
    ("Ca", "O"): 4.81,
    ("K", "F"): 5.34,
    ("Li", "Cl"): 5.13,
}
"""Lattice constants (Å) of cubic cells with the two atoms."""

METALS = ("Cu", "Ag", "Au", "Al", "Ni", "Pd")


def lorentz(energies: NDArray[np.float64], centre: float = 4.0, gamma: float = 0.3) -> NDArray[np.complex128]:
    """1 + 40 / (ω₀² − ω² − iγω)."""
    return 1 + 40 / (centre**2 - energies**2 - 1j * gamma * energies)


def entry(
    material_id: str,
    symbols: Sequence[str] = ("Cu",),
    lattice_constant: float = 3.6,
    energies: NDArray[np.float64] | None = None,
    centre: float = 4.0,
    drude: float | None = 5.0,
    with_real: bool = True,
    **data: Any,
) -> dict[str, Any]:
    """An entry of a cubic crystal with one atom of each symbol along the diagonal of its cell.

    Args:
        energies: Photon energies in eV; None means the published ones.
        drude: ω_D in eV; None for a material without one.
        with_real: Whether Re ε is stated.
        data: Other content of `data`, such as `band_gap`.
    """
    omega = np.linspace(0, 20, 2001) if energies is None else energies
    eps = lorentz(omega, centre)
    tables = {key: np.stack([omega, part, part, part], axis=1) for key, part in (("re", eps.real), ("im", eps.imag))}
    sites = [
        {"species": [{"element": symbol, "occu": 1}], "abc": [place / len(symbols)] * 3}
        for place, symbol in enumerate(symbols)
    ]
    return {
        "parameters": {"broadening_ev": 0.15},
        "data": {
            "mat_id": material_id,
            "drude_freq": None if drude is None else [drude] * 3,
            "eps_inter_re": tables["re"].tolist() if with_real else None,
            "eps_inter_im": tables["im"].tolist(),
            **data,
        },
        "structure": {"lattice": {"matrix": (lattice_constant * np.eye(3)).tolist()}, "sites": sites},
    }


def write_entry(path: Path, material_id: str, **options: Any) -> Path:
    """Write an entry; see `entry`."""
    return _write(path, entry(material_id, **options))


def write_metals_and_insulators(folder: Path, **options: Any) -> list[str]:
    """Six metals with ω_D = 8 eV and six insulators with a band gap and no Drude frequency; ids of the insulators."""
    for place, symbol in enumerate(METALS):
        write_entry(folder / f"{symbol}.json", symbol, symbols=(symbol,), drude=8.0, centre=2.0 + place / 2, **options)
    for place, (symbols, length) in enumerate(INSULATORS.items()):
        settings = {"symbols": symbols, "lattice_constant": length, "band_gap": 5.0 + place, "centre": 6.0}
        write_entry(folder / f"{''.join(symbols)}.json", "".join(symbols), drude=None, **settings, **options)
    return ["".join(symbols) for symbols in INSULATORS]


def write_record(path: Path, record: CrystalRecord) -> Path:
    """Write a labelled material as an entry."""
    assert record.labels is not None
    labels, omega = record.labels, record.labels.grid.energies()
    structure = Structure(record.lattice, record.atomic_numbers.tolist(), record.positions, coords_are_cartesian=True)
    content = entry(record.material_id) | {
        "parameters": {"broadening_ev": labels.broadening},
        "structure": structure.as_dict(),
    }
    content["data"] |= {
        "drude_freq": labels.drude.tolist(),
        "eps_inter_re": np.column_stack([omega, *labels.eps_inter.real]).tolist(),
        "eps_inter_im": np.column_stack([omega, *labels.eps_inter.imag]).tolist(),
    }
    return _write(path, content)


def _write(path: Path, content: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
