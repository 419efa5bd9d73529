"""How much a law depends on choices of its fit: single sizes, the smallest sizes, robustness and starting points.

Source: M. Li, S. Kudugunta, L. Zettlemoyer, *(Mis)Fitting: A Survey of Scaling Laws*, arXiv:2502.18969, which shows
that such choices change conclusions and should be reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.scaling.fitting import Fit, fit_samples
from dielectric_gnn.scaling.laws import FloatArray, Law
from dielectric_gnn.scaling.noise import Samples
from dielectric_gnn.scaling.shared_noise import Noise, start_points
from dielectric_gnn.scaling.solver import solve

_MAX_SIZES_LEFT_OUT = 12
"""Sizes that are left out one at a time, evenly chosen if there are more."""
_BEYOND = 2.0
"""The prediction that is compared is at this multiple of the largest sizes."""


def sensitivity(fitted: Fit) -> list[dict[str, Any]]:
    """Parameters and a prediction of a robust fit, as it is and with single choices changed.

    Empty in the published mode.

    Returns:
        One row per choice: `choice`, `loss_beyond` (at twice the largest sizes) and the parameters by name.
    """
    if fitted.noise is None:
        return []
    return [{"choice": "as fitted", **_values(fitted.law, fitted.theta, fitted)}] + [
        {"choice": choice, **_values(fitted.law, theta, fitted)} for choice, theta in _refits(fitted, fitted.noise)
    ]


def _refits(fitted: Fit, noise: Noise) -> Iterator[tuple[str, FloatArray]]:
    law, samples, enough = fitted.law, fitted.samples, len(fitted.law.parameters) + 2
    yield "one start", solve(fitted.problem, start_points(law, samples.x, samples.y)[:1])[0]
    for name, factor in (("half", 0.5), ("twice", 2.0)):
        changed = replace(fitted.problem, huber=factor * fitted.problem.huber)
        yield f"Huber's loss from {name} the deviation on", solve(changed, [fitted.theta])[0]
    changed = replace(fitted.problem, huber=np.inf)
    yield "least squares", solve(changed, [fitted.theta])[0]
    order = np.argsort(samples.x.sum(axis=1))
    for number in (1, 2):
        if samples.num_sizes - number >= enough:
            yield f"without the smallest {number}", _without(fitted, noise, order[:number])
    if samples.num_sizes - 1 >= enough:
        chosen = np.linspace(0, samples.num_sizes - 1, min(samples.num_sizes, _MAX_SIZES_LEFT_OUT)).round().astype(int)
        for place in order[chosen]:
            size = ", ".join(
                f"{name} = {value:.4g}"
                for name, value in zip(fitted.points.variables, np.exp(samples.x[place]), strict=True)
            )
            yield f"without {size}", _without(fitted, noise, np.array([place]))


def _without(fitted: Fit, noise: Noise, places: NDArray[np.intp]) -> FloatArray:
    """Parameters fitted without some sizes, with the noise of all."""
    samples = fitted.samples
    kept = np.setdiff1d(np.arange(samples.num_sizes), places)
    fewer = Samples(samples.x[kept], samples.y[kept], samples.counts[kept], samples.squares[kept], samples.shape[kept])
    return fit_samples(fitted.law, fitted.points, fewer, noise, fitted.theta).theta


def _values(law: Law, theta: FloatArray, fitted: Fit) -> dict[str, float]:
    beyond = fitted.points.sizes.max(axis=0) * _BEYOND
    return {"loss_beyond": float(law.loss(theta, *beyond)), **law.parameters_by_name(theta)}


def sensitivity_header(rows: list[dict[str, Any]]) -> tuple[str, ...]:
    """Header of the table of rows of `sensitivity`."""
    names = [name for name in rows[0] if name not in ("choice", "loss_beyond")]
    return ("choice", f"loss at {_BEYOND:g} times the largest sizes", *names)
