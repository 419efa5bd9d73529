"""Linear → batch norm → ReLU as one autograd function that never forms the normalised tensor, for layers that widen.

With x̃ = x − x̄ and S = x̃ᵀx̃ / R, channel k of W x + b has the variance w_kᵀ S w_k, so its batch norm is linear in x̃:
γ_k w_kᵀ x̃ / √(w_kᵀ S w_k + ε) + β_k. The factor is multiplied into the weights, and the mean and b cancel. The
statistics then cost one product of the narrow side (C channels), where the plain form reads and writes the wide side (K
channels) several times, in the backward pass too. That pays where K is several times C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_ALIGNMENT = 16
"""Rows of matrices start at multiples of this many numbers, for which matrix products are faster."""


def hidden_layer(
    x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor, shift: Tensor, eps: float, counts: Tensor | None = None
) -> tuple[Tensor, ...]:
    """ReLU of the batch norm of W x + b over the rows of x, with the statistics of this batch.

    Shapes:
        x (R, C), weight (K, C), bias, scale γ and shift β (K,), counts (R,): how many equal rows each stands for in the
        statistics; None means one.

    Returns:
        The output (R, K), and mean and biased variance (K,) of W x + b, which carry no gradient.
    """
    out: tuple[Tensor, ...] = _HiddenLayer.apply(x, weight, bias, scale, shift, eps, counts)  # type: ignore[no-untyped-call]
    return out


def residual_mlp(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    scale: Tensor,
    shift: Tensor,
    last_weight: Tensor,
    last_bias: Tensor,
    eps: float,
    counts: Tensor | None = None,
) -> tuple[Tensor, ...]:
    """The residual x + V h + c with the hidden layer h of x; h is stored once.

    Shapes:
        As `hidden_layer`; last_weight V (C, K), last_bias c (C,) → (R, C), and mean and biased variance (K,).
    """
    out: tuple[Tensor, ...] = _ResidualMLP.apply(  # type: ignore[no-untyped-call]
        x, weight, bias, scale, shift, last_weight, last_bias, eps, counts
    )
    return out


@dataclass(frozen=True)
class _Folded:
    """Batch norm folded into the weights of the layer before it.

    Shapes:
        rows: (R, C + 1), x̃ and a column of ones, whose weight is β: the matrix product then adds β and,
        in the backward pass, sums the gradients.
        weight: W (K, C). projected: W S (K, C). scale: γ (K,). inverse: 1/σ (K,). share: of each row in the means
        (R, 1), or of all of them (1, 1).
    """

    rows: Tensor
    weight: Tensor
    projected: Tensor
    scale: Tensor
    inverse: Tensor
    share: Tensor

    @classmethod
    def from_input(
        cls, x: Tensor, weight: Tensor, scale: Tensor, eps: float, counts: Tensor | None
    ) -> tuple[_Folded, Tensor, Tensor]:
        """The folded layer, and mean of x (C,) and variance of W x (K,)."""
        num, width = x.shape
        share = x.new_full((1, 1), 1 / num) if counts is None else (counts / counts.sum()).to(x)[:, None]
        mean = x.mean(dim=0) if counts is None else share[:, 0] @ x
        rows = x.new_empty(num, (width // _ALIGNMENT + 1) * _ALIGNMENT)[:, : width + 1]
        centred = rows[:, :width]
        torch.sub(x, mean, out=centred)
        rows[:, width] = 1
        covariance = centred.T @ centred / num if counts is None else (centred * share).T @ centred
        projected = weight @ covariance
        variance = (projected * weight).sum(dim=1)
        return cls(rows, weight, projected, scale, (variance + eps).rsqrt(), share), mean, variance

    @property
    def factor(self) -> Tensor:
        """γ/σ as a column (K, 1)."""
        return (self.scale * self.inverse)[:, None]

    def hidden(self, shift: Tensor) -> Tensor:
        """The layer's output (R, K)."""
        return (self.rows @ torch.cat([self.factor * self.weight, shift[:, None]], dim=1).T).relu_()

    def gradients(self, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradients of W, γ and β from that of W x̃ γ/σ + β (R, K), and the matrix dL/dS + its transpose."""
        both = grad.T @ self.rows
        folded, grad_shift = both[:, :-1], both[:, -1]
        grad_factor = (folded * self.weight).sum(dim=1)
        # d(γ/σ) / dσ² = −γ / 2σ³
        grad_variance = (-0.5 * grad_factor * self.scale * self.inverse**3)[:, None]
        grad_weight = self.factor * folded + 2 * grad_variance * self.projected
        through_variance = self.weight.T @ (2 * grad_variance * self.weight)
        return grad_weight, grad_factor * self.inverse, grad_shift, through_variance

    def grad_input(self, grad: Tensor, grad_shift: Tensor, through_variance: Tensor, rest: Tensor | None) -> Tensor:
        """Gradient of x (R, C), plus `rest`, that of other paths."""
        weight = self.factor * self.weight
        # The mean over the rows cancels, and that of x̃ vanishes.
        mean, centred = grad_shift @ weight, self.rows[:, :-1]
        if self.share.shape[0] == 1:
            mean, through_variance = self.share[0] * mean, self.share * through_variance
        else:
            mean, centred = self.share * mean, self.share * centred
        total = torch.addmm(-mean, grad, weight) if rest is None else (rest - mean).addmm_(grad, weight)
        return total.addmm_(centred, through_variance)

    def saved(self) -> tuple[Tensor, ...]:
        """The fields, for `_Folded(*saved)`."""
        return self.rows, self.weight, self.projected, self.scale, self.inverse, self.share


class _HiddenLayer(torch.autograd.Function):
    """The output is positive exactly where the gradient passes, so nothing else as wide is stored."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        scale: Tensor,
        shift: Tensor,
        eps: float,
        counts: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        folded, mean, variance = _Folded.from_input(x, weight, scale, eps, counts)
        hidden, mean = folded.hidden(shift), torch.addmv(bias, weight, mean)
        ctx.save_for_backward(hidden, *folded.saved())
        ctx.mark_non_differentiable(mean, variance)
        return hidden, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        hidden, *saved = ctx.saved_tensors
        folded = _Folded(*saved)
        grad = torch.ops.aten.threshold_backward(grad, hidden, 0)
        grad_weight, grad_scale, grad_shift, through_variance = folded.gradients(grad)
        grad_x = folded.grad_input(grad, grad_shift, through_variance, None) if ctx.needs_input_grad[0] else None
        return grad_x, grad_weight, torch.zeros_like(grad_shift), grad_scale, grad_shift, None, None


class _ResidualMLP(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        scale: Tensor,
        shift: Tensor,
        last_weight: Tensor,
        last_bias: Tensor,
        eps: float,
        counts: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        folded, mean, variance = _Folded.from_input(x, weight, scale, eps, counts)
        hidden, mean = folded.hidden(shift), torch.addmv(bias, weight, mean)
        ctx.save_for_backward(hidden, last_weight, *folded.saved())
        ctx.mark_non_differentiable(mean, variance)
        return (x + last_bias).addmm_(hidden, last_weight.T), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        hidden, last_weight, *saved = ctx.saved_tensors
        folded = _Folded(*saved)
        grad = grad_out @ last_weight
        torch.ops.aten.threshold_backward.grad_input(grad, hidden, 0, grad_input=grad)
        grad_weight, grad_scale, grad_shift, through_variance = folded.gradients(grad)
        grad_x = folded.grad_input(grad, grad_shift, through_variance, grad_out)
        last = grad_out.T @ hidden, grad_out.sum(dim=0)
        return grad_x, grad_weight, torch.zeros_like(grad_shift), grad_scale, grad_shift, *last, None, None
