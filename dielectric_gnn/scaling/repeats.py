"""Laws with repeated data: what a further epoch on the same materials is worth compared with fresh materials.

In L = L∞ + (N_c/N')^α_N + (D_c/D')^α_D, the value of repetitions R = epochs − 1 of D unique materials saturates,
D' = D (1 + R_D (1 − e^(−R/R_D))), and so does that of parameters beyond the number U that is optimal for D,
N' = U (1 + R_N (1 − e^(−(N/U − 1)/R_N))) for N > U. At U, α_N (N_c/U)^α_N = α_D (D_c/D)^α_D, the optimum on N D =
const. For R_D → ∞ a repetition is worth as much as fresh materials: D' = D epochs.

Source: N. Muennighoff et al., arXiv:2305.16264, where R_D = 15.39 and R_N = 5.31 for language models.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from dielectric_gnn.scaling.laws import LN10, POWER_FLOOR, FloatArray, Law, Parameter, columns
from dielectric_gnn.scaling.points import EPOCHS
from dielectric_gnn.scaling.surfaces import SURFACES

_LIMITS = (Parameter("RD", -2.0, 4.0, log10=True), Parameter("RN", -2.0, 4.0, log10=True))
_STARTS = ((0.5, 1.3), (0.7,))
"""Starting values of log10 of R_D and R_N."""


def log_saturated(log_size: FloatArray, log_unit: FloatArray, limit: FloatArray) -> FloatArray:
    """Logarithm of U (1 + R (1 − e^(−(x/U − 1)/R))) for x > U, of x itself below.

    Args:
        log_size: Ln x.
        log_unit: Ln U.
        limit: R.
    """
    with np.errstate(over="ignore"):
        excess = np.expm1(np.maximum(log_size - log_unit, 0.0))
    return np.minimum(log_size, log_unit) + np.log1p(-limit * np.expm1(-excess / limit))


def optimal_log_parameters(theta: FloatArray, log_d: FloatArray) -> FloatArray:
    """Ln U of the law `hoffmann` with θ (k, ..., 1) for ln D (n,), (..., n)."""
    a_n, n_c, a_d, d_c = theta[:4]
    return np.asarray(LN10 * n_c - (np.log(a_d / a_n) + a_d * (LN10 * d_c - log_d)) / a_n)


@dataclass(frozen=True)
class _Form:
    """A law in D, or in N and D, with saturating repetitions.

    Args:
        base: The law at one epoch.
        limits: Number of saturating quantities: none, R_D, or R_D and R_N.
    """

    base: Law
    limits: int

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those of the law at one epoch, then the limits."""
        return (*self.base.parameters, *_LIMITS[: self.limits])

    def log_loss(self, theta: FloatArray, x: FloatArray) -> FloatArray:
        """Ln L (..., n) for θ (..., k) and the logarithms of N if it varies, D and epochs (n, v)."""
        return self.base.log_loss(theta[..., : len(self.base.parameters)], self.effective_logs(theta, x))

    def effective_logs(self, theta: FloatArray, x: FloatArray) -> FloatArray:
        """Logarithms of N' if N varies, and D', (..., n, v − 1)."""
        parameters, log_d, log_processed = columns(theta), x[:, -2], x[:, -2] + x[:, -1]
        limits = 10.0 ** parameters[len(self.base.parameters) :]
        data = log_saturated(log_processed, log_d, limits[0]) if self.limits else log_processed
        if x.shape[1] == 2:
            return data[..., None]
        size = x[:, 0]
        if self.limits == 2:
            size = log_saturated(size, optimal_log_parameters(parameters, log_d), limits[1])
        return np.stack(np.broadcast_arrays(size, data), axis=-1)

    def starts(self, x: FloatArray, y: FloatArray) -> list[tuple[float, ...]]:
        """Starts of the law at one epoch with D epochs as D, combined with those of the limits."""
        logs = np.concatenate([x[:, :-2], x[:, -2:].sum(axis=1, keepdims=True)], axis=1)
        limits = list(product(*_STARTS[: self.limits]))
        return [(*start, *limit) for start in self.base.starts(logs, y) for limit in limits]


def _law(base: Law, ending: str, limits: int) -> Law:
    form = _Form(base, limits)
    name = "x" if len(base.variables) == 1 else "D'"
    formula = base.formula.replace("/D)", "/D')")
    formula += f", {name} = D (1 + RD (1 - exp((1 - epochs)/RD)))" if limits else f", {name} = D epochs"
    if limits == 2:
        formula = formula.replace("/N)", "/N')") + ", N' = U(D) (1 + RN (1 - exp((1 - N/U(D))/RN))) for N > U(D)"
    variables = ("D", EPOCHS) if len(base.variables) == 1 else (*base.variables, EPOCHS)
    return Law(f"{base.name}-{ending}", formula, form.parameters, form.log_loss, form.starts, variables)


_ENDINGS = ("fresh", "repeats", "repeats+N")
REPEATS_IN_D = tuple(_law(POWER_FLOOR, _ENDINGS[limits], limits) for limits in (0, 1))
"""The laws in D and epochs: repetitions count as fresh materials, or their value saturates."""
REPEATS_IN_BOTH = tuple(_law(SURFACES["hoffmann"], _ENDINGS[limits], limits) for limits in (0, 1, 2))
"""The same in N, D and epochs; in the last one the value of excess parameters saturates too."""


def effective_data(limit: float | FloatArray, epochs: FloatArray) -> FloatArray:
    """D'/D, the fresh materials that the epochs on D materials are worth, as a multiple of D.

    Example:
        >>> round(float(effective_data(15.39, np.array(4.0))), 2)
        3.73
    """
    return np.asarray(np.exp(log_saturated(np.log(epochs), np.zeros(()), np.asarray(limit))))
