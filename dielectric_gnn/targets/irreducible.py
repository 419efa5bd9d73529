"""Symmetric 3 × 3 tensors as an isotropic part and a deviator: T = a·1 + Σ_k s_k Q^k.

Q are the five orthonormal symmetric traceless matrices of `traceless_basis`: s transforms as e3nn's even l = 2
features, and ‖T‖² = 3a² + |s|². Cartesian components are in Voigt order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
"""Names of the six Cartesian components, in Voigt order."""

DIAGONAL_PARTS = (2, 4)
"""The components of the deviator that contribute to the diagonal."""

_H, _S = np.sqrt(1 / 2), np.sqrt(1 / 6)
TO_CARTESIAN: NDArray[np.float64] = np.array(
    [
        [1, 0, 0, -_S, 0, -_H],  # xx
        [1, 0, 0, 2 * _S, 0, 0],  # yy
        [1, 0, 0, -_S, 0, _H],  # zz
        [0, 0, 0, 0, _H, 0],  # yz
        [0, _H, 0, 0, 0, 0],  # xz
        [0, 0, _H, 0, 0, 0],  # xy
    ]
)
"""(6, 6): Cartesian components from (a, s)."""

FROM_CARTESIAN: NDArray[np.float64] = np.linalg.inv(TO_CARTESIAN).astype(np.float64)
"""(6, 6): (a, s) from Cartesian components."""


def traceless_basis() -> Tensor:
    """The five orthonormal symmetric traceless matrices Q that map l = 2 features s to T = Σ_k s_k Q^k.

    Equals √5 · w3j(1, 1, 2). If a crystal is rotated by R, T becomes R T Rᵀ.

    Shapes:
        (5, 3, 3), float64.
    """
    basis = torch.zeros(5, 3, 3, dtype=torch.float64)
    for k, (i, j) in ((0, (0, 2)), (1, (0, 1)), (3, (1, 2))):
        basis[k, i, j] = basis[k, j, i] = math.sqrt(0.5)
    basis[2] = torch.diag(torch.tensor([-1.0, 2.0, -1.0], dtype=torch.float64)) / math.sqrt(6)
    basis[4] = torch.diag(torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)) / math.sqrt(2)
    return basis


def to_matrices(components: NDArray[Any]) -> NDArray[Any]:
    """Six components (6, ...) as matrices (..., 3, 3)."""
    xx, yy, zz, yz, xz, xy = components
    rows = [np.stack(row, axis=-1) for row in ((xx, xy, xz), (xy, yy, yz), (xz, yz, zz))]
    return np.stack(rows, axis=-2)


def to_components(matrices: NDArray[Any]) -> NDArray[Any]:
    """Symmetric matrices (..., 3, 3) as six components (6, ...)."""
    places = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    return np.stack([matrices[..., i, j] for i, j in places])


def square(isotropic: Tensor, deviator: Tensor) -> tuple[Tensor, Tensor]:
    """M² of symmetric matrices M: positive semidefinite, and smooth also at degenerate eigenvalues.

    Its isotropic part is a² + |s|² / 3, its deviator 2 a s + dev(S²).

    Shapes:
        isotropic (B, ...), deviator (B, 5, ...) → the same.
    """
    to_cartesian = torch.from_numpy(TO_CARTESIAN[:, 1:]).to(deviator)
    from_cartesian = torch.from_numpy(FROM_CARTESIAN[1:]).to(deviator)
    xx, yy, zz, yz, xz, xy = torch.einsum("vk,bk...->vb...", to_cartesian, deviator)
    squared = (
        xx * xx + xy * xy + xz * xz,
        xy * xy + yy * yy + yz * yz,
        xz * xz + yz * yz + zz * zz,
        xy * xz + yy * yz + yz * zz,
        xx * xz + xy * yz + xz * zz,
        xx * xy + xy * yy + xz * yz,
    )
    deviatoric = torch.einsum("kv,vb...->bk...", from_cartesian, torch.stack(squared))
    return isotropic.square() + norm_square(deviator) / 3, 2 * isotropic[:, None] * deviator + deviatoric


def norm_square(deviator: Tensor) -> Tensor:
    """|s|² (B, ...) of deviators (B, 5, ...)."""
    return deviator.square().sum(dim=1)


def root_mean_square(isotropic: Tensor, deviator: Tensor) -> Tensor:
    """√(tr R² / 3) of R = a·1 + Σ_k s_k Q^k: a (B,), s (B, 5) → (B,)."""
    return (isotropic.square() + norm_square(deviator) / 3).sqrt()


def axis_squares(isotropic: Tensor, deviator: Tensor) -> Tensor:
    """Diagonal of R² of symmetric matrices R = a·1 + Σ_k s_k Q^k, for light along x, y and z: sums of squares, ≥ 0.

    Shapes:
        isotropic (B,), deviator (B, 5) → (B, 3).
    """
    to_cartesian = torch.from_numpy(TO_CARTESIAN).to(deviator)
    xx, yy, zz, yz, xz, xy = (torch.cat([isotropic[:, None], deviator], dim=1) @ to_cartesian.T).square().unbind(1)
    return torch.stack([xx + xy + xz, xy + yy + yz, xz + yz + zz], dim=1)
