"""Multilayer perceptron with batch norm in the hidden layers, as in the published models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal, TypeAlias, cast, get_args

from torch import Tensor, nn

from dielectric_gnn.models.fused.mlp import fused_hidden_layer, fused_residual
from dielectric_gnn.models.layers.batch_norm import BatchNorm, Counts, normalise_rows
from dielectric_gnn.models.layers.fusable import Fusable
from dielectric_gnn.utils.errors import InputError

Activation: TypeAlias = Literal[
    "relu", "leakyrelu", "silu", "celu", "gelu", "elu", "mish", "softplus", "sigmoid", "tanh"
]
"""Those of the published hyper-parameter search, with PyTorch's default parameters; only ReLU has fused forms."""

Norm: TypeAlias = Literal["batch", "layer", "none"]
"""Of the hidden layers: batch norm, as published; layer norm of each row, which depends on no other row and suits small
training sets; or none."""

_NORMS: dict[Norm, type[nn.Module]] = {"batch": BatchNorm, "layer": nn.LayerNorm, "none": nn.Identity}

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


class MLP(Fusable):
    """Linear → batch norm → activation for every hidden layer, then a linear layer; `set_norm` changes the norm.

    Equals `torch_geometric.nn.MLP(dims, act=activation)` with its other defaults (`plain_last=True`), parameter for
    parameter.

    Shapes:
        x (R, dims[0]), counts: how many equal rows each row stands for, one number for all or (R,) → (R, dims[-1]).

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

    def set_norm(self, norm: Norm) -> None:
        """Replace the norms of the hidden layers by others in their initial state."""
        for place in range(1, len(self.layers) - 1, 3):
            linear = cast("nn.Linear", self.layers[place - 1])
            self.layers[place] = _NORMS[norm](linear.out_features)

    @property
    def last(self) -> nn.Linear:
        """The last linear layer."""
        return cast("nn.Linear", self.layers[-1])

    def hidden(self, x: Tensor, counts: Counts = 1) -> Tensor:
        """Output of the hidden layers, the input of the last linear layer."""
        for linear, norm, activation in self._hidden_layers():
            if self.fused:
                x = fused_hidden_layer(x, linear, norm, activation, counts)
            else:
                x = activation(normalise_rows(norm, linear(x), counts))
        return x

    def forward(self, x: Tensor, counts: Counts = 1) -> Tensor:
        """Apply all layers."""
        out: Tensor = self.last(self.hidden(x, counts))
        return out

    def residual(self, x: Tensor, counts: Counts = 1) -> Tensor:
        """The residual block x + MLP(x)."""
        if self.fused and (out := fused_residual(x, self.layers, counts)) is not None:
            return out
        return x + self(x, counts)

    def _hidden_layers(self) -> Iterator[tuple[nn.Linear, nn.Module, nn.Module]]:
        layers = list(self.layers)[:-1]
        for linear, norm, activation in zip(layers[::3], layers[1::3], layers[2::3], strict=True):
            yield cast("nn.Linear", linear), norm, activation


def set_norm(module: nn.Module, norm: Norm) -> None:
    """Choose the norm in all MLPs of a module.

    Raises:
        InputError: The norm is unknown.
    """
    if norm not in _NORMS:
        raise InputError(f"norm is {norm!r}, expected one of {', '.join(_NORMS)}")
    for part in module.modules():
        if isinstance(part, MLP):
            part.set_norm(norm)
