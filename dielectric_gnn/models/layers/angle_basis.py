"""Angles as features."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dielectric_gnn.utils.errors import InputError

MAX_L = 4
"""Highest degree of the angle features."""


class AngleBasis(nn.Module):
    """Real spherical harmonics with m = 0 of an angle: sqrt((2l + 1) / 4π) · P_l(cos θ) for l = 0 … l_max.

    Shapes:
        cosines (T,) → (T, l_max + 1).

    Args:
        l_max: Highest degree, 1 to 4.
    """

    def __init__(self, l_max: int = 3) -> None:
        super().__init__()
        if not 1 <= l_max <= MAX_L:
            raise InputError(f"l_max of the angle features is {l_max}, expected 1 to {MAX_L}")
        self.l_max = l_max
        self.dim = l_max + 1

    def forward(self, cosines: Tensor) -> Tensor:
        """Features of each angle; Legendre polynomials by Bonnet's recursion."""
        legendre = [torch.ones_like(cosines), cosines]
        for degree in range(1, self.l_max):
            legendre.append(((2 * degree + 1) * cosines * legendre[-1] - degree * legendre[-2]) / (degree + 1))
        norms = [math.sqrt((2 * degree + 1) / (4 * math.pi)) for degree in range(self.dim)]
        return torch.stack([norm * p for norm, p in zip(norms, legendre, strict=True)], dim=1)
