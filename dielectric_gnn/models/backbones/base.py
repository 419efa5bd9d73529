"""The contract between a graph neural network and everything after it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.models.backbone_or_baseline import BackboneOrBaseline
from dielectric_gnn.models.layers.fusable import Fusable, FusedOption, set_fused
from dielectric_gnn.utils.errors import InputError


@dataclass(frozen=True)
class AtomFeatures:
    """The output of a backbone: features of every atom.

    Shapes:
        scalars: (N, F₀), invariant under rotation, inversion and translation.
        tensors: (N, 5, F₂), even l = 2 in e3nn's order, or None.
    """

    scalars: Tensor
    tensors: Tensor | None = None


class Backbone(BackboneOrBaseline, Fusable, ABC):
    """A graph neural network: batch of structures → features of every atom.

    To add an architecture, subclass this, set the dimensions in `super().__init__`, and write `forward`; give the class
    path in the configuration, and test the class with `dielectric_gnn.testing.BackboneContract`. Sum messages along
    `edge_index` only (it holds every edge in both directions, sorted by source), and compute no feature from a frame of
    reference, an absolute position, or another structure of the batch.

    A network that depends on elements, distances and angles only, and weights every atom, edge and pair of
    `graph.orbits` by its count, may set `supports_orbits`; orbit graphs are passed to such networks only.

    Args:
        scalar_dim: F₀, the number of invariant features.
        cutoff: Distance (Å) up to which the graph must hold every neighbour.
        tensor_dim: F₂, the number of l = 2 features; 0 means none.
    """

    def __init__(self, scalar_dim: int, cutoff: float = DEFAULT_CUTOFF, tensor_dim: int = 0) -> None:
        super().__init__()
        if scalar_dim < 1 or cutoff <= 0:
            raise InputError(f"{type(self).__name__}: width {scalar_dim} and cutoff {cutoff} Å must be positive")
        self.scalar_dim = scalar_dim
        self.tensor_dim = tensor_dim
        self.cutoff = cutoff

    def set_fused(self, fused: FusedOption) -> None:
        """Use the fused forms of all layers (`auto`), or the plain ones (`off`), for reading and debugging.

        Both are the same function of the same parameters. A subclass with such layers calls this when all are built.

        Raises:
            InputError: The option is neither `auto` nor `off`.
        """
        set_fused(self, fused)

    @abstractmethod
    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom of the batch, in the order of the batch."""
