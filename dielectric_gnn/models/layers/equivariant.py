"""Layers that act on features of several degrees.

Features are (N, K, C): the components of all their degrees, one degree after the other, then channels. Scalars, degree
0, always come first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.models.layers.equivariant_edges import MESSAGE_SCALE, Edges
from dielectric_gnn.models.layers.so3 import component_degrees, degree_sizes


class NeighbourEmbedding(nn.Module):
    """First features of every degree: W^l Σ_j env_ij Y^l(r̂_ij) state_ij, added to the features of the element.

    Shapes:
        elements (N, C) → (N, (l_max + 1)², C).

    Args:
        width: C.
        l_max: Highest degree.
    """

    def __init__(self, width: int, l_max: int) -> None:
        super().__init__()
        self.linear = DegreeLinear(range(l_max + 1), width, width)

    def forward(self, elements: Tensor, edges: Edges) -> Tensor:
        """Features of every atom."""
        return add_scalars(self.linear(edges.moments(edges.state) * MESSAGE_SCALE), elements)


def add_scalars(x: Tensor, scalars: Tensor) -> Tensor:
    """Features (N, K, C) with scalars (N, C) added to those of degree 0."""
    return torch.cat([x[:, :1] + scalars[:, None], x[:, 1:]], dim=1)


class EquivariantNorm(nn.Module):
    """x / rms(x) times a weight for each degree and channel; every degree has the same share in the mean square.

    All degrees are divided by the same number: the tensors of a nearly cubic crystal stay small relative to its
    scalars, and those of a cubic crystal, which are rounding errors, are not amplified.

    Shapes:
        (N, K, C) → (N, K, C).

    Args:
        degrees: Degrees of x.
        width: C.
        eps: Added to the mean square.
    """

    shares: Tensor
    index: Tensor

    def __init__(self, degrees: Sequence[int], width: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(len(degrees), width))
        shares = [1 / (len(degrees) * (2 * degree + 1)) for degree in component_degrees(degrees)]
        index = [list(degrees).index(degree) for degree in component_degrees(degrees)]
        self.register_buffer("shares", torch.tensor(shares)[:, None], persistent=False)
        self.register_buffer("index", torch.tensor(index), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every atom."""
        mean_square = (x.square().mean(dim=2, keepdim=True) * self.shares).sum(dim=1, keepdim=True)
        return x * (mean_square + self.eps).rsqrt() * self.weight.index_select(0, self.index)


class DegreeLinear(nn.Module):
    """A matrix over the channels for each degree, the same for all its components, without bias.

    Initial matrices keep the variance of their input. Those of `nn.Linear` are √3 times smaller, so that tensors, which
    pass several linear maps without a nonlinearity, would start far smaller than the scalars.

    Shapes:
        (N, K, C) → (N, K, D).

    Args:
        degrees: Degrees of x.
        in_dim: C.
        out_dim: D.
    """

    def __init__(self, degrees: Sequence[int], in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.sizes = degree_sizes(degrees)
        self.weight = nn.Parameter(torch.empty(len(self.sizes), in_dim, out_dim))
        nn.init.normal_(self.weight, std=1 / math.sqrt(in_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Mix channels."""
        blocks = zip(torch.split(x, self.sizes, dim=1), self.weight.unbind(0), strict=True)
        return torch.cat([block @ weight for block, weight in blocks], dim=1)


class FeedForward(nn.Module):
    """x + f(norm(x)): an MLP of the scalars and of the size of every tensor gives new scalars and gates for tensors.

    v = W^l x^l; n^l = √(|v^l|² / (2l + 1) + eps); (Δ⁰, g) = MLP(x⁰, n); x⁰ += Δ⁰; x^l += g^l v^l.

    Shapes:
        (N, K of `degrees`, C) → (N, K of `out_degrees`, C).

    Args:
        degrees: Degrees of x, 0 first.
        out_degrees: Degrees to return, 0 first. The last layer of a backbone returns only those that are used, because
            the others would have parameters without a gradient.
        width: C.
        eps: Keeps the gradient of the size finite where symmetry makes a tensor vanish.
    """

    def __init__(self, degrees: Sequence[int], out_degrees: Sequence[int], width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.sizes = degree_sizes(degrees)
        self.kept = [list(degrees).index(degree) for degree in out_degrees]
        self.eps = eps
        self.norm = EquivariantNorm(degrees, width)
        self.values = DegreeLinear(degrees[1:], width, width)
        self.hidden = nn.Linear(len(degrees) * width, width)
        self.out = nn.Linear(width, len(out_degrees) * width)

    def forward(self, x: Tensor) -> Tensor:
        """Update every atom."""
        normed = self.norm(x)
        values = torch.split(self.values(normed[:, 1:]), self.sizes[1:], dim=1)
        norms = [(value.square().mean(dim=1) + self.eps).sqrt() for value in values]
        hidden = F.silu(self.hidden(torch.cat([normed[:, 0], *norms], dim=1)))
        scalars, *gates = self.out(hidden).chunk(len(self.kept), dim=1)
        blocks = torch.split(x, self.sizes, dim=1)
        updated = [blocks[0] + scalars[:, None]]
        for gate, place in zip(gates, self.kept[1:], strict=True):
            updated.append(blocks[place] + gate[:, None] * values[place - 1])
        return torch.cat(updated, dim=1)
