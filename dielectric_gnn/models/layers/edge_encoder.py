"""Distances, directions and elements of the edges as inputs of the equivariant layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.models.fused.atom_pairs import AtomPairs, PairedEdges
from dielectric_gnn.models.layers.equivariant_edges import Edges
from dielectric_gnn.models.layers.fusable import Fusable
from dielectric_gnn.models.layers.radial import RadialBasis, polynomial_envelope
from dielectric_gnn.models.layers.so3 import spherical_harmonics
from dielectric_gnn.utils.errors import InputError


class EdgeEncoder(Fusable):
    """State of each edge: SiLU(W SiLU(W_r basis(d_ij) + W_s z_i + W_t z_j + b)), with the features z of the elements.

    The radial basis is used without its envelope, because the terms after it do not vanish at the cutoff. Layers
    instead multiply what they compute from the state by `Edges.envelope`, last: then the network is continuous where a
    neighbour crosses the cutoff.

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
                f"{type(self.radial).__name__} has envelope_exponent null, but equivariant backbones need an envelope "
                "that vanishes at the cutoff; give an exponent of at least 1"
            )
        self.envelope_exponent = self.radial.envelope_exponent
        self.distance = nn.Linear(self.radial.dim, width, bias=False)
        self.elements = nn.Linear(width, 2 * width)
        self.mix = nn.Linear(width, width)

    def forward(self, graph: CrystalGraph, elements: Tensor) -> Edges:
        """The edges of a batch, from the element features (N, C) of its atoms."""
        if self.fused:
            pairs = AtomPairs.from_edge_index(graph.edge_index, graph.num_atoms)
            edge_index, vectors = graph.edge_index.index_select(1, pairs.order), graph.edge_vectors[pairs.order]
            edges: Edges = PairedEdges.from_edges(self.geometry(edge_index, vectors, graph.num_atoms), pairs)
        else:
            edges = self.geometry(graph.edge_index, graph.edge_vectors, graph.num_atoms)
        of_source, of_target = self.elements(elements).chunk(2, dim=1)
        both = edges.expand(edges.at_source(of_source) + edges.at_target(of_target))
        state = torch.addmm(both, edges.state, self.distance.weight.T)
        return replace(edges, state=F.silu(self.mix(F.silu(state))))

    def geometry(self, edge_index: Tensor, vectors: Tensor, num_atoms: int) -> Edges:
        """The edges with the radial basis (E, num_basis) as their state."""
        source, target = edge_index.unbind(0)
        # Directions in bfloat16 would be off by half a degree.
        with torch.autocast(vectors.device.type, enabled=False):
            lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
            directions = vectors / lengths
            envelope = polynomial_envelope(lengths / self.cutoff, self.envelope_exponent)
            harmonics = spherical_harmonics(directions, self.l_max) * envelope
            return Edges(source, target, directions, envelope, harmonics, self.radial.basis(lengths), num_atoms)
