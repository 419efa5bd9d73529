"""Dielectric function and Drude tensor of one structure with GPAW, in the independent-particle approximation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

HARTREE_EV = 27.211386245988
ETA_EV = 0.1
"""Broadening of the calculation."""
CUTOFF_EV = 340.0
KPOINT_LENGTH = 38.0
"""Number of k points along an axis times the length of the lattice vector (Å), for the response."""
DENSITY_KPOINT_LENGTH = 26.0
"""Likewise, for the density."""


@dataclass(frozen=True)
class Response:
    """What is computed of one material.

    Shapes:
        energies: (W,) eV. eps_inter: (W, 3, 3) complex. drude_tensor: (3, 3) in eV².
    """

    energies: NDArray[np.float64]
    eps_inter: NDArray[np.complex128]
    drude_tensor: NDArray[np.float64]
    total_energy: float
    kpoints: list[int]
    num_bands: int


def kpoint_mesh(atoms: Atoms, length: float) -> list[int]:
    """Numbers of k points along the axes, at least 4."""
    return [max(4, int(np.ceil(length / np.linalg.norm(vector)))) for vector in atoms.cell]


def compute(atoms: Atoms, folder: Path, name: str, length: float = KPOINT_LENGTH) -> Response:
    """PBE, plane waves, Fermi smearing of 0.1 eV, not spin-polarised; head of χ₀ without local fields.

    Args:
        atoms: The structure.
        folder: For logs and the file of wave functions, which is deleted.
        name: Stem of their names.
        length: See `KPOINT_LENGTH`.
    """
    from gpaw import GPAW, PW, FermiDirac
    from gpaw.response.df import DielectricFunction

    density_mesh = kpoint_mesh(atoms, DENSITY_KPOINT_LENGTH)
    ground_state = GPAW(
        mode=PW(CUTOFF_EV), xc="PBE", kpts={"size": density_mesh, "gamma": True}, occupations=FermiDirac(0.1),
        txt=str(folder / f"{name}.log"), maxiter=120, convergence={"density": 1e-4, "energy": 1e-3},
    )  # fmt: skip
    atoms.calc = ground_state
    energy = float(atoms.get_potential_energy())
    mesh = [count + count % 2 for count in kpoint_mesh(atoms, length)]
    num_bands = int(ground_state.get_number_of_electrons() // 2) + 12 * len(atoms) + 3
    fixed = ground_state.fixed_density(
        kpts={"size": mesh, "gamma": True}, nbands=num_bands + 4 * len(atoms), convergence={"bands": num_bands},
        txt=str(folder / f"{name}.bands.log"), maxiter=200,
    )  # fmt: skip
    wave_functions = folder / f"{name}.gpw"
    try:
        fixed.write(str(wave_functions), "all")
        function = DielectricFunction(
            str(wave_functions), eta=ETA_EV, ecut=5, hilbert=True, nbands=num_bands, intraband=True, rate="eta",
            txt=None,            frequencies={"type": "nonlinear", "domega0": 0.01, "omega2": 12.0, "omegamax": 26.0},
        )  # fmt: skip
        energies, eps, drude = _head(function)
    finally:
        wave_functions.unlink(missing_ok=True)
    grid = np.linspace(0.0, 20.0, 2001)
    return Response(grid, _on_grid(grid, energies, eps), drude, energy, mesh, num_bands)


def _head(function: object) -> tuple[NDArray[np.float64], NDArray[np.complex128], NDArray[np.float64]]:
    """Energies (eV), interband ε and Drude tensor (eV²); the intraband part that GPAW adds is removed."""
    chi0 = function.chi0  # type: ignore[attr-defined]
    found = chi0.calculate([0, 0, 0])
    head = found[3] if isinstance(found, tuple) else getattr(found, "chi0_Wvv", None)  # by version of GPAW
    head = found.chi0_wvv if head is None else head
    grid = chi0.wd if hasattr(chi0, "wd") else function.wd  # type: ignore[attr-defined]
    omega = np.asarray(grid.omega_w)
    plasma = np.real(chi0.plasmafreq_vv)
    with np.errstate(all="ignore"):
        intraband = -plasma[None] / (omega[:, None, None] + 1j * ETA_EV / HARTREE_EV) ** 2
    return omega * HARTREE_EV, 1 - 4 * np.pi * head - intraband, plasma * HARTREE_EV**2


def _on_grid(
    grid: NDArray[np.float64], energies: NDArray[np.float64], eps: NDArray[np.complex128]
) -> NDArray[np.complex128]:
    values = np.empty((grid.size, 3, 3), dtype=np.complex128)
    for row in range(3):
        for column in range(3):
            component = eps[:, row, column]
            usable = np.isfinite(component) & (energies > 1e-4)
            x, y = energies[usable], component[usable]
            values[:, row, column] = np.interp(grid, x, y.real) + 1j * np.interp(grid, x, y.imag)
    values[0].imag = 0.0
    if not np.isfinite(values).all():
        raise ValueError("the response is not finite")
    return values
