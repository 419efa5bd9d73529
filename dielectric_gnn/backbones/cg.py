"""ClebschGordan: tensor products with spherical harmonics, the form of NequIP (doi:10.1038/s41467-022-29939-5)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dielectric_gnn.backbones.equivariant import EquivariantBackbone
from dielectric_gnn.data.graph import DEFAULT_CUTOFF
from dielectric_gnn.nn.equivariant import DegreeLinear, Edges, EquivariantNorm, FeedForward
from dielectric_gnn.nn.radial import GaussianBasis, RadialBasis
from dielectric_gnn.nn.so3 import coupling


def paths_to(l3: int, l_max: int) -> list[tuple[int, int]]:
    """The (l1, l2) that couple to l3 with natural parity: l1 + l2 + l3 even.

    Example:
        >>> paths_to(2, 2)
        [(0, 2), (1, 1), (2, 0), (2, 2)]
    """
    degrees = range(l_max + 1)
    return [(l1, l2) for l1 in degrees for l2 in degrees if abs(l1 - l2) <= l3 <= l1 + l2 and (l1 + l2 + l3) % 2 == 0]


class EdgeCoupling(nn.Module):
    """The matrices that couple a neighbour's x^l1 to every degree l3 of an edge: Σ_m2 C^{l1 l2 l3} Y^l2(r̂).

    They depend on the edges alone, so that all layers and channels share them.

    Shapes:
        harmonics (E, (l_max + 1)²) → for each l3, (E, 2 l3 + 1, Σ 2 l1 + 1) over its paths.

    Args:
        l_max: Highest degree of features and harmonics.
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.l_max = l_max
        for l3 in range(l_max + 1):
            blocks = []
            for l1, l2 in paths_to(l3, l_max):
                block = torch.zeros((l_max + 1) ** 2, 2 * l3 + 1, 2 * l1 + 1, dtype=torch.float64)
                block[l2**2 : (l2 + 1) ** 2] = coupling(l1, l2, l3).permute(1, 2, 0)
                blocks.append(block)
            constants = torch.cat(blocks, dim=2).to(torch.get_default_dtype())
            self.register_buffer(f"constants{l3}", constants, persistent=False)

    def forward(self, harmonics: Tensor) -> list[Tensor]:
        """The matrices of each edge."""
        matrices = []
        with torch.autocast(harmonics.device.type, enabled=False):
            for l3 in range(self.l_max + 1):
                constants = self.get_buffer(f"constants{l3}")
                products = harmonics @ constants.flatten(1)
                matrices.append(products.view(harmonics.shape[0], *constants.shape[1:]))
        return matrices


class TensorProduct(nn.Module):
    """m^l3 = Σ_paths w_path ⊙ (x^l1 ⊗ Y^l2)^l3 / √(number of paths), channel by channel.

    Shapes:
        x (E, (l_max + 1)², C), weights (E, num_paths · C), matrices of `EdgeCoupling` → (E, (l_max + 1)², C).
        Paths are in the order of l3, then of `paths_to`.

    Args:
        l_max: Highest degree.
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.num_paths = 0
        self.counts = [len(paths_to(l3, l_max)) for l3 in range(l_max + 1)]
        for l3, count in enumerate(self.counts):
            degrees = [l1 for l1, _ in paths_to(l3, l_max)]
            components = [l1**2 + m for l1 in degrees for m in range(2 * l1 + 1)]
            path = [self.num_paths + k for k, l1 in enumerate(degrees) for _ in range(2 * l1 + 1)]
            self.register_buffer(f"components{l3}", torch.tensor(components), persistent=False)
            self.register_buffer(f"path{l3}", torch.tensor(path), persistent=False)
            self.num_paths += count

    def forward(self, x: Tensor, weights: Tensor, matrices: list[Tensor]) -> Tensor:
        """The product of each edge."""
        weights = weights.view(x.shape[0], self.num_paths, x.shape[2])
        products = []
        for l3, (matrix, count) in enumerate(zip(matrices, self.counts, strict=True)):
            features = x.index_select(1, self.get_buffer(f"components{l3}"))
            features = features * weights.index_select(1, self.get_buffer(f"path{l3}"))
            products.append(matrix @ features / math.sqrt(count))
        return torch.cat(products, dim=1)


class ClebschGordanLayer(nn.Module):
    """x_i += W Σ_j env_ij [w(t_ij) ⊙ (V x_j ⊗ Y(r̂_ij))], then feed-forward.

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
        self.radial = nn.Linear(width, self.product.num_paths * width)
        self.after = DegreeLinear(degrees, width, width)
        self.feed_forward = FeedForward(degrees, out_degrees, width)

    def forward(self, x: Tensor, edges: Edges, matrices: list[Tensor]) -> Tensor:
        """Update every atom."""
        neighbours = self.before(self.norm(x)).index_select(0, edges.target)
        weights = self.radial(edges.state) * edges.envelope
        messages = edges.collect(self.product(neighbours, weights, matrices), x.shape[0])
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
        edge_embedding: Distances as features; a subclass of `RadialBasis`, by class path.
        cutoff: Distance up to which atoms are neighbours (Å).
        tensors: Whether to yield l = 2 features too, for heads that predict tensors; needs l_max ≥ 2.
    """

    def __init__(
        self,
        width: int = 64,
        l_max: int = 2,
        num_layers: int = 2,
        edge_embedding: Callable[[float], RadialBasis] = GaussianBasis,
        cutoff: float = DEFAULT_CUTOFF,
        tensors: bool = False,
    ) -> None:
        super().__init__(width, l_max, num_layers, cutoff, tensors, edge_embedding)
        self.coupling = EdgeCoupling(l_max)
        self.layers = nn.ModuleList(
            ClebschGordanLayer(width, l_max, self.degrees_after(layer)) for layer in range(num_layers)
        )

    def propagate(self, x: Tensor, edges: Edges) -> Tensor:
        """Run the layers."""
        matrices = self.coupling(edges.harmonics)
        for layer in self.layers:
            x = layer(x, edges, matrices)
        return x
