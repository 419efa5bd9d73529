"""Levenberg–Marquardt solver that fits a law to many starts, draws or constrained problems at once.

All fits of a batch take their steps together in NumPy, with derivatives by central differences, bounds by projection,
and Huber's loss by iteratively reweighted least squares (K. Levenberg 1944, doi:10.1090/qam/10666; D. W. Marquardt
1963, doi:10.1137/0111030; P. J. Huber 1964, doi:10.1214/aoms/1177703732).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.scaling.laws import FloatArray, Law

Constraint: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]
"""Function of θ (B, k) and a value per fit (B,) that must become zero, (B,)."""

_NUM_POLISHED_STARTS = 6
"""Number of starting points, the best ones after a few steps, whose fits are continued to convergence."""
_CONSTRAINT_WEIGHT = 30.0
"""Weight of a constraint, as a multiple of that of all values together: its error is about a thousandth of the noise. A
larger weight makes the steps short."""
_STEP = 1e-5
"""Relative step of the central differences."""
_FAR = 1e6
"""Residual that replaces one that is not finite."""


@dataclass(frozen=True)
class Problem:
    """A law and the values that it is fitted to.

    Args:
        law: The form of the law.
        x: Logarithms of the variables, (n, v).
        y: ln L (n,); or L, if `of_loss`.
        scale: Residuals are divided by it, (n,).
        of_loss: Whether L itself is fitted, not ln L.
        huber: Scaled residual beyond which Huber's loss is linear; infinite is least squares.
    """

    law: Law
    x: FloatArray
    y: FloatArray
    scale: FloatArray
    of_loss: bool = False
    huber: float = np.inf

    def residuals(self, theta: FloatArray, y: FloatArray | None = None) -> FloatArray:
        """Scaled residuals (..., n) of θ (..., k); of other values y (..., n), if they are given."""
        value = self.law.log_loss(theta, self.x)
        with np.errstate(over="ignore", invalid="ignore"):
            difference = ((np.exp(value) if self.of_loss else value) - (self.y if y is None else y)) / self.scale
        return np.nan_to_num(difference, nan=_FAR, posinf=_FAR, neginf=-_FAR)

    def objective(self, theta: FloatArray, y: FloatArray | None = None) -> FloatArray:
        """The minimised sum (...,): squares of the scaled residuals, linear beyond `huber`."""
        return np.asarray(self.rho(self.residuals(theta, y)).sum(axis=-1))

    def rho(self, residuals: FloatArray) -> FloatArray:
        """Huber's loss: r², and 2 h |r| − h² beyond h."""
        size = np.abs(residuals)
        inside = np.minimum(size, self.huber)
        return np.asarray(inside * (2.0 * size - inside))

    @property
    def bounds(self) -> tuple[FloatArray, FloatArray]:
        """Lower and upper bounds of θ, (k,) each."""
        low, high = (np.array([getattr(p, side) for p in self.law.parameters]) for side in ("low", "high"))
        return low, high

    @property
    def units(self) -> FloatArray:
        """Order of magnitude of each parameter (k,): that of the loss for a floor."""
        loss = float(self.y.min() if self.of_loss else np.exp(self.y.min()))
        return np.array([loss if p.is_floor else 1.0 for p in self.law.parameters])


def solve(problem: Problem, starts: Sequence[FloatArray]) -> tuple[FloatArray, float]:
    """The best fit from several starting points.

    Returns:
        Parameters θ (k,), and the minimised sum.
    """
    theta, objective = minimise(problem, np.array(starts, dtype=float), iterations=40, tolerance=1e-7)
    best = np.argsort(objective)[:_NUM_POLISHED_STARTS]
    theta, objective = minimise(problem, theta[best], iterations=500, tolerance=1e-11)
    return theta[objective.argmin()], float(objective.min())


def minimise(
    problem: Problem,
    theta: FloatArray,
    *,
    y: FloatArray | None = None,
    fixed: NDArray[np.bool_] | None = None,
    constraint: tuple[Constraint, FloatArray] | None = None,
    iterations: int = 200,
    tolerance: float = 1e-9,
) -> tuple[FloatArray, FloatArray]:
    """Fit a batch, each from its own starting point.

    Args:
        problem: The law and the values.
        theta: Starting points (B, k).
        y: Other values for each fit, (B, n).
        fixed: Which parameters are held constant, (B, k).
        constraint: A constraint, and its value for each fit (B,).
        iterations: Largest number of steps.
        tolerance: Relative decrease of the sum below which a fit has converged.

    Returns:
        Parameters θ (B, k), and the minimised sums (B,), without the constraint.
    """
    low, high = problem.bounds
    theta = np.clip(theta, low, high)
    batch = _Batch(problem, y, constraint, np.zeros(theta.shape, dtype=bool) if fixed is None else fixed)
    everyone = np.arange(len(theta))
    damping, total = np.full(len(theta), 1e-3), batch.total(theta, everyone)
    active = everyone
    for _ in range(iterations):
        trial = batch.step(theta[active], damping[active], active)
        reached = batch.total(trial, active)
        better = reached < total[active]
        gain = (total[active] - reached) / np.maximum(total[active], 1e-300)
        done = (better & (gain < tolerance)) | (damping[active] > 1e8) | (total[active] < 1e-24)
        theta[active[better]], total[active[better]] = trial[better], reached[better]
        damping[active] = np.where(better, np.maximum(damping[active] / 5.0, 1e-12), damping[active] * 4.0)
        active = active[~done]
        if not active.size:
            break
    return theta, problem.objective(theta, y)


@dataclass(frozen=True)
class _Batch:
    """The fits of a batch, which are selected by their positions `rows` in it."""

    problem: Problem
    y: FloatArray | None
    constraint: tuple[Constraint, FloatArray] | None
    fixed: NDArray[np.bool_]

    def residuals(self, theta: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
        """Scaled residuals of θ (..., B, k), the last of them that of the constraint."""
        y = None if self.y is None else self.y[rows]
        found = self.problem.residuals(theta, y)
        if self.constraint is None:
            return found
        function, values = self.constraint
        weight = _CONSTRAINT_WEIGHT * np.sqrt((1.0 / self.problem.scale**2).sum())
        extra = np.nan_to_num(weight * function(theta, values[rows]), nan=_FAR, posinf=_FAR, neginf=-_FAR)
        return np.concatenate([found, extra[..., None]], axis=-1)

    def rho(self, residuals: FloatArray) -> FloatArray:
        """Huber's loss; the constraint is squared."""
        if self.constraint is None:
            return self.problem.rho(residuals)
        return np.concatenate([self.problem.rho(residuals[..., :-1]), residuals[..., -1:] ** 2], axis=-1)

    def total(self, theta: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
        """The minimised sums (B,), with the constraint."""
        return np.asarray(self.rho(self.residuals(theta, rows)).sum(axis=-1))

    def step(self, theta: FloatArray, damping: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
        """Parameters after one damped step, within the bounds."""
        low, high = self.problem.bounds
        residuals, jacobian = self.residuals(theta, rows), self.jacobian(theta, rows)
        size = np.maximum(np.abs(residuals), 1e-300)
        weights = np.minimum(1.0, self.problem.huber / size)
        if self.constraint is not None:
            weights[..., -1] = 1.0
        gradient = np.einsum("bnk,bn->bk", jacobian, weights * residuals)
        hessian = np.einsum("bnk,bn,bnl->bkl", jacobian, weights, jacobian)
        held = self.fixed[rows] | ((theta <= low) & (gradient > 0)) | ((theta >= high) & (gradient < 0))
        gradient[held] = 0.0
        hessian[held] = 0.0
        hessian = np.where(held[:, None, :], 0.0, hessian)
        diagonal = np.einsum("bkk->bk", hessian)
        floor = 1e-12 * np.maximum(diagonal.max(axis=-1, keepdims=True), 1e-300)
        added = np.where(held, 1.0, damping[:, None] * np.maximum(diagonal, floor) + floor * 1e-3)
        hessian = hessian + added[:, :, None] * np.eye(theta.shape[-1])
        return np.asarray(np.clip(theta - np.linalg.solve(hessian, gradient[..., None])[..., 0], low, high))

    def jacobian(self, theta: FloatArray, rows: NDArray[np.intp]) -> FloatArray:
        """Derivatives of the residuals, (B, n, k), by differences that stay within the bounds."""
        low, high = self.problem.bounds
        steps = _STEP * np.maximum(np.abs(theta), self.problem.units)
        moves = steps[None, :, :] * np.eye(theta.shape[-1])[:, None, :]
        above, below = np.minimum(theta + moves, high), np.maximum(theta - moves, low)
        distance = (above - below).sum(axis=-1)
        both = self.residuals(np.stack([above, below]), rows)
        return np.moveaxis((both[0] - both[1]) / distance[..., None], 0, -1)
