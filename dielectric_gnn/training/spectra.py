"""Responses as `Spectrum` objects, one for each material, for figures and files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from dielectric_gnn import optics
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.optics.screening import spectrum_quality
from dielectric_gnn.optics.spectrum import Spectrum, TensorSpectrum
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.irreducible import TO_CARTESIAN, to_components, to_matrices
from dielectric_gnn.targets.response import Response


def spectra_of(response: Response, grid: EnergyGrid, damping: float = optics.DEFAULT_DAMPING) -> list[Spectrum]:
    """The materials of a response one by one, as NumPy arrays; those of an ensemble with their standard deviation.

    Args:
        response: Of B materials.
        grid: Photon energies of the response.
        damping: γ of the Drude term in eV.
    """
    response = response.cpu()
    eps_inter = torch.view_as_complex(response.eps_inter.contiguous()).numpy()
    spreads = [None] * len(eps_inter) if response.std is None else spectra_of(response.std, grid, damping)
    energies = grid.energies()
    return [
        Spectrum(energies, eps, float(drude), damping, std=spread, tensor=tensor)
        for eps, drude, spread, tensor in zip(eps_inter, response.drude, spreads, _tensors_of(response), strict=True)
    ]


def quality_of(spectra: Sequence[Spectrum], store: CrystalStore, rows: Sequence[int]) -> dict[str, optics.FloatArray]:
    """`screening.spectrum_quality` of the spectra, which share a grid, of B materials: (B,) for each key."""
    eps_inter, drude = np.stack([one.eps_inter for one in spectra]), np.array([one.drude for one in spectra])
    electrons = np.array([optics.valence_electrons(store.numbers_of(row)).sum() for row in rows])
    return spectrum_quality(spectra[0].energies, eps_inter, drude, electrons, store.volumes[np.asarray(rows)])


def _tensors_of(response: Response) -> Sequence[TensorSpectrum | None]:
    """The tensors of a response on the CPU; None where not even the diagonal is known."""
    anisotropy = response.anisotropy
    if anisotropy is None:
        return [None] * len(response.drude)
    parts = torch.cat([response.eps_inter[:, None], anisotropy.eps_inter], dim=1).double().numpy()
    # Part by part: the product of complex numbers would carry NaN, of a label without Re, to Im.
    real, imaginary = np.einsum("vk,bkwc->cbvw", TO_CARTESIAN, parts)
    eps = real + 1j * imaginary
    roots = to_matrices(TO_CARTESIAN @ anisotropy.drude.double().numpy().T)
    squares = to_components(roots @ roots).T
    known = anisotropy.component_mask.any(dim=1).tolist()
    return [TensorSpectrum(*row) if some else None for *row, some in zip(eps, squares, known, strict=True)]
