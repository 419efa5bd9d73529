"""Multilayer perceptron with batch norm between the hidden layers, as the published models use it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class MLP(nn.Module):
    """Linear → batch norm → ReLU for every hidden layer, then a plain linear layer.

    Equals `torch_geometric.nn.MLP(dims)` with its defaults (`plain_last=True`), parameter for parameter.

    Shapes:
        (R, dims[0]) → (R, dims[-1]).

    Args:
        dims: Widths from input to output; two of them give a single linear layer.
    """

    def __init__(self, dims: Sequence[int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(dims[:-1]):
            layers += [nn.Linear(fan_in, fan_out), nn.BatchNorm1d(fan_out), nn.ReLU()]
        layers.append(nn.Linear(dims[-2], dims[-1]))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers in turn."""
        out: Tensor = self.layers(x)
        return out
