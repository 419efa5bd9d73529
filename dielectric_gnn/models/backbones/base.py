"""The contract between a graph neural network and everything after it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.utils.described import Describable
from dielectric_gnn.utils.errors import InputError


@dataclass(frozen=True)
class AtomFeatures:
    """What a backbone says about every atom.

    Shapes:
        scalars: (N, F₀), invariant under rotation, inversion and translation.
        tensors: (N, 5, F₂), even l = 2 in e3nn's order, or None.
    """

    scalars: Tensor
    tensors: Tensor | None = None


class Backbone(Describable, nn.Module, ABC):
    """A graph neural network: batch of crystals → features of every atom.

    To add an architecture, subclass this, set the dimensions in `super().__init__`, and write `forward`; name the
    class by its path in the configuration, and test it with `dielectric_gnn.testing.BackboneContract`. Collect over
    `edge_index` only (both directions of every pair are there, sorted by source) and build no feature from a frame,
    an absolute position, or another crystal of the batch.

    A network that sees elements, distances and angles alone, and counts every atom, edge and pair of `graph.orbits` as
    often as it occurs, may say so with `supports_orbits`; others are never given such graphs.

    Args:
        scalar_dim: F₀, the number of invariant features.
        cutoff: Distance (Å) up to which the graph must hold every neighbour.
        tensor_dim: F₂, the number of l = 2 features; 0 means none.
    """

    supports_orbits: bool = False

    def __init__(self, scalar_dim: int, cutoff: float = DEFAULT_CUTOFF, tensor_dim: int = 0) -> None:
        super().__init__()
        if scalar_dim < 1 or cutoff <= 0:
            raise InputError(f"{type(self).__name__}: width {scalar_dim} and cutoff {cutoff} Å must be positive")
        self.scalar_dim = scalar_dim
        self.tensor_dim = tensor_dim
        self.cutoff = cutoff

    @abstractmethod
    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom of the batch, in the order of the batch."""
