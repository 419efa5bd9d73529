"""Predicted response tensors as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dielectric_gnn import optics
from dielectric_gnn.files import write_csv
from dielectric_gnn.irreducible import VOIGT
from dielectric_gnn.plots import AXES, TensorSpectrum


def write_tensor(
    path: Path, energies: optics.FloatArray, tensor: TensorSpectrum, summary: Mapping[str, str], damping: float
) -> None:
    """Write the six components of ε_inter, and the reflectivity at normal incidence for light polarised along x, y, z.

    The frame is that of the lattice as the structure file states it. A diagonal component is what light meets along an
    axis where the off-diagonals vanish; elsewhere it is an approximation.

    Args:
        path: The CSV file.
        energies: Photon energies (W,) in eV.
        tensor: The response; ω_D² (eV²) goes into the comments.
        summary: More comments.
        damping: γ of the Drude term in eV.
    """
    header, columns = ["energy_ev"], [energies]
    for name, component in zip(VOIGT, tensor.eps_inter, strict=True):
        header += [f"eps_inter_{name}_re", f"eps_inter_{name}_im"]
        columns += [component.real, component.imag]
    for name, spectrum in zip(AXES, tensor.along_axes(), strict=True):
        eps = optics.total_dielectric_function(energies, spectrum.eps_inter, spectrum.drude, damping)
        header.append(f"reflectivity_{name}")
        columns.append(optics.reflectivity(*optics.refractive_index(eps)))
    squares = zip(VOIGT, tensor.drude_square.tolist(), strict=True)
    comments = [f"{key}: {value}" for key, value in summary.items() if value]
    comments += [f"drude_square_{name}_ev2: {value:.6g}" for name, value in squares]
    write_csv(path, header, ([f"{value:.6g}" for value in row] for row in zip(*columns, strict=True)), comments)
