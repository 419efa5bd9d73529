"""A fixed dictionary of damped oscillators: its spectra are causal, and passive if no strength is negative.

ε_inter(ω) = 1 + Σ_n f_n · 2 ω_n / (ω_n² − (ω + iΓ)²). Every pole, ±ω_n − iΓ, lies in the lower half plane, so Re and Im
are Kramers-Kronig partners for any f; and for f_n ≥ 0, Im ε(ω > 0) ≥ 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError


@dataclass(frozen=True)
class Dictionary:
    """Transition energies: equally spaced in (0, stop], then geometrically up to `tail_stop`.

    The tail represents all transitions above the window, which contribute to Re ε within it.

    Args:
        num: Number of energies in the window.
        stop: Upper end of the window in eV.
        num_tail: Number of energies above it.
        tail_stop: Highest energy of the tail in eV.
    """

    num: int = 400
    stop: float = 20.0
    num_tail: int = 24
    tail_stop: float = 200.0

    def __post_init__(self) -> None:
        tail = self.num_tail == 0 or self.stop < self.tail_stop < math.inf
        if not (self.num >= 1 and self.num_tail >= 0 and 0 < self.stop < math.inf and tail):
            raise InputError(
                f"a dictionary of {self.num} energies up to {self.stop} eV and {self.num_tail} up to {self.tail_stop} "
                "eV: expected at least one energy, a window above 0 eV, and a tail that ends above the window"
            )

    def energies(self) -> NDArray[np.float64]:
        """The transition energies ω_n, increasing, in eV."""
        window = np.linspace(0, self.stop, self.num + 1)[1:]
        tail = np.geomspace(self.stop, self.tail_stop, self.num_tail + 1)[1:]
        return np.concatenate([window, tail])

    def kernel(self, grid: EnergyGrid, broadening: float) -> NDArray[np.complex128]:
        """Contribution to ε of an oscillator of strength 1: (number of energies, W).

        Args:
            grid: Photon energies.
            broadening: Γ in eV.
        """
        return lorentzians(self.energies(), grid.energies(), broadening)

    def smooth_strengths(
        self, eps_inter: NDArray[np.complex128], grid: EnergyGrid, broadening: float
    ) -> NDArray[np.float64]:
        """Positive strengths whose spectrum approximates a given one; scales for the outputs of a network.

        In the window, a strength is the area of Im ε around its energy over π, so the broadening is applied twice.
        In the tail, strengths are proportional to ω_n, with a factor fitted to the remainder of Re ε.

        Shapes:
            eps_inter (W,) → (number of energies,).
        """
        energies, width = self.energies()[: self.num], self.stop / self.num
        loss = np.interp(energies, grid.energies(), eps_inter.imag, right=0.0)
        window = width / np.pi * loss.clip(min=0)
        strengths = np.concatenate([window, self.energies()[self.num :]])
        kernel = self.kernel(grid, broadening)
        missing = (eps_inter - 1 - window @ kernel[: self.num]).real
        missing = np.nan_to_num(missing)  # NaN where Re ε is not known
        tail = (strengths[self.num :] @ kernel[self.num :]).real
        share = float(tail @ missing / (tail @ tail)) if self.num_tail else 0.0
        floor = 0.05 * max(float(window.mean()), 1e-6)
        strengths[: self.num] = window.clip(min=floor)
        strengths[self.num :] *= max(share, 1e-6)
        return strengths


def lorentzians(
    transitions: NDArray[np.float64], energies: NDArray[np.floating], broadening: float
) -> NDArray[np.complex128]:
    """2 ω_n / (ω_n² − (ω + iΓ)²): transitions (n,) and energies (W,) in eV → (n, W).

    Raises:
        InputError: The broadening is not positive.
    """
    if not broadening > 0:
        raise InputError(f"broadening is {broadening} eV, expected more than 0")
    omega = transitions[:, None]
    return np.asarray(2 * omega / (omega**2 - (energies + 1j * broadening) ** 2), dtype=np.complex128)
