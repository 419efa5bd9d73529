"""Full tensors from labels: off-diagonals that symmetry determines, and a check that label and lattice share a frame.

Files of the published format state only xx, yy and zz of a tensor. The point group determines which tensors are allowed
(Neumann's principle); in most crystals only one of them has the stated diagonal. If none has, label and lattice refer
to different axes, as in some public data sets, and the material is rejected.
"""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.record import CrystalRecord, OpticalLabels
from dielectric_gnn.targets.irreducible import to_components, to_matrices
from dielectric_gnn.utils.errors import RecordError

SYMMETRY_TOLERANCE = 1e-2
"""Largest distance (Å) of atoms from their symmetric positions."""

MAX_SYMMETRY_ATOMS = 2000
"""In larger cells, spglib may take more than some seconds; of 8000 atoms, more than a minute."""

MAX_FORBIDDEN_SHARE = 0.3
"""A label is rejected when more than this share of its deviator is forbidden by symmetry, …"""

MIN_FORBIDDEN_SIZE = 0.01
"""… and that is more than this share of ε − 1 or ω_D², or of 1: a cubic crystal may have a noisy label."""

MIN_DETERMINED_DIAGONAL = 0.2
"""Off-diagonals are computed from the diagonal if every allowed unit tensor has a diagonal larger than this.

Errors of the diagonal are then amplified by at most a factor of five. If the axis of a crystal is near a body diagonal
of the frame, the factor has no bound.
"""

MIN_VISIBLE_DIAGONAL = 0.01
"""Smaller diagonals of allowed unit tensors count as zero: a rounded lattice may rotate an axis by as much."""

MAX_NEGATIVE_SHARE = 0.05
"""A full tensor is rejected when Im ε or ω_D² has an eigenvalue below minus this share of its largest, or of 1."""

_WEIGHTS = np.array([1, 1, 1, 2, 2, 2])[:, None]
"""Multiplicity of each of the six components in a symmetric matrix."""


def with_full_tensors(record: CrystalRecord) -> CrystalRecord:
    """The record with labels of six components that have the exact symmetry of the crystal; averages are unchanged.

    Raises:
        RecordError: The label contradicts the symmetry of the crystal, or no symmetry is found.
    """
    labels = record.labels
    if labels is None or labels.num_components == 1:
        return record
    allowed = allowed_tensors(record)
    has_drude, has_real = labels.has_drude, labels.has_real
    if not has_drude:  # ε alone is resolved
        labels = replace(labels, drude=np.zeros_like(labels.drude))
    if not has_real:  # Im ε alone is resolved, with the Re ε of vacuum beside it
        vacuum = np.array([1, 1, 1, 0, 0, 0])[: labels.num_components, None]
        labels = replace(labels, eps_inter=vacuum + 1j * labels.eps_inter.imag)
    stated = _stated_components(labels)
    known = len(stated)
    # Parts of size 1 have diagonals of these sizes; a multiple of the unit tensor, always allowed, has one of size 1.
    coefficients, _, _, sizes = np.linalg.lstsq(_scaled(allowed[:known]), _scaled(stated), rcond=MIN_VISIBLE_DIAGONAL)
    tensors = allowed @ coefficients
    _check_frame(record, stated, tensors[:known])
    determined = allowed.shape[1] <= known and sizes.min() > MIN_DETERMINED_DIAGONAL
    if determined:
        _check_passive(record, tensors)
    else:
        tensors[3:] = 0
    eps, drude_square = tensors[:, :-1], tensors[:, -1].real
    if not has_real:
        eps = np.nan + 1j * eps.imag
    drude = _root(drude_square) if has_drude else np.full(6, np.nan)
    resolved = replace(labels, eps_inter=eps, drude=drude, diagonal_only=not determined)
    return replace(record, labels=resolved)


def allowed_tensors(record: CrystalRecord) -> NDArray[np.float64]:
    """A basis (6, D) of the symmetric tensors that are invariant under the point group of a crystal.

    Raises:
        RecordError: No space group is found, or the cell is too large for the search.
    """
    from spglib import get_symmetry_dataset

    num_atoms = record.atomic_numbers.size
    if num_atoms > MAX_SYMMETRY_ATOMS:
        raise _record_error(
            record,
            f"{record.material_id} has {num_atoms} atoms, and symmetries are searched in cells of up to "
            f"{MAX_SYMMETRY_ATOMS}; take the primitive cell",
        )
    lattice, positions = record.search_cell
    fractional = positions @ np.linalg.inv(lattice)
    cell = (lattice.tolist(), fractional.tolist(), record.atomic_numbers.tolist())
    with warnings.catch_warnings():
        # spglib announces that failure will be an exception; until then it is None.
        warnings.simplefilter("ignore", DeprecationWarning)
        dataset = get_symmetry_dataset(cell, symprec=SYMMETRY_TOLERANCE)
    if dataset is None:
        raise _record_error(
            record,
            f"spglib finds no space group of {record.material_id} (tolerance {SYMMETRY_TOLERANCE:g} Å), not even P1, "
            "so its tensors cannot be checked; correct the structure",
        )
    columns = lattice.T
    rotations = columns @ np.unique(dataset.rotations, axis=0) @ np.linalg.inv(columns)
    units = to_matrices(np.eye(6))
    averages = np.einsum("gia,uab,gjb->uij", rotations, units, rotations) / len(rotations)
    # In components weighted by √2 off the diagonal, the average is an orthogonal projection.
    weights = np.sqrt(_WEIGHTS)
    values, vectors = np.linalg.eigh(weights * to_components(averages) / weights.T)
    allowed: NDArray[np.float64] = vectors[:, values > 0.5] / weights
    return allowed


def _stated_components(labels: OpticalLabels) -> NDArray[np.complex128]:
    """ε and, as the last column, ω_D²: (3 or 6, W + 1)."""
    if labels.num_components == 3 or labels.diagonal_only:
        return np.column_stack([labels.eps_inter, labels.drude**2])[:3]
    root = to_matrices(labels.drude)
    return np.column_stack([labels.eps_inter, to_components(root @ root)])


def _scaled(components: NDArray[np.inexact]) -> NDArray[np.inexact]:
    """Components whose sum of squares is that of the matrix."""
    return np.sqrt(_WEIGHTS[: len(components)]) * components


def _check_frame(record: CrystalRecord, stated: NDArray[np.complex128], allowed: NDArray[np.complex128]) -> None:
    forbidden = _size(stated - allowed)
    isotropic = np.zeros_like(stated)
    isotropic[:3] = stated[:3].mean(axis=0)
    vacuum = np.zeros_like(stated)
    vacuum[:3, :-1] = 1
    deviators, responses = _size(stated - isotropic), _size(stated - vacuum)
    bad = (forbidden > MAX_FORBIDDEN_SHARE * deviators) & (forbidden > MIN_FORBIDDEN_SIZE * np.maximum(responses, 1))
    if bad.any():
        which = int(np.argmax(bad))
        raise _record_error(
            record,
            f"{('eps_inter', 'drude_freq')[which]} of {record.material_id} contradicts the symmetry of the structure: "
            f"{forbidden[which] / deviators[which]:.0%} of its anisotropy is forbidden (tolerance "
            f"{MAX_FORBIDDEN_SHARE:.0%}); give the tensor in the frame of the stored lattice",
        )


def _check_passive(record: CrystalRecord, tensors: NDArray[np.complex128]) -> None:
    for name, components in (("Im eps_inter", tensors[:, :-1].imag), ("drude_freq squared", tensors[:, -1].real)):
        values = np.linalg.eigvalsh(to_matrices(components))
        if values.min() < -MAX_NEGATIVE_SHARE * max(values.max(), 1):
            raise _record_error(
                record,
                f"{name} of {record.material_id}, as a full tensor with the symmetry of the structure, has an "
                f"eigenvalue of {values.min():.3g} beside {values.max():.3g}, expected none below 0 (tolerance "
                f"{MAX_NEGATIVE_SHARE:.0%}); give the tensor in the frame of the stored lattice",
            )


def _record_error(record: CrystalRecord, problem: str) -> RecordError:
    cure = ", or read averages only (data.tensors false)"
    return RecordError(record.source or record.material_id, problem + cure)


def _size(components: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Root mean square of the spectrum over energies, and norm of the Drude tensor: (2,)."""
    squares = (np.abs(_scaled(components)) ** 2).sum(axis=0)
    return np.sqrt([squares[:-1].mean(), squares[-1]])


def _root(components: NDArray[np.float64]) -> NDArray[np.float64]:
    """Positive semidefinite root of a tensor of six components, whose negative eigenvalues are no more than noise."""
    values, vectors = np.linalg.eigh(to_matrices(components))
    return to_components(vectors * np.sqrt(values.clip(min=0)) @ vectors.T)
