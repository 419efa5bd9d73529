"""Bricks of the equivariant backbones: edges with their states, and layers that act on features of several degrees.

Features are (N, K, C): the components of all their degrees, one degree after the other, then channels. Scalars, degree
0, always come first.

Crystals have tens of edges per atom, and most of these lead to images of few atoms: an fcc metal has 54 edges within
5.5 Å and a single pair of atoms. So whatever depends on the atoms alone is computed once per atom or per pair
(`AtomPairs`), and sums over edges come before linear maps: W Σ_j m_ij in place of Σ_j W m_ij.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.models.layers.radial import RadialBasis, polynomial_envelope
from dielectric_gnn.models.layers.segment import Blocks
from dielectric_gnn.models.layers.so3 import components_of, sizes_of, spherical_harmonics
from dielectric_gnn.utils.errors import InputError

MESSAGE_SCALE = 1 / math.sqrt(30)
"""Sums over neighbours are multiplied by this. It is not the actual number of neighbours, which should be felt."""


@dataclass(frozen=True)
class AtomPairs:
    """The different (source, target) among the edges; edges to several images of one atom share a pair.

    Shapes:
        order: (E,) int64, sorts the edges of the graph by pair, and so by source. of_edge: (E,) int64, the pair of each
        edge after sorting. source, target: (P,) int64, of each pair.
    """

    order: Tensor
    of_edge: Tensor
    source: Tensor
    target: Tensor

    @classmethod
    def of(cls, edge_index: Tensor, num_atoms: int) -> AtomPairs:
        """The pairs of a graph."""
        source, target = edge_index.unbind(0)
        if torch.compiler.is_compiling():
            # Sizes that depend on values break a compiled graph; taking every edge for a pair gives the same sums.
            edges = torch.arange(source.shape[0], device=source.device)
            return cls(edges, edges, source, target)
        keys, order = torch.sort(source * num_atoms + target, stable=True)
        keys, of_edge = torch.unique_consecutive(keys, return_inverse=True)
        return cls(order, of_edge, keys // num_atoms, keys % num_atoms)

    @property
    def count(self) -> int:
        """P."""
        return self.source.shape[0]

    def blocks(self) -> Blocks:
        """The edges in blocks by pair, of a size that fills at least half of the places."""
        size = min(8, self.of_edge.shape[0] // max(self.count, 1))
        return Blocks.of(self.of_edge, self.count, max(size, 1))


@dataclass(frozen=True)
class Edges:
    """What a network needs of the edges of a batch, computed once; sorted by pair.

    Shapes:
        source, target: (E,) int64. directions: (E, 3), unit vectors from source to target. envelope: (E, 1), 1 at zero
        distance and 0 at the cutoff. harmonics: (E, K), those of the directions times the envelope. state: (E, C), of
        the distance and both elements. blocks: by source. block_harmonics: (num_blocks, size, K), in these blocks.
    """

    source: Tensor
    target: Tensor
    pairs: AtomPairs
    directions: Tensor
    envelope: Tensor
    harmonics: Tensor
    state: Tensor
    blocks: Blocks
    block_harmonics: Tensor

    def moments(self, values: Tensor) -> Tensor:
        """Σ_j env_ij Y(r̂_ij) ⊗ v_ij over the edges of each atom: values (E, C) → (N, K, C)."""
        with torch.autocast(values.device.type, enabled=False):
            return self.blocks.weighted_sum(self.block_harmonics, values.to(self.block_harmonics.dtype))


class EdgeEncoder(nn.Module):
    """Distances, directions and elements of the edges as `Edges`.

    The radial basis is used without its envelope. The biases after it would outlive that one, so layers multiply
    whatever they have made of the state by `Edges.envelope`, last: then nothing jumps when a neighbour crosses the
    cutoff.

    Args:
        width: C, of states and of the element features.
        edge_embedding: Builds the radial basis from the cutoff; its envelope exponent is that of `Edges.envelope`.
        l_max: Highest degree of the harmonics.
        cutoff: Distance (Å) at which the envelope reaches zero.
    """

    def __init__(self, width: int, edge_embedding: Callable[[float], RadialBasis], l_max: int, cutoff: float) -> None:
        super().__init__()
        self.l_max = l_max
        self.cutoff = cutoff
        self.radial = edge_embedding(cutoff)
        if self.radial.envelope_exponent is None:
            raise InputError(
                f"{type(self.radial).__name__} has envelope_exponent null, but an equivariant backbone fades out every "
                "edge at the cutoff; give an exponent of at least 1"
            )
        self.envelope_exponent = self.radial.envelope_exponent
        self.distance = nn.Linear(self.radial.dim, width, bias=False)
        self.elements = nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)

    def forward(self, graph: CrystalGraph, elements: Tensor) -> Edges:
        """The edges of a batch, given the element features (N, C) of its atoms."""
        pairs = AtomPairs.of(graph.edge_index, graph.num_atoms)
        source, target = graph.edge_index.index_select(1, pairs.order).unbind(0)
        vectors = graph.edge_vectors.index_select(0, pairs.order)
        blocks = Blocks.of(source, graph.num_atoms)
        # Directions in bfloat16 would be off by half a degree.
        with torch.autocast(vectors.device.type, enabled=False):
            lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
            directions = vectors / lengths
            envelope = polynomial_envelope(lengths / self.cutoff, self.envelope_exponent)
            harmonics = spherical_harmonics(directions, self.l_max) * envelope
            basis = self.radial.basis(lengths)
        state = self.state_of(basis, elements, pairs)
        return Edges(source, target, pairs, directions, envelope, harmonics, state, blocks, blocks.spread(harmonics))

    def state_of(self, basis: Tensor, elements: Tensor, pairs: AtomPairs) -> Tensor:
        """SiLU(W SiLU(W_r basis + W_s z_i + W_t z_j)): the terms of elements once per pair."""
        of_source, of_target = self.elements(elements).chunk(2, dim=1)
        of_pair = of_source.index_select(0, pairs.source) + of_target.index_select(0, pairs.target)
        state = torch.addmm(of_pair.index_select(0, pairs.of_edge), basis, self.distance.weight.T)
        return F.silu(self.mix(F.silu(state)))


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
    """Features (N, K, C) with more added to those of degree 0: (N, C)."""
    return torch.cat([x[:, :1] + scalars[:, None], x[:, 1:]], dim=1)


class EquivariantNorm(nn.Module):
    """x / rms(x) times a weight for each degree and channel; every degree has the same share in the mean square.

    All degrees are divided by one number: the tensors of a nearly cubic crystal stay small beside its scalars, and
    rounding errors, all that is left of them in a cubic one, are not blown up.

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
        shares = [1 / (len(degrees) * (2 * degree + 1)) for degree in components_of(degrees)]
        index = [list(degrees).index(degree) for degree in components_of(degrees)]
        self.register_buffer("shares", torch.tensor(shares)[:, None], persistent=False)
        self.register_buffer("index", torch.tensor(index), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every atom."""
        mean_square = (x.square().mean(dim=2, keepdim=True) * self.shares).sum(dim=1, keepdim=True)
        return x * (mean_square + self.eps).rsqrt() * self.weight.index_select(0, self.index)


class DegreeLinear(nn.Module):
    """A matrix over the channels for each degree, the same for all its components, without bias.

    New matrices keep the variance of their input. Those of `nn.Linear` are √3 times smaller: made for what a
    nonlinearity follows, they would let tensors, which meet several maps in a row, start far below the scalars.

    Shapes:
        (N, K, C) → (N, K, D).

    Args:
        degrees: Degrees of x.
        in_dim: C.
        out_dim: D.
    """

    def __init__(self, degrees: Sequence[int], in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.sizes = sizes_of(degrees)
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
        out_degrees: Those to keep, 0 first. The last layer of a backbone keeps what is read from it: the others
            would have parameters that no gradient reaches.
        width: C.
        eps: Keeps the gradient of the size finite where symmetry makes a tensor vanish.
    """

    def __init__(self, degrees: Sequence[int], out_degrees: Sequence[int], width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.sizes = sizes_of(degrees)
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
