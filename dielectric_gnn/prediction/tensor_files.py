"""Files of predicted response tensors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dielectric_gnn.optics.plots import AXES
from dielectric_gnn.optics.spectrum import Spectrum
from dielectric_gnn.targets.irreducible import VOIGT
from dielectric_gnn.utils.files import write_columns


def write_tensor(path: Path, spectrum: Spectrum, comments: Sequence[str]) -> None:
    """Write the six components of ε_inter, and the reflectivity at normal incidence for light polarised along x, y, z.

    The frame is that of the lattice in the structure file. The reflectivity along an axis follows from the diagonal
    component: exactly where the off-diagonals vanish, otherwise approximately, which the comments then state.

    Args:
        path: The CSV file.
        spectrum: The response, with its tensors; ω_D² (eV²) goes into the comments.
        comments: Further comments.

    Raises:
        InputError: The response has no tensors.
    """
    axes, tensor = spectrum.along_axes(), spectrum.require_tensor()
    columns = {"energy_ev": spectrum.energies}
    for name, component in zip(VOIGT, tensor.eps_inter, strict=True):
        columns[f"eps_inter_{name}_re"] = component.real
        columns[f"eps_inter_{name}_im"] = component.imag
    for name, axis in zip(AXES, axes, strict=True):
        columns[f"reflectivity_{name}"] = axis.reflectivity
    notes = [
        f"drude_square_{name}_ev2: {value:.6g}" for name, value in zip(VOIGT, tensor.drude_square.tolist(), strict=True)
    ]
    if not tensor.has_principal_axes():
        notes.append("reflectivity_x, _y, _z: approximate, from the diagonal alone (x, y, z are not principal axes)")
    write_columns(path, columns, [*comments, *notes])
