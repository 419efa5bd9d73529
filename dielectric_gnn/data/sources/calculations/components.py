"""Tensors from the components that a code wrote: Voigt order, completion by symmetry, roots of ω_D²."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.targets.irreducible import to_components, to_matrices
from dielectric_gnn.utils.errors import RecordError

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
"""The order of six components in labels."""

_DETERMINED = 1e-2
"""Smallest singular value of allowed tensors of size 1, restricted to the components that are written."""

_NEGLIGIBLE = 1e-4
"""Off-diagonals up to this share of the largest component are rounding, or noise."""


def labelled_components(
    structure: CrystalRecord,
    components: Mapping[str, NDArray[np.complex128]],
    drude: NDArray[np.float64],
    remarks: list[str],
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Spectra and Drude frequencies with the same components: 6 where off-diagonals are known, else 3.

    Args:
        structure: The crystal, whose symmetry completes a diagonal of which one or two components are written.
        components: ε by component.
        drude: (3,) or (6,) in eV, or NaN.
        remarks: What is left out is appended.

    Returns:
        ε of shape (A, V), and ω_D of shape (A,).

    Raises:
        RecordError: Components are missing that symmetry does not determine.
    """
    if not all(name in components for name in VOIGT[:3]):
        spectra = _completed(structure, components)
    elif all(name in components for name in VOIGT):
        spectra = np.stack([components[name] for name in VOIGT])
    else:
        spectra = np.stack([components[name] for name in VOIGT[:3]])
    if len(spectra) == 3:
        return spectra, _diagonal_of(drude)
    if len(drude) == 6:
        return spectra, drude
    if np.isnan(drude).all() or not drude.any():
        return spectra, np.full(6, drude[0])
    if _is_negligible(spectra):
        return spectra[:3], drude
    remarks.append("off-diagonals of ε were left out, because those of the Drude tensor are not known")
    return spectra[:3], drude


def drude_frequencies(squares: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Root of ω_D²: of a diagonal (3,), or of a tensor (3, 3) as six components; negative noise becomes zero.

    Units:
        eV² → eV.

    Returns:
        (3,) or (6,); NaN in all components where ω_D² is not known.
    """
    if squares is None:
        return np.full(3, np.nan)
    if squares.ndim == 1:
        return np.sqrt(squares.clip(min=0))
    values, vectors = np.linalg.eigh((squares + squares.T) / 2)
    return to_components(vectors * np.sqrt(values.clip(min=0)) @ vectors.T)


def _diagonal_of(drude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Three components: the roots of the diagonal of ω_D²."""
    if len(drude) == 3:
        return drude
    root = to_matrices(drude)
    return np.sqrt(np.diagonal(root @ root))


def _is_negligible(spectra: NDArray[np.complex128]) -> bool:
    return bool(np.abs(spectra[3:]).max() <= _NEGLIGIBLE * np.abs(spectra).max())


def _completed(structure: CrystalRecord, components: Mapping[str, NDArray[np.complex128]]) -> NDArray[np.complex128]:
    """The tensor (3 or 6, V) that the symmetry of the crystal leaves, from the components that are written."""
    from dielectric_gnn.data.frames import allowed_tensors

    names = [name for name in VOIGT if name in components]
    allowed = allowed_tensors(structure)
    stated = allowed[[VOIGT.index(name) for name in names]]
    sizes = np.linalg.svd(stated, compute_uv=False)
    if len(sizes) < allowed.shape[1] or sizes.min() < _DETERMINED:
        missing = [name for name in VOIGT[:3] if name not in components]
        raise RecordError(
            structure.source,
            f"ε is given in {', '.join(names) or 'no component'} alone, and the symmetry of the crystal does not "
            f"determine the rest; compute {', '.join(missing)} as well",
        )
    spectra = np.stack([components[name] for name in names])
    coefficients = np.linalg.lstsq(stated.astype(np.complex128), spectra, rcond=None)[0]
    tensor: NDArray[np.complex128] = allowed @ coefficients
    return tensor[:3] if _is_negligible(tensor) else tensor
