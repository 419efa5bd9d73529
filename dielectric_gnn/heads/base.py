"""The contract of heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, TypeAlias

from torch import Tensor, nn

from dielectric_gnn.grid import EnergyGrid
from dielectric_gnn.response import Response

Quantity: TypeAlias = Literal["re", "im", "drude"]
"""Re ε_inter, Im ε_inter and the Drude frequency: what a response consists of."""


class Head(nn.Module, ABC):
    """Turns the pooled features of a crystal into its optical response.

    The first two arguments are given by the model when it is built; a configuration states the others.

    Args:
        dim: Number F of pooled invariant features.
        grid: Photon energies of the spectra.
        outputs: The quantities this head predicts; it fills the others with NaN.
    """

    def __init__(self, dim: int, grid: EnergyGrid, outputs: frozenset[Quantity]) -> None:
        super().__init__()
        self.dim = dim
        self.grid = grid
        self.outputs = outputs

    @abstractmethod
    def forward(self, features: Tensor) -> Response:
        """Pooled features (B, F) → response of B crystals."""
