"""Laws in two variables, parameters N and data D.

Kaplan style (arXiv:2001.08361): L = [(N_c/N)^(α_N/α_D) + D_c/D]^α_D. Hoffmann style (arXiv:2203.15556): L = L∞ +
(N_c/N)^α_N + (D_c/D)^α_D. In their broken forms (arXiv:2602.05702) the broken law replaces the data term:
D_c/D → (D_c/D)(1 + D_c/D)^(α_D1/α_D2 − 1), and (D_c/D)^α_D → (D_c/D)^α_D2 (1 + D_c/D)^(α_D1 − α_D2). With an amplitude
A of the data term (names that end with *A) their fits do not depend on the unit of the loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from dielectric_gnn.scaling.laws import LN10, FloatArray, Law, Parameter, columns, log_floor, scale_parameter

_EXPONENT_BOUNDS = (1e-3, 3.0)
_MODEL = (Parameter("aN", *_EXPONENT_BOUNDS), scale_parameter("Nc"))
_DATA = (Parameter("aD", *_EXPONENT_BOUNDS), scale_parameter("Dc"))
_BROKEN_DATA = (
    Parameter("aD1", *_EXPONENT_BOUNDS),
    Parameter("aD2", *_EXPONENT_BOUNDS),
    scale_parameter("Dc", is_break=True),
)
_AMPLITUDE = scale_parameter("A")
_FLOOR = Parameter("Linf", 0.0, np.inf)


@dataclass(frozen=True)
class _Form:
    """Which terms a law in N and D has.

    Args:
        broken: Whether the data term has a break.
        amplitude: Whether the data term has an amplitude.
        floor: Whether it is of Hoffmann style, a sum with a floor, or of Kaplan style.
    """

    broken: bool
    amplitude: bool
    floor: bool

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Parameters in the order of θ."""
        data = (*(_BROKEN_DATA if self.broken else _DATA), *((_AMPLITUDE,) if self.amplitude else ()))
        return (*_MODEL, *data, *((_FLOOR,) if self.floor else ()))

    def log_loss(self, theta: FloatArray, x: FloatArray) -> FloatArray:
        """Ln L (..., n) for θ (..., k) and the logarithms of N and D (..., n, 2)."""
        a_n, n_c, *others = columns(theta)
        floor = others.pop() if self.floor else None
        amplitude = others.pop() if self.amplitude else np.zeros(())
        *exponents, d_c = others
        ratio = LN10 * d_c - x[..., 1]
        data = exponents[-1] * ratio + LN10 * amplitude
        if self.broken:
            data = data + (exponents[0] - exponents[1]) * np.logaddexp(0.0, ratio)
        model = a_n * (LN10 * n_c - x[..., 0])
        if floor is not None:
            return np.asarray(np.logaddexp(np.logaddexp(model, data), log_floor(floor)))
        return np.asarray(exponents[-1] * np.logaddexp(model / exponents[-1], data / exponents[-1]))

    def starts(self, x: FloatArray, y: FloatArray) -> list[tuple[float, ...]]:
        """Starts in which both terms have the same share of the mean loss."""
        found: list[tuple[float, ...]] = []
        middle = x.mean(axis=0) / LN10
        spread = np.ptp(x[:, 1]) / LN10
        for a_n, a_d, share in product((0.1, 0.4), (0.15, 0.5), (0.0, 0.5, 0.8) if self.floor else (0.0,)):
            level = float(np.log(np.exp(y).mean() * (1.0 - share) / 2.0)) / LN10
            floor = (share * float(np.exp(y.min())),) if self.floor else ()
            model = (a_n, middle[0] + level / a_n)
            if not self.broken:
                found.append((*model, a_d, middle[1] + level / a_d, *floor))
                continue
            for place, ratio in product((-0.2, 0.2), (0.5, 1.5)):
                amplitude = (level,) if self.amplitude else ()
                found.append((*model, a_d, ratio * a_d, middle[1] + place * spread, *amplitude, *floor))
        return found


def _surface(name: str, formula: str, form: _Form) -> Law:
    return Law(name, formula, form.parameters, form.log_loss, form.starts, ("N", "D"))


SURFACES = {
    law.name: law
    for law in (
        _surface("kaplan", "[(Nc/N)^(aN/aD) + Dc/D]^aD", _Form(False, False, False)),
        _surface(
            "kaplan-broken",
            "[(Nc/N)^(aN/aD2) + (Dc/D) (1 + Dc/D)^(aD1/aD2 - 1)]^aD2",
            _Form(True, False, False),
        ),
        _surface(
            "kaplan-broken*A",
            "[(Nc/N)^(aN/aD2) + A^(1/aD2) (Dc/D) (1 + Dc/D)^(aD1/aD2 - 1)]^aD2",
            _Form(True, True, False),
        ),
        _surface("hoffmann", "Linf + (Nc/N)^aN + (Dc/D)^aD", _Form(False, False, True)),
        _surface("hoffmann-broken", "Linf + (Nc/N)^aN + (Dc/D)^aD2 (1 + Dc/D)^(aD1 - aD2)", _Form(True, False, True)),
        _surface(
            "hoffmann-broken*A", "Linf + (Nc/N)^aN + A (Dc/D)^aD2 (1 + Dc/D)^(aD1 - aD2)", _Form(True, True, True)
        ),
    )
}
"""The laws in N and D by name."""
UNIT_FREE_SURFACES = tuple(law for law in SURFACES.values() if not law.breaks or law.name.endswith("*A"))
"""The laws in N and D whose fits do not depend on the unit of the loss, which are compared by default."""
PUBLISHED_SURFACES = tuple(law for law in SURFACES.values() if not law.name.endswith("*A"))
"""The laws of arXiv:2602.05702, which the published mode compares."""
