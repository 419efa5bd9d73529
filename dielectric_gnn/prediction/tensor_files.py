"""Predicted response tensors as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dielectric_gnn import optics
from dielectric_gnn.optics.plots import AXES, TensorSpectrum
from dielectric_gnn.targets.irreducible import VOIGT
from dielectric_gnn.utils.files import write_columns


def write_tensor(
    path: Path, energies: optics.FloatArray, tensor: TensorSpectrum, comments: Sequence[str], damping: float
) -> None:
    """Write the six components of ε_inter, and the reflectivity at normal incidence for light polarised along x, y, z.

    The frame is that of the lattice as the structure file states it. A diagonal component is what light meets along an
    axis where the off-diagonals vanish; elsewhere the reflectivity is an approximation, and the comments say so.

    Args:
        path: The CSV file.
        energies: Photon energies (W,) in eV.
        tensor: The response; ω_D² (eV²) goes into the comments.
        comments: More of them.
        damping: γ of the Drude term in eV.
    """
    columns = {"energy_ev": energies}
    for name, component in zip(VOIGT, tensor.eps_inter, strict=True):
        columns[f"eps_inter_{name}_re"] = component.real
        columns[f"eps_inter_{name}_im"] = component.imag
    for name, spectrum in zip(AXES, tensor.along_axes(), strict=True):
        eps = optics.total_dielectric_function(energies, spectrum.eps_inter, spectrum.drude, damping)
        columns[f"reflectivity_{name}"] = optics.reflectivity(*optics.refractive_index(eps))
    notes = [
        f"drude_square_{name}_ev2: {value:.6g}" for name, value in zip(VOIGT, tensor.drude_square.tolist(), strict=True)
    ]
    if not tensor.has_principal_axes():
        notes.append("reflectivity_x, _y, _z: approximate, from the diagonal alone (x, y, z are not principal axes)")
    write_columns(path, columns, [*comments, *notes])
