"""Spectra as combinations of the principal components of the training spectra."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.models.baselines.principal_components import PrincipalComponents
from dielectric_gnn.models.heads.base import Head
from dielectric_gnn.models.layers.mlp import MLP, Activation
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.utils.errors import InputError

_SMALLEST_STD_EV = 0.1
"""Of the Drude frequency: a training set without variance still gets a usable scale."""


class LowRankHead(Head):
    """ε_inter(ω) = mean(ω) + Σ_k z_k σ_k v_k(ω): v_k are the directions of largest variance of the training spectra.

    σ_k is the standard deviation of the training spectra along v_k, so the outputs z_k of the MLP have variance 1 where
    the fit is perfect. Spectra are as smooth as the training spectra. The Drude frequency is mean + z σ, at least 0. An
    untrained model predicts the mean of its training data. With `model.causal`, all this is of the transformed spectra.

    Args:
        dim: Number F₀ of pooled features.
        grid: Photon energies.
        tensor_dim: Must be 0: this head predicts averages.
        components: Largest number of directions, of Re and Im together.
        explained_variance: Directions are left out from where the ones before explain this share of the variance.
        hidden_dims: Hidden widths of the MLP of the spectrum; null means two layers of F₀.
        drude_hidden_dims: Hidden widths of the MLP of the Drude frequency; null means two layers of F₀.
        activation: Of the hidden layers.

    Raises:
        InputError: The number of directions or the share is out of range.
    """

    supports_residuals = True
    needs_labels = True
    mean: Tensor
    directions: Tensor
    drude_scale: Tensor

    def __init__(
        self,
        dim: int,
        grid: EnergyGrid,
        tensor_dim: int = 0,
        components: int = 32,
        explained_variance: float = 1.0,
        hidden_dims: Sequence[int] | None = None,
        drude_hidden_dims: Sequence[int] | None = None,
        activation: Activation = "relu",
    ) -> None:
        super().__init__(dim, grid, tensor_dim, frozenset({"re", "im", "drude"}))
        if components < 1 or not 0 < explained_variance <= 1:
            raise InputError(
                f"LowRankHead: components is {components} and explained_variance {explained_variance}, expected at "
                "least 1, and a share above 0 and at most 1"
            )
        self.explained_variance = explained_variance
        widths = [dim, dim]
        self.spectrum_mlp = _starting_at_zero([dim, *(hidden_dims or widths), components], activation)
        self.drude_mlp = _starting_at_zero([dim, *(drude_hidden_dims or widths), 1], activation)
        self.register_buffer("mean", torch.full((2 * grid.num,), torch.nan))
        self.register_buffer("directions", torch.zeros(components, 2 * grid.num))
        self.register_buffer("drude_scale", torch.tensor([0.0, 1.0]))  # mean and standard deviation

    def prepare_from_labels(self, labels: Response) -> None:
        """Find mean and directions of the training spectra; those of a continued or fine-tuned model are kept.

        Raises:
            InputError: No material has labels of Re and Im.
        """
        if not self.mean.isnan().all():
            return
        spectra = labels.eps_inter[labels.part_mask().all(dim=1)].flatten(1)
        if not len(spectra):
            raise InputError(
                "LowRankHead needs training materials with Re eps and Im eps, and there is none; choose FreeFormHead"
            )
        components = PrincipalComponents(len(self.directions))
        scores = components.fit(spectra)
        std = scores.std(dim=0, correction=0)
        share = std.square().cumsum(dim=0) / spectra.double().var(dim=0, correction=0).sum()
        kept = int((share < self.explained_variance - 1e-9).sum()) + 1
        # In place, because DistributedDataParallel holds references to these tensors.
        self.mean.copy_(components.mean)
        self.directions[: components.num].copy_(std[:, None] * components.basis)
        self.directions[kept:].zero_()
        known = labels.drude[labels.drude_mask()]
        if len(known):
            std_drude = known.std(correction=0).clamp(min=_SMALLEST_STD_EV)
            self.drude_scale.copy_(torch.stack([known.mean(), std_drude]))

    def forward(self, features: Tensor, tensors: Tensor | None = None) -> Response:
        """Pooled features (B, F₀) → response of B materials."""
        scores, drude = self.spectrum_mlp(features), self.drude_mlp(features).squeeze(1)
        with torch.autocast(features.device.type, enabled=False):
            spectra = torch.addmm(self.mean, scores.to(self.directions.dtype), self.directions)
            drude = self.drude_scale[0] + self.drude_scale[1] * drude.to(self.drude_scale.dtype)
        return Response(spectra.view(-1, self.grid.num, 2), drude if self.residual else F.relu(drude))


def _starting_at_zero(widths: Sequence[int], activation: Activation) -> MLP:
    """An MLP whose output is 0 before training."""
    mlp = MLP(widths, activation)
    nn.init.zeros_(mlp.last.weight)
    nn.init.zeros_(mlp.last.bias)
    return mlp
