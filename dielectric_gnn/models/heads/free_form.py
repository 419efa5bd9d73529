"""The published head: every point of the spectrum is a free output (arXiv:2602.05702)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from dielectric_gnn.models.heads.base import Head, Quantity
from dielectric_gnn.models.layers.mlp import MLP, Activation
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.utils.errors import InputError

Component = Literal["re", "im"]
_COMPONENTS: tuple[Component, ...] = ("re", "im")


class FreeFormHead(Head):
    """One MLP for the spectrum, one (ending in a ReLU) for the Drude frequency.

    Args:
        dim: Number F of pooled features.
        grid: Photon energies.
        tensor_dim: Must be 0: this head predicts averages.
        hidden_dims: Hidden widths of the spectrum MLP; null means two layers of 4 F, the published [F, 4F, 4F, 4002].
        components: Parts of ε_inter to predict, of `re` and `im`; the published OptiMate has `im` only.
        leaky_output: Leaky ReLU on the spectrum, as in the published OptiMate.
        drude: Whether to predict the Drude frequency.
        drude_hidden_dims: Hidden widths of the Drude MLP; null means two layers of F, as published.
        activation: Of the hidden layers.
    """

    supports_residuals = True

    def __init__(
        self,
        dim: int,
        grid: EnergyGrid,
        tensor_dim: int = 0,
        hidden_dims: Sequence[int] | None = None,
        components: Sequence[Component] = _COMPONENTS,
        leaky_output: bool = False,
        drude: bool = True,
        drude_hidden_dims: Sequence[int] | None = None,
        activation: Activation = "relu",
    ) -> None:
        chosen = [name for name in _COMPONENTS if name in components]
        if not chosen or len(chosen) != len(components):
            raise InputError(f"components is {list(components)}, expected 're', 'im' or both")
        outputs: set[Quantity] = {*chosen, "drude"} if drude else {*chosen}
        super().__init__(dim, grid, tensor_dim, frozenset(outputs))
        self.components = chosen
        self.leaky_output = leaky_output
        hidden = [4 * dim, 4 * dim] if hidden_dims is None else list(hidden_dims)
        self.spectrum_mlp = MLP([dim, *hidden, grid.num * len(chosen)], activation)
        drude_hidden = [dim, dim] if drude_hidden_dims is None else list(drude_hidden_dims)
        self.drude_mlp = MLP([dim, *drude_hidden, 1], activation) if drude else None

    def forward(self, features: Tensor, tensors: Tensor | None = None) -> Response:
        """Pooled features (B, F) → response of B materials."""
        spectrum = self.spectrum_mlp(features)
        if self.leaky_output:
            spectrum = F.leaky_relu(spectrum)
        spectrum = spectrum.view(-1, self.grid.num, len(self.components))
        if len(self.components) < len(_COMPONENTS):
            missing = torch.full_like(spectrum, torch.nan)
            parts = (spectrum, missing) if self.components == ["re"] else (missing, spectrum)
            spectrum = torch.cat(parts, dim=2)
        if self.drude_mlp is None:
            return Response(spectrum, spectrum.new_full(spectrum.shape[:1], torch.nan))
        drude = self.drude_mlp(features).squeeze(1)
        return Response(spectrum, drude if self.residual else F.relu(drude))
