"""Tensor spectra that are causal, and passive in every direction, by construction."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dielectric_gnn.models.heads.base import Head
from dielectric_gnn.models.heads.oscillator_bank import OscillatorBank
from dielectric_gnn.models.layers.gated_tensors import GatedTensors
from dielectric_gnn.models.layers.mlp import MLP
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.irreducible import norm_square, root_mean_square, square
from dielectric_gnn.targets.oscillators import Dictionary
from dielectric_gnn.targets.response import Anisotropy, Response
from dielectric_gnn.targets.training_statistics import TrainingStatistics


class OscillatorTensorHead(Head):
    """`OscillatorHead` with tensors for strengths: F_n = M_n², passive in every direction; and ω_D² = R².

    M_n = a_n·1 + Σ_k s_nk Q^k; a from the scalars, s from the l = 2 features.

    Args:
        dim: Number F₀ of pooled invariant features.
        grid: Photon energies.
        tensor_dim: Number F₂ of pooled l = 2 features.
        hidden_dims: Hidden widths of the isotropic MLP; null means two layers of 4 F₀.
        tensor_hidden_dim: Channels of the gated deviators; null means 4 F₂.
        dictionary: Transition energies; null means 400 up to the end of the grid and 24 up to
            200 eV.
        broadening_ev: Γ in eV, for data without a stated broadening; null means that of the training data.
    """

    tensorial = True

    def __init__(
        self,
        dim: int,
        grid: EnergyGrid,
        tensor_dim: int,
        hidden_dims: Sequence[int] | None = None,
        tensor_hidden_dim: int | None = None,
        dictionary: Dictionary | None = None,
        broadening_ev: float | None = None,
    ) -> None:
        super().__init__(dim, grid, tensor_dim, frozenset({"re", "im", "drude"}))
        self.bank = OscillatorBank(grid, dictionary or Dictionary(stop=grid.stop), broadening_ev)
        hidden = [4 * dim, 4 * dim] if hidden_dims is None else list(hidden_dims)
        tensor_hidden = 4 * tensor_dim if tensor_hidden_dim is None else tensor_hidden_dim
        self.root_mlp = MLP([dim, *hidden, self.bank.num])
        self.root_deviator = GatedTensors(dim, tensor_dim, tensor_hidden, self.bank.num)
        self.drude_mlp = MLP([dim, dim, dim, 1])
        self.drude_deviator = GatedTensors(dim, tensor_dim, tensor_dim, 1)

    def prepare(self, statistics: TrainingStatistics) -> None:
        """Set broadening and scales from the training data."""
        self.bank.prepare(statistics)

    def forward(self, features: Tensor, tensors: Tensor | None = None) -> Response:
        """Pooled features (B, F₀) and (B, 5, F₂) → response of B materials, with its anisotropy."""
        if tensors is None:
            raise ValueError("OscillatorTensorHead needs l = 2 features")
        root, deviator = 1 + self.root_mlp(features), self.root_deviator(features, tensors)
        strengths, strengths_deviator = square(root, deviator)
        average = root.square() + norm_square(deviator.detach()) / 3
        eps_inter, eps_average = self.bank(torch.stack([strengths, average], dim=1)).unbind(dim=1)
        drude = self.bank.typical_drude * F.softplus(self.drude_mlp(features)).squeeze(1) / math.log(2)
        drude_deviator = self.bank.typical_drude * self.drude_deviator(features, tensors).squeeze(2)
        component_mask = torch.ones(features.shape[0], 5, dtype=torch.bool, device=features.device)
        return Response(
            eps_inter,
            root_mean_square(drude, drude_deviator),
            anisotropy=Anisotropy(
                eps_inter=self.bank.susceptibility(strengths_deviator),
                drude=torch.cat([drude[:, None], drude_deviator], dim=1),
                component_mask=component_mask,
                average=Response(eps_average, root_mean_square(drude, drude_deviator.detach())),
            ),
        )
