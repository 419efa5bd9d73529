"""Ridge regression with the Laplacian kernel: exact, or restricted to landmarks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

_ROWS_PER_BLOCK = 2048
_LANDMARK_SEED = 0
_SMALLEST_PIVOT = 1e-13
"""Added to the diagonal of the normal equations, relative to its mean: two landmarks may be nearly equal."""


def laplacian_kernel(first: Tensor, second: Tensor, rate: float) -> Tensor:
    """exp(−rate ‖x − x'‖₁) of all pairs: (A, F), (B, F) → (A, B)."""
    return torch.cdist(first, second, p=1).mul_(-rate).exp_()


def landmark_rows(num: int, most: int) -> Tensor:
    """All of `num` positions, or `most` of them drawn at random, always the same, in increasing order."""
    if num <= most:
        return torch.arange(num)
    generator = torch.Generator().manual_seed(_LANDMARK_SEED)
    return torch.randperm(num, generator=generator)[:most].sort().values


class KernelRidge:
    """Solves (K + α 1) c = y for several y on the same points, in double precision.

    If the landmarks are fewer than all points, c minimises ‖y − K_nm c‖² + α cᵀ K_mm c, over M landmarks.

    Shapes:
        points (D, F); landmarks (M,), positions; rows (R,), positions of the points with labels; y (R, K) → c (M, K).

    Args:
        points: All training points.
        landmarks: Those whose kernels span the solution.
        rows: Those with labels.
        rate: Of the kernel.
        alpha: α.
    """

    def __init__(self, points: Tensor, landmarks: Tensor, rows: Tensor, rate: float, alpha: float) -> None:
        self.points, self.landmarks, self.rows, self.rate = points, landmarks, rows, rate
        self.exact = len(landmarks) == len(points)
        if self.exact:
            products = laplacian_kernel(points[rows], points[rows], rate)
            products.diagonal().add_(alpha)
        else:
            chosen = points[landmarks]
            products = alpha * laplacian_kernel(chosen, chosen, rate)
            for _, block in self._blocks():
                products.addmm_(block.T, block)
            products.diagonal().add_(_SMALLEST_PIVOT * products.diagonal().mean())
        self.factor = torch.linalg.cholesky(products)

    def solve(self, y: Tensor) -> Tensor:
        """Coefficients of all landmarks; those of landmarks without a label are 0 in the exact solution."""
        if not self.exact:
            right = torch.zeros(len(self.landmarks), y.shape[1], dtype=y.dtype)
            for start, block in self._blocks():
                right.addmm_(block.T, y[start : start + len(block)])
            return torch.cholesky_solve(right, self.factor)
        coefficients = torch.zeros(len(self.points), y.shape[1], dtype=y.dtype)
        coefficients[self.rows] = torch.cholesky_solve(y, self.factor)
        return coefficients

    def _blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Kernels of labelled points with the landmarks, some rows at a time, with the number of the first row."""
        for start in range(0, len(self.rows), _ROWS_PER_BLOCK):
            some = self.points[self.rows[start : start + _ROWS_PER_BLOCK]]
            yield start, laplacian_kernel(some, self.points[self.landmarks], self.rate)
