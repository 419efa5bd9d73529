"""Choice of the form of a hidden layer, linear → batch norm → activation, that costs least.

In evaluation the running statistics are constants: γ (W x + b − μ) / √(σ² + ε) + β is the linear layer with the weights
f W and the bias β + f (b − μ), f = γ / √(σ² + ε). In training, batch norm is folded into the weights where the layer
widens (`fused.hidden_layer`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.models.fused.hidden_layer import hidden_layer, residual_mlp
from dielectric_gnn.models.layers.batch_norm import BatchNorm, Counts, normalise_rows

_MIN_WIDENING = 2
"""Ratio of output to input width from which statistics are cheaper to compute from the input of a layer."""


def fused_hidden_layer(x: Tensor, linear: nn.Linear, norm: nn.Module, activation: nn.Module, counts: Counts) -> Tensor:
    """Linear → batch norm → activation for rows (R, C) that stand for `counts` equal rows each."""
    out: Tensor
    if isinstance(norm, BatchNorm) and not norm.training:
        factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias + factor * (linear.bias - norm.running_mean)
        out = activation(F.linear(x, factor[:, None] * linear.weight, shift))
        return out
    if not isinstance(norm, BatchNorm) or not isinstance(activation, nn.ReLU) or not _can_fold(x, linear, norm):
        out = activation(normalise_rows(norm, linear(x), counts))
        return out
    weights = counts if isinstance(counts, Tensor) else None
    out, mean, variance = hidden_layer(x, linear.weight, linear.bias, norm.weight, norm.bias, norm.eps, weights)
    norm.update_running_statistics(mean, variance, _count_rows(x, counts))
    return out


def fused_residual(x: Tensor, layers: nn.Sequential, counts: Counts) -> Tensor | None:
    """The residual x + MLP(x) of an MLP with one hidden layer whose batch norm can be folded; None for all others."""
    match list(layers):
        case [nn.Linear() as first, BatchNorm() as norm, nn.ReLU(), nn.Linear() as last] if _can_fold(x, first, norm):
            own = (first.weight, first.bias, norm.weight, norm.bias)
            weights = counts if isinstance(counts, Tensor) else None
            out, mean, variance = residual_mlp(x, *own, last.weight, last.bias, norm.eps, weights)
            norm.update_running_statistics(mean, variance, _count_rows(x, counts))
            return out
    return None


def _count_rows(x: Tensor, counts: Counts) -> Counts:
    """Number of rows that the rows of x stand for."""
    return counts.sum() if isinstance(counts, Tensor) else x.shape[0] * counts


def _can_fold(x: Tensor, linear: nn.Linear, norm: BatchNorm) -> bool:
    """Whether batch norm is folded into the weights: in training, if the layer widens and there are many rows.

    In half precision statistics are computed in float32 from the output of the layer.
    """
    widens = linear.out_features >= _MIN_WIDENING * linear.in_features
    many = x.shape[0] >= max(linear.out_features, 2)  # otherwise products of the weights cost more
    return norm.training and widens and many and not torch.is_autocast_enabled(x.device.type)
