"""Edge-aligned frames and exact Wigner matrices, without angles."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.models.layers.so3 import coupling, degree_sizes, validated_degree


def edge_frames(directions: Tensor) -> Tensor:
    """A rotation for each edge that maps its direction to y, the polar axis.

    With u the direction and h the Cartesian axis least parallel to it, the rows are a = h × u / |h × u|, u and
    a × u. |h × u|² ≥ 2/3, so nothing is singular; Euler angles have infinite gradients along ±y, where every cubic
    crystal has edges. Which h is taken changes the frame by a rotation about u, on which no result may depend.

    Shapes:
        directions (E, 3), unit vectors → (E, 3, 3).
    """
    axis = F.one_hot(directions.abs().argmin(dim=1), 3).to(directions.dtype)
    a = torch.linalg.cross(axis, directions)
    a = a / torch.linalg.vector_norm(a, dim=1, keepdim=True)
    return torch.stack([a, directions, torch.linalg.cross(a, directions)], dim=1)


class WignerD(nn.Module):
    """Wigner matrices D⁰ … D^l_max of proper rotations, as one block-diagonal matrix: Y(R v) = D(R) Y(v).

    D⁰ = 1, D¹ = R, D^l_kk' = Σ C_iak D^(l−1)_ij R_ab C_jbk' with C = √(2l + 1) · w3j(l − 1, 1, l): a polynomial in the
    entries of R.

    Shapes:
        rotations (E, 3, 3) → (E, (l_max + 1)², (l_max + 1)²).

    Args:
        l_max: Highest degree, 1 to 3.
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.l_max = validated_degree(l_max, type(self).__name__)
        for degree in range(2, l_max + 1):
            step = coupling(degree - 1, 1, degree)
            twice = torch.einsum("iak,jbl->ijabkl", step, step).flatten(4).flatten(0, 3)
            self.register_buffer(f"step{degree}", twice.to(torch.get_default_dtype()), persistent=False)

    def forward(self, rotations: Tensor) -> Tensor:
        """The matrix of each rotation."""
        entries = rotations.flatten(1)
        blocks = [torch.ones_like(rotations[:, :1, :1]), rotations]
        for degree in range(2, self.l_max + 1):
            products = (blocks[-1].flatten(1)[:, :, None] * entries[:, None]).flatten(1)
            block = products @ self.get_buffer(f"step{degree}")
            blocks.append(block.view(-1, 2 * degree + 1, 2 * degree + 1))
        return self._block_diagonal(blocks)

    def _block_diagonal(self, blocks: list[Tensor]) -> Tensor:
        rows, before, total = [], 0, (self.l_max + 1) ** 2
        for block, size in zip(blocks, degree_sizes(range(self.l_max + 1)), strict=True):
            rows.append(F.pad(block, (before, total - before - size)))
            before += size
        return torch.cat(rows, dim=1)
