"""ClebschGordan: tensor products with spherical harmonics, the form of NequIP (doi:10.1038/s41467-022-29939-5)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF
from dielectric_gnn.models.backbones.equivariant import EquivariantBackbone
from dielectric_gnn.models.layers.embedding import GroupPeriodEmbedding, NodeEmbedding
from dielectric_gnn.models.layers.equivariant import DegreeLinear, EquivariantNorm, FeedForward
from dielectric_gnn.models.layers.equivariant_edges import MESSAGE_SCALE, Edges
from dielectric_gnn.models.layers.fusable import FusedOption
from dielectric_gnn.models.layers.radial import GaussianBasis, RadialBasis
from dielectric_gnn.models.layers.so3 import coupling, degree_sizes


def paths_to(l3: int, l_max: int) -> list[tuple[int, int]]:
    """The (l1, l2) that couple to l3 with natural parity: l1 + l2 + l3 even.

    Example:
        >>> paths_to(2, 2)
        [(0, 2), (1, 1), (2, 0), (2, 2)]
    """
    degrees = range(l_max + 1)
    return [(l1, l2) for l1 in degrees for l2 in degrees if abs(l1 - l2) <= l3 <= l1 + l2 and (l1 + l2 + l3) % 2 == 0]


class TensorProduct(nn.Module):
    """m^l3 = Σ_paths (x^l1 ⊗ M_path)^l3 / √(number of paths), channel by channel; M_path has degree l2.

    Shapes:
        x (P, (l_max + 1)², C); for each l2, M (P, 2 l2 + 1, num_paths · C) with the paths that have this l2, in the
        order of `self.paths` → (P, (l_max + 1)², C).

    Args:
        l_max: Highest degree.
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.sizes = degree_sizes(range(l_max + 1))
        self.paths: list[list[tuple[int, int]]] = [[] for _ in self.sizes]
        """For each l2, the (l1, l3) that it couples."""
        for l3 in range(l_max + 1):
            blocks = []
            for l1, l2 in paths_to(l3, l_max):
                self.paths[l2].append((l1, l3))
                coefficients = coupling(l1, l2, l3)
                # A scalar product needs the products of equal components only.
                blocks.append(coefficients.diagonal() if l3 == 0 else coefficients.flatten(0, 1).T)
            constants = (torch.cat(blocks, dim=1) / math.sqrt(len(blocks))).to(torch.get_default_dtype())
            self.register_buffer(f"constants{l3}", constants, persistent=False)

    def forward(self, x: Tensor, factors: list[Tensor]) -> Tensor:
        """The product of each pair."""
        x_blocks = torch.split(x, self.sizes, dim=1)
        factor_of = {
            (l1, l2, l3): block
            for l2, (factor, paths) in enumerate(zip(factors, self.paths, strict=True))
            for (l1, l3), block in zip(paths, factor.chunk(len(paths), dim=2), strict=True)
        }
        out = []
        for l3, _ in enumerate(self.sizes):
            factors_of = [(x_blocks[l1], factor_of[l1, l2, l3]) for l1, l2 in paths_to(l3, len(self.sizes) - 1)]
            if l3 == 0:
                products = [block * factor for block, factor in factors_of]
            else:
                products = [(block[:, :, None] * factor[:, None]).flatten(1, 2) for block, factor in factors_of]
            out.append(self.get_buffer(f"constants{l3}") @ torch.cat(products, dim=1))
        return torch.cat(out, dim=1)


class ClebschGordanLayer(nn.Module):
    """x_i += W Σ_j env_ij [w(t_ij) ⊙ (V x_j ⊗ Y(r̂_ij))], then feed-forward.

    The weights w are linear in the edge state t, so env w(t) ⊙ Y = w(env Y ⊗ t), and the products env Y ⊗ t are the
    same for all layers. Edges to several images of one atom may share their sum (`Edges.merge_products`).

    Args:
        width: C.
        l_max: Highest degree.
        out_degrees: Degrees to return.
    """

    def __init__(self, width: int, l_max: int, out_degrees: list[int]) -> None:
        super().__init__()
        degrees = range(l_max + 1)
        self.norm = EquivariantNorm(degrees, width)
        self.before = DegreeLinear(degrees, width, width)
        self.product = TensorProduct(l_max)
        self.radial = nn.ModuleList(nn.Linear(width, len(paths) * width, bias=False) for paths in self.product.paths)
        self.after = DegreeLinear(degrees, width, width)
        self.feed_forward = FeedForward(degrees, out_degrees, width)

    def forward(self, x: Tensor, edges: Edges, products: list[Tensor]) -> Tensor:
        """Update every atom."""
        neighbours = edges.at_target(self.before(self.norm(x)))
        factors = [linear(product) for linear, product in zip(self.radial, products, strict=True)]
        messages = edges.sum_at_source(self.product(neighbours, factors)) * MESSAGE_SCALE
        out: Tensor = self.feed_forward(x + self.after(messages))
        return out


class ClebschGordan(EquivariantBackbone):
    """Tensor products of neighbours with spherical harmonics, weighted by distance and both elements: a reference.

    The form of NequIP (doi:10.1038/s41467-022-29939-5): every coupling that keeps natural parity, with a weight for
    each path and channel. Its product equals `e3nn.o3.TensorProduct` with "uvu" instructions.

    Args:
        width: Channels of every degree.
        l_max: Highest degree of the features, 1 to 3.
        num_layers: Layers of tensor product and feed-forward.
        node_embedding: Elements as features; a subclass of `NodeEmbedding`, by class path.
        edge_embedding: Distances as features; a subclass of `RadialBasis`, by class path.
        cutoff: Distance up to which atoms are neighbours (Å).
        tensors: Whether to return l = 2 features too, for heads that predict tensors; needs l_max ≥ 2.
        fused: `auto` for the fused forms of the layers, `off` for the plain ones, which are slower but easy to read.
    """

    def __init__(
        self,
        width: int = 64,
        l_max: int = 2,
        num_layers: int = 2,
        node_embedding: Callable[[], NodeEmbedding] = GroupPeriodEmbedding,
        edge_embedding: Callable[[float], RadialBasis] = GaussianBasis,
        cutoff: float = DEFAULT_CUTOFF,
        tensors: bool = False,
        fused: FusedOption = "auto",
    ) -> None:
        super().__init__(width, l_max, num_layers, cutoff, tensors, node_embedding, edge_embedding)
        self.layers = nn.ModuleList(
            ClebschGordanLayer(width, l_max, self.degrees_after(layer)) for layer in range(num_layers)
        )
        self.set_fused(fused)

    def propagate(self, x: Tensor, edges: Edges) -> Tensor:
        """Run the layers."""
        products = edges.merge_products(edges.state)
        of_degree = list(torch.split(products, degree_sizes(range(self.l_max + 1)), dim=1))
        for layer in self.layers:
            x = layer(x, edges, of_degree)
        return x
