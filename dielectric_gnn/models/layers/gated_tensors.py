"""Deviators of materials from their l = 2 features."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class GatedTensors(nn.Module):
    """Deviators from l = 2 features, with gates from scalars: W_b [SiLU(W_g x⁰) ⊙ (W_m x²)].

    Weights are shared by the five components and there are no biases, so deviators rotate with the structure, and
    vanish where symmetry makes the features vanish.

    Shapes:
        scalars (B, F₀), tensors (B, 5, F₂) → (B, 5, D).

    Args:
        dim: F₀.
        tensor_dim: F₂.
        hidden_dim: Hidden channels.
        out_dim: D.
    """

    def __init__(self, dim: int, tensor_dim: int, hidden_dim: int, out_dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, hidden_dim)
        self.mix = nn.Linear(tensor_dim, hidden_dim, bias=False)
        self.out = nn.Linear(hidden_dim, out_dim, bias=False)

    def forward(self, scalars: Tensor, tensors: Tensor) -> Tensor:
        """The deviators."""
        out: Tensor = self.out(F.silu(self.gate(scalars))[:, None] * self.mix(tensors))
        return out
