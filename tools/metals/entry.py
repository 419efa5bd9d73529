"""Computed responses as entries of the published layout, broadened to 0.3 eV."""

from __future__ import annotations

import bz2
import json
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from metals.response import CUTOFF_EV, ETA_EV, Response

BROADENING_EV = 0.3


def broaden(values: NDArray[np.complex128], spacing: float, width: float) -> NDArray[np.complex128]:
    """Convolve ε (W,) on energies from zero with a Lorentzian of half width `width` (eV).

    Re ε − 1 is even and Im ε odd in ω; beyond the grid they fall as ω⁻² and ω⁻³.
    """
    num, top = values.size, (values.size - 1) * spacing
    omega = np.arange(-5 * num, 5 * num + 1) * spacing
    size = np.abs(omega)
    inside = np.arange(num) * spacing
    even = np.where(
        size <= top,
        np.interp(size, inside, values.real - 1),
        (values[-1].real - 1) * (top / np.maximum(size, top)) ** 2,
    )
    odd = np.sign(omega) * np.where(
        size <= top, np.interp(size, inside, values.imag), values[-1].imag * (top / np.maximum(size, top)) ** 3
    )
    kernel = np.fft.rfft(np.fft.ifftshift(width / np.pi / (omega**2 + width**2) * spacing))
    convolved = [np.fft.irfft(np.fft.rfft(part) * kernel, omega.size)[5 * num : 6 * num] for part in (even, odd)]
    return np.asarray(1 + convolved[0] + 1j * np.clip(convolved[1], 0, None))


def entry(name: str, prototype: str, atoms: Atoms, response: Response) -> dict[str, Any]:
    """A pymatgen ComputedStructureEntry as a dictionary."""
    grid = response.energies
    spacing = float(grid[1] - grid[0])
    axes = [broaden(response.eps_inter[:, axis, axis], spacing, BROADENING_EV - ETA_EV) for axis in range(3)]
    imaginary = np.column_stack([grid, *(axis.imag for axis in axes)])
    imaginary[0, 1:] = 0.0
    data = {
        "mat_id": f"gpaw-{name}",
        "prototype_id": prototype,
        "elements": sorted(set(atoms.get_chemical_symbols())),
        "nsites": len(atoms),
        "e_above_hull": None,
        "drude_freq": np.sqrt(np.clip(np.diag(response.drude_tensor), 0, None)).round(6).tolist(),
        "drude_tensor_ev2": response.drude_tensor.round(6).tolist(),
        "eps_inter_re": _array(np.column_stack([grid, *(axis.real for axis in axes)])),
        "eps_inter_im": _array(imaginary),
    }
    parameters = {
        "code": "GPAW", "functional": "PBE", "cutoff_ev": CUTOFF_EV, "kpt_nscf": response.kpoints,
        "nbands": response.num_bands, "broadening_ev": BROADENING_EV, "spin_polarised": False, "local_fields": False,
    }  # fmt: skip
    return {
        "@module": "pymatgen.entries.computed_entries",
        "@class": "ComputedStructureEntry",
        "energy": response.total_energy,
        "structure": _structure(atoms),
        "data": data,
        "parameters": parameters,
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write the file beside its place and rename it."""
    temporary = path.with_suffix(".tmp")
    with bz2.open(temporary, "wt") as file:
        json.dump(content, file, separators=(",", ":"))
    temporary.replace(path)


def _structure(atoms: Atoms) -> dict[str, Any]:
    places = zip(atoms.get_chemical_symbols(), atoms.get_scaled_positions().tolist(), strict=True)
    return {
        "@module": "pymatgen.core.structure",
        "@class": "Structure",
        "lattice": {"matrix": atoms.cell.array.tolist()},
        "sites": [{"species": [{"element": symbol, "occu": 1}], "abc": place} for symbol, place in places],
    }


def _array(values: NDArray[np.float64]) -> dict[str, Any]:
    """As monty writes NumPy arrays."""
    return {"@module": "numpy", "@class": "array", "dtype": "float64", "data": values.round(4).tolist()}
