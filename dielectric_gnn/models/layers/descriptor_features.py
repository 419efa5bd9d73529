"""Descriptors of a material as further features, beside those of its atoms."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dielectric_gnn.data.composition import descriptor_names, graph_descriptors, standardisation, stored_descriptors
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.pair_descriptors import (
    num_structure_descriptors,
    stored_structure_descriptors,
    structure_descriptors,
)
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.layers.mlp import MLP

_MOST_DEVIATIONS = 5.0
"""Pair descriptors have long tails: those of an unusual crystal must not lead to features of any size."""


class DescriptorFeatures(nn.Module, ABC):
    """Features of a material from descriptors, standardised by the training set, to be added to the pooled features.

    A descriptor that does not vary in the training set is 0.

    Shapes:
        graph of B materials → (B, dim).

    Args:
        num: Number of descriptors.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, num: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(num))
        self.register_buffer("scale", torch.zeros(num))

    @abstractmethod
    def descriptors(self, graph: CrystalGraph) -> Tensor:
        """Descriptors of the materials of a batch (B, num)."""

    @abstractmethod
    def stored_descriptors(self, store: CrystalStore, rows: NDArray[np.int64]) -> Tensor:
        """The same, of materials of a store (D, num)."""

    def prepare(self, store: CrystalStore, rows: NDArray[np.int64]) -> None:
        """Take mean and standard deviation of the training materials; those of a continued model are kept.

        Args:
            store: Holds the materials.
            rows: Positions of the training materials, (D,).
        """
        if self.scale.any():
            return
        centre, scale = standardisation(self.stored_descriptors(store, rows))
        # In place, because DistributedDataParallel holds references to these tensors.
        self.centre.copy_(centre)
        self.scale.copy_(scale)

    def standardised(self, graph: CrystalGraph) -> Tensor:
        """Standardised descriptors of the materials of a batch (B, num)."""
        return (self.descriptors(graph) - self.centre) * self.scale


class CompositionFeatures(DescriptorFeatures):
    """A linear map of composition descriptors (`data.composition`).

    Pooling averages over atoms; the descriptors add minimum, maximum and spread over the composition, and the density.

    Args:
        dim: Number of features.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(len(descriptor_names()))
        self.linear = nn.Linear(len(self.centre), dim)

    def descriptors(self, graph: CrystalGraph) -> Tensor:
        """Composition descriptors."""
        return graph_descriptors(graph)

    def stored_descriptors(self, store: CrystalStore, rows: NDArray[np.int64]) -> Tensor:
        """Composition descriptors."""
        return stored_descriptors(store, rows)

    def forward(self, graph: CrystalGraph) -> Tensor:
        """Features of the materials of a batch."""
        features: Tensor = self.linear(self.standardised(graph))
        return features


class PairFeatures(DescriptorFeatures):
    """An MLP of one hidden layer of composition and pair descriptors (`data.pair_descriptors`).

    These are the descriptors of `StructureKernel`. Beyond five standard deviations they are clipped.

    Args:
        dim: Number of features, and width of the hidden layer.
        cutoff: Distance up to which pairs count (Å).
    """

    def __init__(self, dim: int, cutoff: float) -> None:
        super().__init__(num_structure_descriptors())
        self.cutoff = cutoff
        self.mlp = MLP([len(self.centre), dim, dim])

    def descriptors(self, graph: CrystalGraph) -> Tensor:
        """Composition and pair descriptors."""
        return structure_descriptors(graph, self.cutoff)

    def stored_descriptors(self, store: CrystalStore, rows: NDArray[np.int64]) -> Tensor:
        """Composition and pair descriptors."""
        return stored_structure_descriptors(store, rows, self.cutoff)

    def forward(self, graph: CrystalGraph) -> Tensor:
        """Features of the materials of a batch."""
        features: Tensor = self.mlp(self.standardised(graph).clamp(-_MOST_DEVIATIONS, _MOST_DEVIATIONS))
        return features
