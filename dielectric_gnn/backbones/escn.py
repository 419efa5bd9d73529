"""ESCN: convolutions in edge-aligned frames, after eSCN (arXiv:2302.03655) and eSEN (arXiv:2502.12147)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from dielectric_gnn.backbones.equivariant import EquivariantBackbone
from dielectric_gnn.data.graph import DEFAULT_CUTOFF
from dielectric_gnn.nn.equivariant import Edges, EquivariantNorm, FeedForward
from dielectric_gnn.nn.radial import GaussianBasis, RadialBasis
from dielectric_gnn.nn.wigner import WignerD, edge_frames


def components_by_order(l_max: int) -> list[tuple[int, int]]:
    """(l, m) of every component, by |m|: all of m = 0, then for each m > 0 those of +m and those of −m.

    Example:
        >>> components_by_order(1)
        [(0, 0), (1, 0), (1, 1), (1, -1)]
    """
    zero = [(degree, 0) for degree in range(l_max + 1)]
    signed = [sign * order for order in range(1, l_max + 1) for sign in (1, -1)]
    return zero + [(degree, m) for m in signed for degree in range(abs(m), l_max + 1)]


class SO2Linear(nn.Module):
    """A linear map in the frame of an edge: all channels of all degrees, but each |m| on its own.

    For m > 0 the pair (x_+m, x_−m) turns with the frame about the edge like a complex number. The general map is
    y_+ = W1 x_+ − W2 x_−, y_− = W1 x_− + W2 x_+. A mirror plane that holds the edge changes the sign of x_−m alone,
    so W2 breaks it: the network then tells left from right, and ε, which cannot, gets forbidden components.

    Shapes:
        (E, (l_max + 1)², C) in the order of `components_by_order` → (E, (l_max + 1)², D) and invariants (E, num_gates).

    Args:
        l_max: Highest degree.
        in_dim: C.
        out_dim: D.
        num_gates: Further outputs, with m = 0.
        chiral: Whether W2 exists.
    """

    def __init__(self, l_max: int, in_dim: int, out_dim: int, num_gates: int, chiral: bool) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.chiral = chiral
        self.degrees = [l_max + 1 - order for order in range(l_max + 1)]
        self.sizes = [self.degrees[0], *(2 * count for count in self.degrees[1:])]
        self.zero = nn.Linear(self.degrees[0] * in_dim, self.degrees[0] * out_dim + num_gates)
        factor = 2 if chiral else 1
        self.others = nn.ModuleList(
            nn.Linear(count * in_dim, factor * count * out_dim, bias=False) for count in self.degrees[1:]
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map every edge."""
        num_edges = x.shape[0]
        zero, *pairs = torch.split(x, self.sizes, dim=1)
        out = self.zero(zero.flatten(1))
        split = self.degrees[0] * self.out_dim
        blocks = [out[:, :split].view(num_edges, self.degrees[0], self.out_dim)]
        for linear, pair, count in zip(self.others, pairs, self.degrees[1:], strict=True):
            mapped = linear(pair.reshape(num_edges, 2, count * x.shape[2]))
            if self.chiral:
                same, other = mapped.chunk(2, dim=2)
                mapped = same + torch.stack([-other[:, 1], other[:, 0]], dim=1)
            blocks.append(mapped.view(num_edges, 2 * count, self.out_dim))
        return torch.cat(blocks, dim=1), out[:, split:]


class SO2Convolution(nn.Module):
    """x_i += Σ_j env_ij Dᵀ L2(gate(L1(w(t_ij) ⊙ D [x_i, x_j]))), with D the rotation into the frame of the edge.

    Shapes:
        x (N, (l_max + 1)², C), rotations (E, (l_max + 1)², (l_max + 1)²) → the shape of x.

    Args:
        width: C.
        l_max: Highest degree.
        chiral: Whether `SO2Linear` may break mirror symmetry.
    """

    weight_of: Tensor
    gate_of: Tensor

    def __init__(self, width: int, l_max: int, chiral: bool) -> None:
        super().__init__()
        self.gate_shape = (l_max, width)
        components = components_by_order(l_max)
        # +m and −m share a weight, all m of a degree share a gate: anything else would break equivariance.
        orders = [pair for pair in components if pair[1] >= 0]
        self.norm = EquivariantNorm(range(l_max + 1), width)
        self.weight_shape = (len(orders), 2 * width)
        self.radial = nn.Linear(width, len(orders) * 2 * width)
        self.first = SO2Linear(l_max, 2 * width, width, l_max * width, chiral)
        self.second = SO2Linear(l_max, width, width, 0, chiral)
        weight_of = torch.tensor([orders.index((degree, abs(m))) for degree, m in components])
        self.register_buffer("weight_of", weight_of, persistent=False)
        self.register_buffer("gate_of", torch.tensor([degree for degree, _ in components]), persistent=False)

    def forward(self, x: Tensor, edges: Edges, rotations: Tensor) -> Tensor:
        """Update every atom."""
        num_edges = edges.state.shape[0]
        normed = self.norm(x)
        both = torch.cat([normed.index_select(0, edges.source), normed.index_select(0, edges.target)], dim=2)
        weights = self.radial(edges.state).view(num_edges, *self.weight_shape).index_select(1, self.weight_of)
        hidden, gates = self.first((rotations @ both) * weights)
        # The gate of the scalars is their own sigmoid, which makes them SiLU.
        gates = torch.cat([hidden[:, :1], gates.view(num_edges, *self.gate_shape)], dim=1).sigmoid()
        messages, _ = self.second(hidden * gates.index_select(1, self.gate_of))
        return x + edges.collect(rotations.mT @ messages * edges.envelope[:, :, None], x.shape[0])


class ESCNLayer(nn.Module):
    """Convolution, then feed-forward.

    Args:
        width: C.
        l_max: Highest degree.
        chiral: Whether mirror symmetry may be broken.
        out_degrees: Degrees to return.
    """

    def __init__(self, width: int, l_max: int, chiral: bool, out_degrees: list[int]) -> None:
        super().__init__()
        self.convolution = SO2Convolution(width, l_max, chiral)
        self.feed_forward = FeedForward(range(l_max + 1), out_degrees, width)

    def forward(self, x: Tensor, edges: Edges, rotations: Tensor) -> Tensor:
        """Update every atom."""
        out: Tensor = self.feed_forward(self.convolution(x, edges, rotations))
        return out


class ESCN(EquivariantBackbone):
    """SO(2) convolutions: each edge is turned onto an axis, where a full map over degrees and channels is cheap.

    The most expressive messages here, and the most expensive. Source: eSCN (arXiv:2302.03655), eSEN
    (arXiv:2502.12147). The published maps are equivariant under rotations only; here they respect mirror planes too.

    Args:
        width: Channels of every degree.
        l_max: Highest degree of the features, 1 to 3.
        num_layers: Layers of convolution and feed-forward.
        edge_embedding: Distances as features; a subclass of `RadialBasis`, by class path.
        cutoff: Distance up to which atoms are neighbours (Å).
        tensors: Whether to yield l = 2 features too, for heads that predict tensors; needs l_max ≥ 2.
        chiral: Whether to use the published maps, which break mirror symmetry: for comparison.
    """

    def __init__(
        self,
        width: int = 64,
        l_max: int = 2,
        num_layers: int = 2,
        edge_embedding: Callable[[float], RadialBasis] = GaussianBasis,
        cutoff: float = DEFAULT_CUTOFF,
        tensors: bool = False,
        chiral: bool = False,
    ) -> None:
        super().__init__(width, l_max, num_layers, cutoff, tensors, edge_embedding)
        self.wigner = WignerD(l_max)
        order = torch.tensor([degree * (degree + 1) + m for degree, m in components_by_order(l_max)])
        self.register_buffer("order", order, persistent=False)
        self.layers = nn.ModuleList(
            ESCNLayer(width, l_max, chiral, self.degrees_after(layer)) for layer in range(num_layers)
        )

    def propagate(self, x: Tensor, edges: Edges) -> Tensor:
        """Run the layers, in frames that are made once."""
        with torch.autocast(x.device.type, enabled=False):
            rotations = self.wigner(edge_frames(edges.directions)).index_select(1, self.get_buffer("order"))
        for layer in self.layers:
            x = layer(x, edges, rotations)
        return x
