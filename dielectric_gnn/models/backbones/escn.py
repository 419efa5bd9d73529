"""ESCN: convolutions in edge-aligned frames, after eSCN (arXiv:2302.03655) and eSEN (arXiv:2502.12147)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF
from dielectric_gnn.models.backbones.equivariant import EquivariantBackbone
from dielectric_gnn.models.fused.atom_pairs import PairedEdges
from dielectric_gnn.models.fused.paired_frames import PairedFrames
from dielectric_gnn.models.layers.embedding import GroupPeriodEmbedding, NodeEmbedding
from dielectric_gnn.models.layers.equivariant import DegreeLinear, EquivariantNorm, FeedForward
from dielectric_gnn.models.layers.equivariant_edges import MESSAGE_SCALE, Edges
from dielectric_gnn.models.layers.frames import Frames
from dielectric_gnn.models.layers.fusable import FusedOption
from dielectric_gnn.models.layers.radial import GaussianBasis, RadialBasis
from dielectric_gnn.models.layers.wigner import WignerD, edge_frames
from dielectric_gnn.utils.errors import InputError


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

    For m > 0 a rotation of the frame about the edge acts on (x_+m, x_−m) as on a complex number. The general map is
    y_+ = W1 x_+ − W2 x_−, y_− = W1 x_− + W2 x_+. A mirror plane that contains the edge changes the sign of x_−m alone,
    so W2 breaks this symmetry: the network then distinguishes mirror images, and ε gets components that symmetry
    forbids.

    Shapes:
        for each |m| from 0 to l_max, (E, 1 or 2 signs, (l_max + 1 − |m|) · C) → the same with D in place of C.

    Args:
        l_max: Highest degree.
        in_dim: C.
        out_dim: D.
        chiral: Whether W2 exists.
    """

    def __init__(self, l_max: int, in_dim: int, out_dim: int, chiral: bool) -> None:
        super().__init__()
        self.chiral = chiral
        counts = [l_max + 1 - order for order in range(l_max + 1)]
        self.zero = nn.Linear(counts[0] * in_dim, counts[0] * out_dim)
        factor = 2 if chiral else 1
        self.others = nn.ModuleList(
            nn.Linear(count * in_dim, factor * count * out_dim, bias=False) for count in counts[1:]
        )

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Map every edge."""
        return [self.zero(x[0]), *(self.pair(linear, pair) for linear, pair in zip(self.others, x[1:], strict=True))]

    def pair(self, linear: nn.Module, x: Tensor) -> Tensor:
        """Map the two components of one |m|."""
        mapped: Tensor = linear(x)
        if not self.chiral:
            return mapped
        same, other = mapped.chunk(2, dim=2)
        return same + torch.stack([-other[:, 1], other[:, 0]], dim=1)


class SO2Convolution(nn.Module):
    """x_i += W Σ_j env_ij Dᵀ L2(φ(L1(w(t_ij) ⊙ D (A x_i + B x_j)))), with D the rotation into the frame of the edge.

    A, B and W are matrices for each degree. They commute with rotations, so they act on atoms, and only what
    depends on the frame is computed per edge: H channels of A x_i + B x_j, half of those of an atom by default (as the
    hidden channels of the attention of EquiformerV2, arXiv:2306.12059, are half of its features).

    Components with m = 0 do not change when the frame rotates about the edge. So φ may be SiLU for them, and their
    sigmoids may be gates of all other components, one for each degree and |m|. The radial weights w of the others
    multiply these gates instead of the components themselves, which are twice as many.

    Shapes:
        x (N, (l_max + 1)², C), frames → the shape of x.

    Args:
        width: C.
        edge_width: H.
        l_max: Highest degree.
        chiral: Whether `SO2Linear` may break mirror symmetry.
    """

    def __init__(self, width: int, edge_width: int, l_max: int, chiral: bool) -> None:
        super().__init__()
        degrees = range(l_max + 1)
        self.edge_width = edge_width
        self.sizes = [(l_max + 1 - order) * edge_width for order in degrees]
        self.norm = EquivariantNorm(degrees, width)
        self.of_source = DegreeLinear(degrees, width, edge_width)
        self.of_target = DegreeLinear(degrees, width, edge_width)
        self.radial = nn.Linear(width, self.sizes[0])
        self.gates = nn.Linear(self.sizes[0], sum(self.sizes[1:]))
        self.gate_radial = nn.Linear(width, sum(self.sizes[1:]))
        self.first = SO2Linear(l_max, edge_width, edge_width, chiral)
        self.second = SO2Linear(l_max, edge_width, edge_width, chiral)
        self.out = DegreeLinear(degrees, edge_width, width)

    def forward(self, x: Tensor, edges: Edges, frames: Frames) -> Tensor:
        """Update every atom."""
        zero, *others = self.rotated(self.norm(x), edges, frames)
        zero = zero * self.radial(edges.state)[:, None]
        gates = self.gates(zero).sigmoid() * self.gate_radial(edges.state)[:, None]
        zero, *others = self.first([zero, *others])
        gated = [block * gate for block, gate in zip(others, gates.split(self.sizes[1:], dim=2), strict=True)]
        messages = self.second([F.silu(zero), *gated])
        sums = frames.rotate_back_and_sum([message.flatten(1) for message in messages], self.edge_width)
        return x + self.out(sums * MESSAGE_SCALE)

    def rotated(self, x: Tensor, edges: Edges, frames: Frames) -> list[Tensor]:
        """D (A x_i + B x_j) of every edge, by |m|: (E, 1 or 2, count · H)."""
        both = edges.at_source(self.of_source(x)) + edges.at_target(self.of_target(x))
        blocks = zip(frames.rotate_in(both), self.sizes, strict=True)
        return [block.view(block.shape[0], block.shape[1] // size, size) for block, size in blocks]


class ESCNLayer(nn.Module):
    """Convolution, then feed-forward.

    Args:
        width: C.
        edge_width: H.
        l_max: Highest degree.
        chiral: Whether mirror symmetry may be broken.
        out_degrees: Degrees to return.
    """

    def __init__(self, width: int, edge_width: int, l_max: int, chiral: bool, out_degrees: list[int]) -> None:
        super().__init__()
        self.convolution = SO2Convolution(width, edge_width, l_max, chiral)
        self.feed_forward = FeedForward(range(l_max + 1), out_degrees, width)

    def forward(self, x: Tensor, edges: Edges, frames: Frames) -> Tensor:
        """Update every atom."""
        out: Tensor = self.feed_forward(self.convolution(x, edges, frames))
        return out


class ESCN(EquivariantBackbone):
    """SO(2) convolutions: each edge is rotated onto an axis, where a full map over degrees and channels is cheap.

    The most expressive messages of the equivariant backbones, and the most expensive. Source: eSCN (arXiv:2302.03655),
    eSEN (arXiv:2502.12147). The published maps are equivariant under rotations only; here they respect mirror planes
    too.

    Args:
        width: Channels of every degree.
        l_max: Highest degree of the features, 1 to 3.
        num_layers: Layers of convolution and feed-forward.
        edge_width: Channels of every degree on an edge; half of `width` if not given.
        node_embedding: Elements as features; a subclass of `NodeEmbedding`, by class path.
        edge_embedding: Distances as features; a subclass of `RadialBasis`, by class path.
        cutoff: Distance up to which atoms are neighbours (Å).
        tensors: Whether to return l = 2 features too, for heads that predict tensors; needs l_max ≥ 2.
        chiral: Whether to use the published maps, which break mirror symmetry: for comparison.
        fused: `auto` for the fused forms of the layers, `off` for the plain ones, which are slower but easy to read.
    """

    def __init__(
        self,
        width: int = 64,
        l_max: int = 2,
        num_layers: int = 2,
        edge_width: int | None = None,
        node_embedding: Callable[[], NodeEmbedding] = GroupPeriodEmbedding,
        edge_embedding: Callable[[float], RadialBasis] = GaussianBasis,
        cutoff: float = DEFAULT_CUTOFF,
        tensors: bool = False,
        chiral: bool = False,
        fused: FusedOption = "auto",
    ) -> None:
        super().__init__(width, l_max, num_layers, cutoff, tensors, node_embedding, edge_embedding)
        edge_width = (width + 1) // 2 if edge_width is None else edge_width
        if edge_width < 1:
            raise InputError(f"ESCN has edge_width {edge_width}, expected at least 1")
        self.wigner = WignerD(l_max)
        order = torch.tensor([degree * (degree + 1) + m for degree, m in components_by_order(l_max)])
        self.rows = [l_max + 1, *(2 * (l_max + 1 - order) for order in range(1, l_max + 1))]
        self.register_buffer("order", order, persistent=False)
        self.layers = nn.ModuleList(
            ESCNLayer(width, edge_width, l_max, chiral, self.degrees_after(layer)) for layer in range(num_layers)
        )
        self.set_fused(fused)

    def propagate(self, x: Tensor, edges: Edges) -> Tensor:
        """Run the layers, in frames that are computed once."""
        with torch.autocast(x.device.type, enabled=False):
            rotations = self.wigner(edge_frames(edges.directions))
            arguments = (rotations, self.get_buffer("order"), self.rows)
            frames = PairedFrames(edges, *arguments) if isinstance(edges, PairedEdges) else Frames(edges, *arguments)
        for layer in self.layers:
            x = layer(x, edges, frames)
        return x
