"""Distances as features: radial bases, and the envelope that vanishes smoothly at the cutoff."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dielectric_gnn.utils.errors import InputError


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


class RadialBasis(nn.Module, ABC):
    """Turns distances into features, optionally times the polynomial envelope.

    Shapes:
        distances (E,) → (E, dim).

    Units:
        Å.

    Args:
        dim: Number of features.
        cutoff: Distance at which the envelope reaches zero; set by the backbone.
        envelope_exponent: p of the envelope; None leaves it out.
    """

    def __init__(self, dim: int, cutoff: float, envelope_exponent: int | None) -> None:
        super().__init__()
        if envelope_exponent is not None and envelope_exponent < 1:
            raise InputError(f"envelope_exponent is {envelope_exponent}, expected at least 1, or null for no envelope")
        self.dim = dim
        self.cutoff = cutoff
        self.envelope_exponent = envelope_exponent

    @abstractmethod
    def basis(self, distances: Tensor) -> Tensor:
        """Features before the envelope: distances (E, 1) → (E, dim)."""

    def forward(self, distances: Tensor) -> Tensor:
        """Features of each distance."""
        distances = distances[:, None]
        features = self.basis(distances)
        if self.envelope_exponent is None:
            return features
        return features * polynomial_envelope(distances / self.cutoff, self.envelope_exponent)


class GaussianBasis(RadialBasis):
    """Gaussians with evenly spaced centres on [0, cutoff].

    Args:
        cutoff: Largest centre (Å).
        num_basis: Number of Gaussians, at least 2.
        width: Standard deviation in units of the spacing of the centres.
        envelope_exponent: p of the envelope; null leaves it out.
    """

    centers: Tensor

    def __init__(
        self, cutoff: float, num_basis: int = 32, width: float = 4.0, envelope_exponent: int | None = 4
    ) -> None:
        super().__init__(num_basis, cutoff, envelope_exponent)
        if num_basis < 2 or width <= 0:
            raise InputError(f"num_basis is {num_basis} and width {width}, expected at least 2 and more than 0")
        self.decay = -0.5 / (width * cutoff / (num_basis - 1)) ** 2
        centers = torch.linspace(0, cutoff, num_basis, dtype=torch.float64).to(torch.get_default_dtype())
        self.register_buffer("centers", centers, persistent=False)

    def basis(self, distances: Tensor) -> Tensor:
        """Gaussians of the distance to each centre."""
        return (self.decay * (distances - self.centers) ** 2).exp()


class BesselBasis(RadialBasis):
    """Spherical Bessel functions sqrt(2/c) · sin(k_n r / c) / r with k_n = nπ at first (arXiv:2003.03123).

    Args:
        cutoff: c (Å).
        num_basis: Number of functions.
        trainable: Whether the wave numbers k_n are learned.
        envelope_exponent: p of the envelope; null leaves it out.
    """

    wave_numbers: Tensor

    def __init__(
        self, cutoff: float, num_basis: int = 8, trainable: bool = False, envelope_exponent: int | None = 4
    ) -> None:
        super().__init__(num_basis, cutoff, envelope_exponent)
        if num_basis < 1:
            raise InputError(f"num_basis is {num_basis}, expected at least 1")
        self.prefactor = math.sqrt(2.0 / cutoff)
        wave_numbers = math.pi * torch.arange(1, num_basis + 1, dtype=torch.get_default_dtype())
        if trainable:
            self.wave_numbers = nn.Parameter(wave_numbers)
        else:
            self.register_buffer("wave_numbers", wave_numbers, persistent=False)

    def basis(self, distances: Tensor) -> Tensor:
        """Bessel functions of the distance."""
        return self.prefactor * (self.wave_numbers * distances / self.cutoff).sin() / distances
