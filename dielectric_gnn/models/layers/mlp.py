"""Multilayer perceptron with batch norm between the hidden layers, as the published models use it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, TypeAlias, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.models.fused.hidden_layer import hidden_layer, residual_mlp
from dielectric_gnn.models.layers.segment import at_least_float32
from dielectric_gnn.utils.errors import InputError

_WIDENING = 2
"""Ratio of widths from which statistics are cheaper to have from the input of a layer than from its output."""

Activation: TypeAlias = Literal[
    "relu", "leakyrelu", "silu", "celu", "gelu", "elu", "mish", "softplus", "sigmoid", "tanh"
]
"""Those of the published search, with PyTorch's default parameters; only ReLU, which was chosen, has the fast forms."""

_ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "silu": nn.SiLU,
    "celu": nn.CELU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "mish": nn.Mish,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}

Counts: TypeAlias = int | Tensor
"""How many equal rows each row stands for: one number for all, or (R,)."""


class BatchNorm(nn.BatchNorm1d):
    """Batch norm that a batch of fewer than two rows does not break: it is normalised as in evaluation.

    Such batches occur: crystals without a three-body pair, an isolated atom without an edge. Rows that are known to
    occur several times can be given once.

    Shapes:
        (R, C) → (R, C).
    """

    # Always there: neither can be switched off from here.
    momentum: float
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def forward(self, input: Tensor, counts: Counts = 1) -> Tensor:
        """Normalise every channel of rows that stand for several equal rows each."""
        rows = input.shape[0]
        if self.training and rows < 2 and (rows == 0 or int(counts) < 2):
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if not self.training or (isinstance(counts, int) and counts == 1):
            out: Tensor = super().forward(input)
            return out
        if rows == 1:
            return self(input.repeat(int(counts), 1))[:1]
        if isinstance(counts, Tensor):
            return self._weighted(input, counts)
        # With momentum 1 the buffers receive the statistics of this batch alone.
        mean, variance = torch.zeros_like(self.running_mean), torch.zeros_like(self.running_var)
        out = F.batch_norm(input, mean, variance, self.weight, self.bias, True, 1.0, self.eps)
        self.remember(mean, variance * ((rows - 1) / rows), rows * counts)
        return out

    def _weighted(self, input: Tensor, counts: Tensor) -> Tensor:
        """Statistics in which every row has its own weight."""
        with torch.autocast(input.device.type, enabled=False):
            input, num = at_least_float32(input), counts.sum()
            share = counts / num
            mean = share @ input
            centred = input - mean
            variance = share @ centred.square()
            self.remember(mean.detach(), variance.detach(), num)
            return torch.addcmul(self.bias, centred, self.weight * (variance + self.eps).rsqrt())

    @torch.no_grad()
    def remember(self, mean: Tensor, variance: Tensor, rows: Counts) -> None:
        """Take the biased statistics of a batch of that many rows into the running ones."""
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var) * (rows / (rows - 1)), self.momentum)


class MLP(nn.Module):
    """Linear → batch norm → activation for every hidden layer, then a plain linear layer.

    Equals `torch_geometric.nn.MLP(dims, act=activation)` with its other defaults (`plain_last=True`), parameter for
    parameter.

    Shapes:
        (R, dims[0]) → (R, dims[-1]).

    Args:
        dims: Widths from input to output; two of them give a single linear layer.
        activation: Of the hidden layers.

    Raises:
        InputError: The activation is unknown, or there are fewer than two widths.
    """

    def __init__(self, dims: Sequence[int], activation: Activation = "relu") -> None:
        super().__init__()
        if activation not in _ACTIVATIONS:
            raise InputError(f"activation is {activation!r}, expected one of {', '.join(get_args(Activation))}")
        if len(dims) < 2:
            raise InputError(f"an MLP of the widths {list(dims)}: expected input and output; depth must be at least 0")
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(dims[:-1]):
            layers += [nn.Linear(fan_in, fan_out), BatchNorm(fan_out), _ACTIVATIONS[activation]()]
        layers.append(nn.Linear(dims[-2], dims[-1]))
        self.layers = nn.Sequential(*layers)

    @property
    def last(self) -> nn.Linear:
        """The linear layer at the end."""
        return cast("nn.Linear", self.layers[-1])

    def hidden(self, x: Tensor, counts: Counts = 1) -> Tensor:
        """What the last linear layer acts on, of rows that stand for several equal rows each."""
        layers = list(self.layers)[:-1]
        for linear, norm, activation in zip(layers[::3], layers[1::3], layers[2::3], strict=True):
            x = _hidden_layer(x, cast("nn.Linear", linear), norm, activation, counts)
        return x

    def forward(self, x: Tensor, counts: Counts = 1) -> Tensor:
        """Apply the layers in turn to rows that stand for several equal rows each."""
        out: Tensor = self.last(self.hidden(x, counts))
        return out

    def residual(self, x: Tensor, counts: Counts = 1) -> Tensor:
        """X + MLP(x)."""
        match list(self.layers):
            case [nn.Linear() as first, BatchNorm() as norm, nn.ReLU(), nn.Linear() as last] if _folds(x, first, norm):
                own = (first.weight, first.bias, norm.weight, norm.bias)
                weights = counts if isinstance(counts, Tensor) else None
                out, mean, variance = residual_mlp(x, *own, last.weight, last.bias, norm.eps, weights)
                norm.remember(mean, variance, _number(x, counts))
                return out
        return x + self(x, counts)


def _number(x: Tensor, counts: Counts) -> Counts:
    """How many rows those of x stand for."""
    return counts.sum() if isinstance(counts, Tensor) else x.shape[0] * counts


def _folds(x: Tensor, linear: nn.Linear, norm: BatchNorm) -> bool:
    """Whether the statistics of training are best taken from the input of a layer: if it widens, for many rows.

    In half precision they are taken from its output, where they are computed in float32.
    """
    widens = linear.out_features >= _WIDENING * linear.in_features
    many = x.shape[0] >= max(linear.out_features, 2)  # the rest of the work is on the weights
    return norm.training and widens and many and not torch.is_autocast_enabled(x.device.type)


def _hidden_layer(x: Tensor, linear: nn.Linear, norm: nn.Module, activation: nn.Module, counts: Counts) -> Tensor:
    """Linear → batch norm → activation, by the form that costs least and equals the others."""
    out: Tensor
    if not isinstance(norm, BatchNorm):  # replaced from outside, by batch norm over processes for example
        repeats = torch.as_tensor(counts, device=x.device).long().expand(x.shape[0])
        every = norm(linear(x.repeat_interleave(repeats, dim=0)))
        out = activation(every.index_select(0, repeats.cumsum(0) - repeats))
        return out
    if not norm.training:
        # The running statistics are constants, so linear layer and norm are one linear layer.
        factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias + factor * (linear.bias - norm.running_mean)
        out = activation(F.linear(x, factor[:, None] * linear.weight, shift))
        return out
    if not isinstance(activation, nn.ReLU) or not _folds(x, linear, norm):
        out = activation(norm(linear(x), counts))
        return out
    weights = counts if isinstance(counts, Tensor) else None
    out, mean, variance = hidden_layer(x, linear.weight, linear.bias, norm.weight, norm.bias, norm.eps, weights)
    norm.remember(mean, variance, _number(x, counts))
    return out
