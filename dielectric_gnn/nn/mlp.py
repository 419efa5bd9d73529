"""Multilayer perceptron with batch norm between the hidden layers, as the published models use it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm(nn.BatchNorm1d):
    """Batch norm that a batch of fewer than two rows does not break: it is normalised as in evaluation.

    Such batches occur: crystals without a three-body pair, an isolated atom without an edge.

    Shapes:
        (R, C) → (R, C).
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise every channel."""
        if self.training and input.shape[0] < 2:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        out: Tensor = super().forward(input)
        return out


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
            layers += [nn.Linear(fan_in, fan_out), BatchNorm(fan_out), nn.ReLU()]
        layers.append(nn.Linear(dims[-2], dims[-1]))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers in turn."""
        out: Tensor = self.layers(x)
        return out
