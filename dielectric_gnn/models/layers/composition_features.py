"""Composition descriptors as further features of a material, beside those of its atoms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dielectric_gnn.data.composition import descriptor_names, graph_descriptors, standardisation
from dielectric_gnn.data.graphs.graph import CrystalGraph


class CompositionFeatures(nn.Module):
    """A linear map of standardised composition descriptors (`data.composition`).

    Pooling averages over atoms; the descriptors add minimum, maximum and spread over the composition, and the density,
    to the pooled features. Mean and standard deviation are those of the training set; a descriptor that does not vary
    in it is 0.

    Shapes:
        graph of B materials → (B, dim).

    Args:
        dim: Number of features.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        num = len(descriptor_names())
        self.linear = nn.Linear(num, dim)
        self.register_buffer("centre", torch.zeros(num))
        self.register_buffer("scale", torch.zeros(num))

    def prepare(self, descriptors: Tensor) -> None:
        """Take mean and standard deviation of the training materials (D, F); those of a continued model are kept."""
        if self.scale.any():
            return
        centre, scale = standardisation(descriptors)
        # In place, because DistributedDataParallel holds references to these tensors.
        self.centre.copy_(centre)
        self.scale.copy_(scale)

    def forward(self, graph: CrystalGraph) -> Tensor:
        """Features of the materials of a batch."""
        features: Tensor = self.linear((graph_descriptors(graph) - self.centre) * self.scale)
        return features
