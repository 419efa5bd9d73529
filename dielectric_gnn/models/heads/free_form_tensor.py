"""Free-form spectra of whole tensors, passive in every direction by construction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dielectric_gnn.models.heads.base import Head
from dielectric_gnn.models.layers.gated_tensors import GatedTensors
from dielectric_gnn.models.layers.mlp import MLP
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.irreducible import norm_square, root_mean_square, square
from dielectric_gnn.targets.response import Anisotropy, Response


class FreeFormTensorHead(Head):
    """ε and ω_D² as symmetric tensors T = a·1 + Σ_k s_k Q^k, every point of the spectra a free output.

    The isotropic parts come from the scalars, as in `FreeFormHead`, the deviators from the l = 2 features. Re ε is
    free. Im ε = M² and ω_D² = R² are squares of symmetric matrices: positive semidefinite, and smooth where eigenvalues
    are degenerate, as in every cubic crystal.

    Args:
        dim: Number F₀ of pooled invariant features.
        grid: Photon energies.
        tensor_dim: Number F₂ of pooled l = 2 features.
        hidden_dims: Hidden widths of the isotropic MLP; null means two layers of 4 F₀.
        tensor_hidden_dim: Channels of the gated deviators; null means 4 F₂.
    """

    tensorial = True

    def __init__(
        self,
        dim: int,
        grid: EnergyGrid,
        tensor_dim: int,
        hidden_dims: Sequence[int] | None = None,
        tensor_hidden_dim: int | None = None,
    ) -> None:
        super().__init__(dim, grid, tensor_dim, frozenset({"re", "im", "drude"}))
        hidden = [4 * dim, 4 * dim] if hidden_dims is None else list(hidden_dims)
        tensor_hidden = 4 * tensor_dim if tensor_hidden_dim is None else tensor_hidden_dim
        self.isotropic_mlp = MLP([dim, *hidden, 2 * grid.num])
        self.deviator = GatedTensors(dim, tensor_dim, tensor_hidden, 2 * grid.num)
        self.drude_mlp = MLP([dim, dim, dim, 1])
        self.drude_deviator = GatedTensors(dim, tensor_dim, tensor_dim, 1)

    def forward(self, features: Tensor, tensors: Tensor | None = None) -> Response:
        """Pooled features (B, F₀) and (B, 5, F₂) → response of B materials, with its anisotropy."""
        if tensors is None:
            raise ValueError("FreeFormTensorHead needs l = 2 features")
        real, root = self.isotropic_mlp(features).view(-1, self.grid.num, 2).unbind(dim=2)
        root = 1 + root  # the initial M is 1: at M = 0 the gradient of its square vanishes
        real_deviator, root_deviator = self.deviator(features, tensors).view(-1, 5, self.grid.num, 2).unbind(dim=3)
        imaginary, imaginary_deviator = square(root, root_deviator)
        drude_root = F.softplus(self.drude_mlp(features)).squeeze(1)
        drude_deviator = self.drude_deviator(features, tensors).squeeze(2)
        return Response(
            torch.stack([real, imaginary], dim=2),
            root_mean_square(drude_root, drude_deviator),
            anisotropy=Anisotropy(
                eps_inter=torch.stack([real_deviator, imaginary_deviator], dim=3),
                drude=torch.cat([drude_root[:, None], drude_deviator], dim=1),
                component_mask=torch.ones(features.shape[0], 5, dtype=torch.bool, device=features.device),
                average=Response(
                    torch.stack([real, root.square() + norm_square(root_deviator.detach()) / 3], dim=2),
                    root_mean_square(drude_root, drude_deviator.detach()),
                ),
            ),
        )
