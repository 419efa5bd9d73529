"""Distances as features: radial bases and the envelope that fades them out at the cutoff."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dielectric_gnn.errors import InputError


def polynomial_envelope(u: Tensor, exponent: int) -> Tensor:
    """Smooth step from 1 at u = 0 to 0 at u = 1, where its first two derivatives vanish too.

    1 − (p+1)(p+2)/2 · u^p + p(p+2) · u^(p+1) − p(p+1)/2 · u^(p+2), and 0 for u ≥ 1 (arXiv:2003.03123, eq. 8).

    Args:
        u: Distance in units of the cutoff, any shape.
        exponent: p.
    """
    p = exponent
    polynomial = 1 - u**p * ((p + 1) * (p + 2) / 2 - u * (p * (p + 2) - u * (p * (p + 1) / 2)))
    return torch.where(u < 1, polynomial, torch.zeros_like(u))


class GaussianBasis(nn.Module):
    """Gaussians with evenly spaced centres on [0, cutoff], optionally times the polynomial envelope.

    Shapes:
        distances (E,) → (E, num_basis).

    Units:
        Å.

    Args:
        cutoff: Largest centre.
        num_basis: Number of Gaussians, at least 2.
        width: Standard deviation in units of the spacing of the centres.
        envelope_exponent: p of the envelope; None leaves it out.
    """

    centers: Tensor

    def __init__(
        self, cutoff: float, num_basis: int = 32, width: float = 4.0, envelope_exponent: int | None = 4
    ) -> None:
        super().__init__()
        if num_basis < 2 or width <= 0:
            raise InputError(f"num_basis is {num_basis} and width {width}, expected at least 2 and more than 0")
        self.dim = num_basis
        self.cutoff = cutoff
        self.envelope_exponent = envelope_exponent
        self.decay = -0.5 / (width * cutoff / (num_basis - 1)) ** 2
        centers = torch.linspace(0, cutoff, num_basis, dtype=torch.float64).to(torch.get_default_dtype())
        self.register_buffer("centers", centers, persistent=False)

    def forward(self, distances: Tensor) -> Tensor:
        """Features of each distance."""
        features = (self.decay * (distances[:, None] - self.centers) ** 2).exp()
        if self.envelope_exponent is None:
            return features
        return features * polynomial_envelope(distances[:, None] / self.cutoff, self.envelope_exponent)
