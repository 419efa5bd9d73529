"""Laws in two variables, parameters N and data D; the regime of a run, and the compute-optimal N and D.

Kaplan style (arXiv:2001.08361): L = [(N_c/N)^(α_N/α_D) + D_c/D]^α_D. Hoffmann style (arXiv:2203.15556): L = L∞ +
(N_c/N)^α_N + (D_c/D)^α_D. In their broken forms (arXiv:2602.05702) the broken law replaces the data term:
D_c/D → (D_c/D)(1 + D_c/D)^(α_D1/α_D2 − 1), and (D_c/D)^α_D → (D_c/D)^α_D2 (1 + D_c/D)^(α_D1 − α_D2).
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.laws import LN10, FloatArray, Law, Parameter, scale_parameter
from dielectric_gnn.scaling.points import Points
from dielectric_gnn.utils.errors import InputError

_EXPONENT_BOUNDS = (1e-3, 3.0)
_MODEL = (Parameter("aN", *_EXPONENT_BOUNDS), scale_parameter("Nc"))
_DATA = (Parameter("aD", *_EXPONENT_BOUNDS), scale_parameter("Dc"))
_BROKEN_DATA = (
    Parameter("aD1", *_EXPONENT_BOUNDS),
    Parameter("aD2", *_EXPONENT_BOUNDS),
    scale_parameter("Dc", is_break=True),
)
_FLOOR = Parameter("Linf", 0.0, np.inf)


class Terms(NamedTuple):
    """Logarithms of the model term and the data term of a law, (n,) each."""

    model: FloatArray
    data: FloatArray


def kaplan_terms(theta: FloatArray, x: FloatArray) -> Terms:
    """Terms of the Kaplan forms, inside the square brackets."""
    exponent = theta[2] if theta.size == 4 else theta[3]
    model = theta[0] / exponent * (LN10 * theta[1] - x[:, 0])
    ratio = LN10 * theta[-1] - x[:, 1]
    return Terms(model, ratio + (0.0 if theta.size == 4 else (theta[2] / theta[3] - 1.0) * np.logaddexp(0.0, ratio)))


def hoffmann_terms(theta: FloatArray, x: FloatArray) -> Terms:
    """Terms of the Hoffmann forms, without the floor."""
    model = theta[0] * (LN10 * theta[1] - x[:, 0])
    ratio = LN10 * theta[-2] - x[:, 1]
    if theta.size == 5:
        return Terms(model, theta[2] * ratio)
    return Terms(model, theta[3] * ratio + (theta[2] - theta[3]) * np.logaddexp(0.0, ratio))


def _kaplan(theta: FloatArray, x: FloatArray) -> FloatArray:
    exponent = theta[2] if theta.size == 4 else theta[3]
    return np.asarray(exponent * np.logaddexp(*kaplan_terms(theta, x)))


def _hoffmann(theta: FloatArray, x: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        return np.asarray(np.logaddexp(np.logaddexp(*hoffmann_terms(theta, x)), np.log(theta[-1])))


def _starts(x: FloatArray, y: FloatArray, broken: bool, floor: bool) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []
    middle = x[:, 1].mean() / LN10
    for a_n, a_d, share in product((0.1, 0.5), (0.15, 0.4), (0.0, 0.5) if floor else (0.0,)):
        level = float(np.log(np.exp(y).mean() * (1.0 - share) / 2.0))
        n_c = (x[:, 0].mean() + level / a_n) / LN10
        for place in (middle - 0.5, middle + 0.5) if broken else ((x[:, 1].mean() + level / a_d) / LN10,):
            data = (a_d, 1.5 * a_d, place) if broken else (a_d, place)
            found.append((a_n, n_c, *data, *((share * float(np.exp(y.min())),) if floor else ())))
    return found


def _surface(name: str, formula: str, broken: bool, floor: bool) -> Law:
    return Law(
        name,
        formula,
        (*_MODEL, *(_BROKEN_DATA if broken else _DATA), *((_FLOOR,) if floor else ())),
        _hoffmann if floor else _kaplan,
        lambda x, y: _starts(x, y, broken, floor),
        ("N", "D"),
    )


SURFACES = {
    law.name: law
    for law in (
        _surface("kaplan", "[(Nc/N)^(aN/aD) + Dc/D]^aD", broken=False, floor=False),
        _surface("kaplan-broken", "[(Nc/N)^(aN/aD2) + (Dc/D) (1 + Dc/D)^(aD1/aD2 - 1)]^aD2", broken=True, floor=False),
        _surface("hoffmann", "Linf + (Nc/N)^aN + (Dc/D)^aD", broken=False, floor=True),
        _surface("hoffmann-broken", "Linf + (Nc/N)^aN + (Dc/D)^aD2 (1 + Dc/D)^(aD1 - aD2)", broken=True, floor=True),
    )
}
"""The laws in N and D by name."""


def regime(fitted: Fit, num_parameters: float, num_data: float) -> str:
    """`data-limited` if a factor in D lowers the loss more than the same factor in N does; else `model-limited`."""
    step = 1e-3
    here = float(np.log(fitted.loss(num_parameters, num_data)))
    larger = float(np.log(fitted.loss(num_parameters * (1 + step), num_data)))
    more = float(np.log(fitted.loss(num_parameters, num_data * (1 + step))))
    return "data-limited" if here - more > here - larger else "model-limited"


class Optimum(NamedTuple):
    """Compute-optimal size of one training.

    Attributes:
        num_parameters: N.
        num_data: D.
        loss: Predicted loss.
    """

    num_parameters: float
    num_data: float
    loss: float


class Cost(NamedTuple):
    """FLOPs of a training, c N^β D.

    Attributes:
        coefficient: c, over all epochs; 6 per epoch for the forward and backward pass of a dense network.
        exponent: β; 1 if every parameter is used equally often.
    """

    coefficient: float
    exponent: float = 1.0

    def __str__(self) -> str:
        power = "N" if abs(self.exponent - 1.0) < 5e-3 else f"N^{self.exponent:.3g}"
        return f"{self.coefficient:.4g} {power} D"


def training_cost(points: Points) -> Cost | None:
    """The cost law fitted to the FLOPs of the runs; β = 1 if they have one N; None if they state no FLOPs."""
    counted = [run for run in points.runs if run.flops]
    if not counted:
        return None
    log_n = np.log([run.values["N"] for run in counted])
    log_cost = np.log([run.flops / run.values["D"] for run in counted if run.flops])
    if np.ptp(log_n) < 1e-9:
        return Cost(float(np.exp((log_cost - log_n).mean())))
    slope, intercept = np.polyfit(log_n, log_cost, 1)
    return Cost(float(np.exp(intercept)), float(slope))


def compute_optimal(fitted: Fit, flops: float, cost: Cost) -> Optimum:
    """N and D of lowest loss under flops = c N^β D.

    Args:
        fitted: A law in N and D.
        flops: The budget of one training.
        cost: c and β.

    Raises:
        InputError: The budget is not positive, or too small for one parameter and one datum.
    """
    from scipy.optimize import minimize_scalar

    coefficient, exponent = cost
    if not (flops > 0 and coefficient > 0 and exponent > 0):
        raise InputError(f"the budget is {flops:g} FLOPs at {cost}, expected more than 0")
    product_nd = np.log(flops / coefficient)
    if product_nd <= 0:
        raise InputError(
            f"the budget {flops:g} FLOPs is less than the cost of one datum and one parameter ({coefficient:g}); give "
            "the FLOPs of a complete training"
        )

    def log_loss(log_n: float) -> float:
        return float(fitted.law.log_loss(fitted.theta, np.array([[log_n, product_nd - exponent * log_n]]))[0])

    grid = np.linspace(0.0, product_nd / exponent, 400)
    start = int(np.argmin([log_loss(n) for n in grid]))
    inside = (grid[max(start - 1, 0)], grid[min(start + 1, grid.size - 1)])
    best = minimize_scalar(log_loss, bounds=inside, method="bounded", options={"xatol": 1e-8})
    num_data = float(np.exp(product_nd - exponent * best.x))
    return Optimum(float(np.exp(best.x)), num_data, float(np.exp(best.fun)))
