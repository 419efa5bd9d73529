"""Targets of a material as rows of arrays: averages over directions, and deviators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.record import OpticalLabels
from dielectric_gnn.data.store.flat import as_tensor_view
from dielectric_gnn.targets.irreducible import DIAGONAL_PARTS, FROM_CARTESIAN
from dielectric_gnn.targets.response import Anisotropy


@dataclass(frozen=True, eq=False)
class StoredAnisotropy:
    """The deviators in the targets of M crystals; see `response.Anisotropy`.

    Shapes:
        eps_deviator: (M, 5, W, 2), float32 or float16. drude_root: (M, 6) in eV. component_mask: (M, 5) bool.
    """

    eps_deviator: NDArray[np.floating]
    drude_root: NDArray[np.float32]
    component_mask: NDArray[np.bool_]

    def gather(self, chosen: NDArray[np.int64]) -> Anisotropy:
        """The deviators of the chosen crystals."""
        return Anisotropy(
            as_tensor_view(self.eps_deviator).index_select(0, torch.tensor(chosen)),
            torch.from_numpy(self.drude_root[chosen]),
            torch.from_numpy(self.component_mask[chosen]),
        )


def target_rows(labels: OpticalLabels) -> tuple[NDArray[np.float32], float]:
    """Targets of one material: the orientation average of ε (W, 2), Re and Im, and of ω_D in eV."""
    eps, drude = labels.average()
    return np.stack([eps.real, eps.imag], axis=-1).astype(np.float32), drude


def anisotropy_rows(labels: OpticalLabels) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Deviator of ε (5, W, 2), root of ω_D² (6,) in eV, and component mask (5,) of one material.

    The mask is False for labels that are averages, or a diagonal that is not resolved by `frames.with_full_tensors`.
    """
    known = np.zeros(5, dtype=bool)
    if labels.num_components < 6:
        root = np.array([labels.average()[1], 0, 0, 0, 0, 0])
        return np.zeros((5, labels.grid.num, 2), np.float32), root.astype(np.float32), known
    known[list(DIAGONAL_PARTS) if labels.diagonal_only else slice(None)] = True
    # Part by part: the product of complex numbers would carry NaN from Re to Im.
    deviator = [FROM_CARTESIAN[1:] @ part for part in (labels.eps_inter.real, labels.eps_inter.imag)]
    root = FROM_CARTESIAN @ labels.drude
    return np.stack(deviator, axis=-1).astype(np.float32), root.astype(np.float32), known


def stacked_anisotropy(labels: Sequence[OpticalLabels]) -> StoredAnisotropy:
    """The deviators of several materials."""
    deviators, roots, known = zip(*map(anisotropy_rows, labels), strict=True)
    return StoredAnisotropy(np.stack(deviators), np.stack(roots), np.stack(known))
