"""Spectra that are causal by construction: non-negative strengths of a fixed dictionary of oscillators."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from dielectric_gnn.models.heads.base import Head
from dielectric_gnn.models.heads.oscillator_bank import OscillatorBank
from dielectric_gnn.models.layers.mlp import MLP
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.oscillators import Dictionary
from dielectric_gnn.targets.response import Response
from dielectric_gnn.targets.training_statistics import TrainingStatistics


class OscillatorHead(Head):
    """ε_inter(ω) = 1 + Σ_n f_n · 2 ω_n / (ω_n² − (ω + iΓ)²) with f_n ≥ 0, and ω_D ≥ 0.

    Re and Im are sums over the same strengths: Kramers-Kronig relations and Im ε(ω > 0) ≥ 0 hold for any weights. An
    untrained model predicts approximately the mean of its training data.

    Args:
        dim: Number F₀ of pooled features.
        grid: Photon energies.
        tensor_dim: Must be 0: this head predicts averages.
        hidden_dims: Hidden widths of the MLP of the strengths; null means two layers of 4 F₀.
        dictionary: Transition energies; null means 400 up to the end of the grid and 24 up to
            200 eV.
        broadening_ev: Γ in eV, for data without a stated broadening; null means that of the training data.
    """

    def __init__(
        self,
        dim: int,
        grid: EnergyGrid,
        tensor_dim: int = 0,
        hidden_dims: Sequence[int] | None = None,
        dictionary: Dictionary | None = None,
        broadening_ev: float | None = None,
    ) -> None:
        super().__init__(dim, grid, tensor_dim, frozenset({"re", "im", "drude"}))
        self.bank = OscillatorBank(grid, dictionary or Dictionary(stop=grid.stop), broadening_ev)
        hidden = [4 * dim, 4 * dim] if hidden_dims is None else list(hidden_dims)
        self.strength_mlp = MLP([dim, *hidden, self.bank.num])
        self.drude_mlp = MLP([dim, dim, dim, 1])

    def prepare(self, statistics: TrainingStatistics) -> None:
        """Set broadening and scales from the training data."""
        self.bank.prepare(statistics)

    def strengths(self, features: Tensor) -> Tensor:
        """g_n ≥ 0 (B, n), in units of typical strengths: 1 where the output of the MLP is 0."""
        return F.softplus(self.strength_mlp(features)) / math.log(2)

    def forward(self, features: Tensor, tensors: Tensor | None = None) -> Response:
        """Pooled features (B, F₀) → response of B materials."""
        drude = self.bank.typical_drude * F.softplus(self.drude_mlp(features)).squeeze(1) / math.log(2)
        return Response(self.bank(self.strengths(features)), drude)
