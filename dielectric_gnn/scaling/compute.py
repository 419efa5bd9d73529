"""Compute-optimal N and D of a law in both variables, and the regime of a run."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dielectric_gnn.scaling.fitting import Fit
from dielectric_gnn.scaling.laws import FloatArray, Law
from dielectric_gnn.scaling.points import Points
from dielectric_gnn.utils.errors import InputError

_NUM_GRID_POINTS = 2000
_BUDGET_STEP = 0.7
"""Step in ln C of the derivative of the optimum."""


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
    product = log_product(flops, cost)
    log_n = float(optimal_log_n(fitted.law, fitted.theta[None], product, cost.exponent)[0])
    log_d = product - cost.exponent * log_n
    loss = fitted.law.log_loss(fitted.theta, np.array([[log_n, log_d]]))
    return Optimum(float(np.exp(log_n)), float(np.exp(log_d)), float(np.exp(loss[0])))


def log_product(flops: float, cost: Cost) -> float:
    """ln(N^β D) for a budget.

    Raises:
        InputError: The budget is not positive, or too small for one parameter and one datum.
    """
    coefficient, exponent = cost
    if not (flops > 0 and coefficient > 0 and exponent > 0):
        raise InputError(f"the budget is {flops:g} FLOPs at {cost}, expected more than 0")
    product = float(np.log(flops / coefficient))
    if product <= 0:
        raise InputError(
            f"the budget {flops:g} FLOPs is less than the cost of one datum and one parameter ({coefficient:g}); give "
            "the FLOPs of a complete training"
        )
    return product


def optimal_log_n(law: Law, theta: FloatArray, product: float, exponent: float) -> FloatArray:
    """Ln N of the lowest loss on N^exponent D of logarithm `product`, for parameters θ (B, k), (B,).

    The minimum on a grid is refined by a parabola through its neighbours.
    """
    grid = np.linspace(0.0, product / exponent, _NUM_GRID_POINTS)
    loss = law.log_loss(theta, np.stack([grid, product - exponent * grid], axis=1))
    place = np.clip(loss.argmin(axis=1), 1, grid.size - 2)
    left, middle, right = (np.take_along_axis(loss, place[:, None] + step, axis=1)[:, 0] for step in (-1, 0, 1))
    curvature = left - 2.0 * middle + right
    shift = np.where(curvature > 0, 0.5 * (left - right) / np.where(curvature > 0, curvature, 1.0), 0.0)
    return np.asarray(grid[place] + np.clip(shift, -1.0, 1.0) * (grid[1] - grid[0]))


def optimal_exponent(law: Law, theta: FloatArray, product: float, exponent: float) -> FloatArray:
    """D ln N / d ln C of the optimum at a budget C, for parameters θ (B, k), (B,); that of D is 1 − β times it."""
    above, below = (optimal_log_n(law, theta, product + step, exponent) for step in (_BUDGET_STEP, -_BUDGET_STEP))
    return (above - below) / (2.0 * _BUDGET_STEP)
