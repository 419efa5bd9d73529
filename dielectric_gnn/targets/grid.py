"""The photon-energy grid of a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.utils.errors import InputError

_TOLERANCE = 1e-2
"""Tolerance of `EnergyGrid.matches`, as a fraction of the spacing; such shifts do not change a spectrum visibly."""


@dataclass(frozen=True)
class EnergyGrid:
    """Evenly spaced photon energies on which every spectrum of a data set is sampled.

    Units:
        eV.

    Args:
        start: Lowest energy.
        stop: Highest energy, included.
        num: Number of points W.

    Example:
        >>> grid = EnergyGrid()
        >>> grid.num, grid.spacing
        (2001, 0.01)
    """

    start: float = 0.0
    stop: float = 20.0
    num: int = 2001

    def __post_init__(self) -> None:
        if not (0.0 <= self.start < self.stop and self.num >= 2):
            raise InputError(f"energy grid {self}: expected 0 <= start < stop and at least 2 points")

    @property
    def spacing(self) -> float:
        """Distance of neighbouring points in eV."""
        return (self.stop - self.start) / (self.num - 1)

    def energies(self) -> NDArray[np.float64]:
        """The energies in eV, shape (W,)."""
        return np.linspace(self.start, self.stop, self.num)

    def matches(self, energies: NDArray[np.float64]) -> bool:
        """Whether the `energies` (W,) of a file are this grid, up to a hundredth of its spacing.

        The published files deviate from it by up to 1.2e-5 eV, a thousandth of the spacing, after a unit conversion.
        """
        return energies.shape == (self.num,) and bool(
            np.allclose(energies, self.energies(), rtol=0.0, atol=_TOLERANCE * self.spacing)
        )

    def __str__(self) -> str:
        return f"{self.num} points on {self.start:g} to {self.stop:g} eV"
