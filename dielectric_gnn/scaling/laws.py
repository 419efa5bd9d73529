"""Forms of scaling laws: how a loss decreases with one quantity x (data D or parameters N), or with both.

Every law is written in natural logarithms, ln L(ln x): there it is smooth, its slope is minus the local exponent, and
amplitudes over many decades are numbers of order one.

Sources: power laws, J. Kaplan et al., arXiv:2001.08361 and J. Hoffmann et al., arXiv:2203.15556; the broken law and its
two-dimensional forms, M. Großmann et al., arXiv:2602.05702; the general broken neural scaling law, E. Caballero et al.,
arXiv:2210.14891.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
LN10 = float(np.log(10.0))


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law.

    Args:
        name: Symbol in tables.
        low: Lower bound.
        high: Upper bound.
        log10: Whether its decimal logarithm is fitted; the bounds are then those of the logarithm.
        is_break: Whether it is the location of a break, in the last variable of the law.
    """

    name: str
    low: float
    high: float
    log10: bool = False
    is_break: bool = False

    @property
    def is_floor(self) -> bool:
        """Whether it is a loss, the limit for large sizes: its unit is that of the loss."""
        return self.low == 0.0 and self.high == np.inf


@dataclass(frozen=True)
class Law:
    """A form of scaling law.

    Args:
        name: Short name, for options and tables.
        formula: Formula as text.
        parameters: Parameters in the order of θ.
        log_loss: Function of θ (..., k) and the logarithms of x, (n, 1), or of N and D, (n, 2), that returns ln L
            (..., n).
        starts: Function of these logarithms and ln L (n,) that returns starting points of the fit.
        variables: `x`, or `N` and `D`.
    """

    name: str
    formula: str
    parameters: tuple[Parameter, ...]
    log_loss: Callable[[FloatArray, FloatArray], FloatArray]
    starts: Callable[[FloatArray, FloatArray], list[tuple[float, ...]]]
    variables: tuple[str, ...] = ("x",)

    def loss(self, theta: FloatArray, *values: object) -> FloatArray:
        """The loss L at values of x, or of N and D."""
        logs = np.log(np.stack(np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in values)), axis=-1))
        with np.errstate(over="ignore"):
            return np.asarray(np.exp(self.log_loss(theta, logs.reshape(-1, len(values)))).reshape(logs.shape[:-1]))

    @property
    def breaks(self) -> tuple[str, ...]:
        """Names of the parameters that are locations of breaks."""
        return tuple(p.name for p in self.parameters if p.is_break)

    def parameters_by_name(self, theta: FloatArray) -> dict[str, float]:
        """Parameters by name; those that are fitted as logarithms are converted back."""
        return {p.name: float(10.0**t if p.log10 else t) for p, t in zip(self.parameters, theta, strict=True)}


_EXPONENT_BOUNDS = (-3.0, 3.0)
_MAX_DECADES = 300.0
"""Bound of log10 of a scale or an amplitude. It must be wide: a loss of 12 at x = 1e6 with the exponent 0.03 reaches 1
at 1e42."""


def scale_parameter(name: str, is_break: bool = False) -> Parameter:
    """Parameter that is a value of N or D, or an amplitude, fitted as its logarithm."""
    return Parameter(name, -_MAX_DECADES, _MAX_DECADES, log10=True, is_break=is_break)


def _slope_and_scale(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """Exponent of a straight line through the points, and log10 of the x at which it reaches L = 1."""
    slope, intercept = np.polyfit(x, y, 1)
    exponent = float(np.copysign(np.clip(abs(slope), 1e-3, 2.0), -slope))
    return exponent, float(np.clip(intercept / exponent / LN10, 1.0 - _MAX_DECADES, _MAX_DECADES - 1.0))


def columns(theta: FloatArray) -> FloatArray:
    """Parameters (..., k) as columns (k, ..., 1), which broadcast against the values of x (n,)."""
    return np.moveaxis(theta, -1, 0)[..., None]


def log_floor(floor: FloatArray) -> FloatArray:
    """Logarithm of a floor, −∞ for zero."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(floor))


def _power(theta: FloatArray, x: FloatArray) -> FloatArray:
    a, x0 = columns(theta)[:2]
    return np.asarray(a * (LN10 * x0 - x[..., 0]))


def _power_floor(theta: FloatArray, x: FloatArray) -> FloatArray:
    return np.asarray(np.logaddexp(_power(theta, x), log_floor(columns(theta)[2])))


def _broken(theta: FloatArray, x: FloatArray) -> FloatArray:
    a1, a2, place = columns(theta)[:3]
    ratio = LN10 * place - x[:, 0]
    return np.asarray(a2 * ratio + (a1 - a2) * np.logaddexp(0.0, ratio))


def _broken_amplitude(theta: FloatArray, x: FloatArray) -> FloatArray:
    return np.asarray(LN10 * columns(theta)[3] + _broken(theta, x))


def _power_starts(x: FloatArray, y: FloatArray) -> list[tuple[float, ...]]:
    return [_slope_and_scale(x[:, 0], y)]


def _floor_starts(x: FloatArray, y: FloatArray) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []
    for share in (0.0, 0.3, 0.6, 0.9, 0.97):
        floor = share * float(np.exp(y.min()))
        exponent, place = _slope_and_scale(x[:, 0], np.log(np.exp(y) - floor))
        found.append((max(exponent, 1e-3), place, floor))
    return found


def _broken_starts(x: FloatArray, y: FloatArray) -> list[tuple[float, ...]]:
    slope = -float(np.polyfit(x[:, 0], y, 1)[0])
    low, high = x[:, 0].min() / LN10, x[:, 0].max() / LN10
    breaks = np.linspace(low - 1.0, high + 1.0, 6)
    return [(slope * a, slope * b, float(c)) for c in breaks for a, b in ((0.5, 1.5), (1.5, 0.5))]


def _amplitude_starts(x: FloatArray, y: FloatArray) -> list[tuple[float, ...]]:
    found: list[tuple[float, ...]] = []
    for start in _broken_starts(x, y):
        shape = _broken(np.array(start), x)
        found.append((*start, float((y - shape).mean()) / LN10))
    return found


POWER = Law(
    "power",
    "(x0/x)^a",
    (Parameter("a", *_EXPONENT_BOUNDS), scale_parameter("x0")),
    _power,
    _power_starts,
)
POWER_FLOOR = Law(
    "power+floor",
    "(x0/x)^a + Linf",
    (Parameter("a", 0.0, 3.0), scale_parameter("x0"), Parameter("Linf", 0.0, np.inf)),
    _power_floor,
    _floor_starts,
)
BROKEN = Law(
    "broken",
    "(xc/x)^a2 (1 + xc/x)^(a1 - a2)",
    (Parameter("a1", *_EXPONENT_BOUNDS), Parameter("a2", *_EXPONENT_BOUNDS), scale_parameter("xc", is_break=True)),
    _broken,
    _broken_starts,
)
BROKEN_AMPLITUDE = Law(
    "broken*A",
    "A (xc/x)^a2 (1 + xc/x)^(a1 - a2)",
    (*BROKEN.parameters, scale_parameter("A")),
    _broken_amplitude,
    _amplitude_starts,
)


def _break_places(x: FloatArray, breaks: int) -> list[FloatArray]:
    """Runs of neighbouring places within the data, log10 of each, (breaks,)."""
    places = np.linspace(x.min(), x.max(), 2 * breaks + 5)[1:-1] / LN10
    return [places[first : first + breaks] for first in range(len(places) - breaks + 1)]


def general_broken(breaks: int) -> Law:
    """The general broken law y = a + b x^(-c0) Π_i (1 + (x/d_i)^(1/f_i))^(-c_i f_i) (arXiv:2210.14891).

    Args:
        breaks: Number of breaks; 0 is a power law with a floor.
    """

    def decay(theta: FloatArray, x: FloatArray) -> FloatArray:
        _, b, c0, *factors = columns(theta)
        value = LN10 * b - c0 * x[:, 0]
        for c, d, f in zip(*[iter(factors)] * 3, strict=True):
            value = value - c * 10.0**f * np.logaddexp(0.0, (x[:, 0] - LN10 * d) / 10.0**f)
        return np.asarray(value)

    def log_loss(theta: FloatArray, x: FloatArray) -> FloatArray:
        return np.asarray(np.logaddexp(decay(theta, x), log_floor(columns(theta)[0])))

    def starts(x: FloatArray, y: FloatArray) -> list[tuple[float, ...]]:
        slope = max(-float(np.polyfit(x[:, 0], y, 1)[0]), 1e-3)
        found: list[tuple[float, ...]] = []
        for (first, then), sharp, places in product(
            ((0.1, 3.0), (1.0, -0.5)), (-1.0, 0.0), _break_places(x[:, 0], breaks)
        ):
            for share in (0.0, 0.8):
                found.append(start(x, y, share, slope * first, slope * then, sharp, places))
        # Breaks beyond the data with large exponents: the drop of the loss has only begun at the last sizes.
        beyond = x[:, 0].max() + np.log(10.0) * np.array([0.3, 1.0])
        for place, after, sharp, share in product(beyond, (1.0, 10.0), (-1.0, 0.0), (0.0, 0.5)):
            before = np.linspace(x[:, 0].min(), x[:, 0].max(), breaks + 1)[1:-1]
            found.append(start(x, y, share, slope, after, sharp, np.append(before, place) / LN10))
        return found

    def start(
        x: FloatArray, y: FloatArray, share: float, before: float, after: float, sharp: float, places: FloatArray
    ) -> tuple[float, ...]:
        """A start whose amplitude agrees with the mean of the losses."""
        floor = share * float(np.exp(y.min()))
        trial = np.array([floor, 0.0, before, *(value for d in places for value in (after, float(d), sharp))])
        trial[1] = (np.log(np.exp(y) - floor) - decay(trial, x)).mean() / LN10
        return tuple(trial)

    factors = [
        (
            Parameter(f"c{i}", -20.0, 20.0),
            scale_parameter(f"d{i}", is_break=True),
            Parameter(f"f{i}", -3.0, 1.0, log10=True),
        )
        for i in range(1, breaks + 1)
    ]
    return Law(
        f"bnsl{breaks}",
        "a + b x^-c0" + "".join(f" (1 + (x/d{i})^(1/f{i}))^(-c{i} f{i})" for i in range(1, breaks + 1)),
        (
            Parameter("a", 0.0, np.inf),
            scale_parameter("b"),
            Parameter("c0", *_EXPONENT_BOUNDS),
            *(parameter for factor in factors for parameter in factor),
        ),
        log_loss,
        starts,
    )


CURVES = {law.name: law for law in (POWER, POWER_FLOOR, BROKEN, BROKEN_AMPLITUDE)}
"""The laws in one variable by name; `general_broken` returns more general ones."""
UNIT_FREE_CURVES = (POWER, POWER_FLOOR, BROKEN_AMPLITUDE)
"""The laws in one variable whose fits do not depend on the unit of the loss, which are compared by default. A broken
law without amplitude has the loss 2^(a1 − a2) at its break, in whatever unit."""
