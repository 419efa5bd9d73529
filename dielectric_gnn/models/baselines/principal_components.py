"""Principal components of training labels."""

from __future__ import annotations

import torch
from torch import Tensor

from dielectric_gnn.models.layers.fitted import FittedModule

_RELATIVE_ROUNDING = 1e-12


class PrincipalComponents(FittedModule):
    """The mean of vectors, and the orthonormal directions of their largest variance.

    Shapes:
        values (D, T) → scores (D, K), K at most `components`, D and T; scores (B, K) → values (B, T).

    Args:
        components: Largest number of directions.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("basis", torch.empty(0, 0))

    @property
    def num(self) -> int:
        """K, the number of directions."""
        return self.basis.shape[0]

    def fit(self, values: Tensor) -> Tensor:
        """Find mean and directions of D vectors; returns their scores (D, K) in double precision.

        Without any vector, the mean is NaN and there is no direction.
        """
        exact = values.double()
        mean = exact.mean(dim=0)
        centred = exact - mean
        num = min(self.components, *values.shape)
        if len(values) < values.shape[1]:  # the smaller of the two matrices of products
            squares, left = torch.linalg.eigh(centred @ centred.T)
            kept = _largest(squares, num)
            basis = (left[:, kept].T @ centred) / squares[kept, None].sqrt()
        else:
            squares, right = torch.linalg.eigh(centred.T @ centred)
            basis = right[:, _largest(squares, num)].T
        self.mean, self.basis = mean.to(self.mean.dtype), basis.to(self.basis.dtype)
        return centred @ basis.T

    def forward(self, scores: Tensor) -> Tensor:
        """Vectors of the scores."""
        return self.mean + scores @ self.basis

    def is_consistent(self) -> bool:
        """Whether mean and directions have one length."""
        return self.mean.dim() == 1 and self.basis.dim() == 2 and self.basis.shape[1] == self.mean.shape[0]


def _largest(squares: Tensor, num: int) -> Tensor:
    """Positions of the `num` largest eigenvalues, without those that are zero but for rounding."""
    order = squares.argsort(descending=True)[:num]
    return order[squares[order] > _RELATIVE_ROUNDING * squares.max()] if num else order
