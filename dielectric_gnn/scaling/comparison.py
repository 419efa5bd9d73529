"""Which law do the data choose, and do they choose at all?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dielectric_gnn.errors import InputError
from dielectric_gnn.scaling.fitting import Fit, Mode, fit
from dielectric_gnn.scaling.laws import Law
from dielectric_gnn.scaling.points import Points

DECISIVE = 6.0
"""A law is chosen if its AICc is lower by this than that of every law of another shape."""
_SHAPES = {"broken": "broken", "broken*A": "broken", "power": "power", "power+floor": "saturating"}


@dataclass(frozen=True)
class Comparison:
    """Several laws on the same points.

    Args:
        fits: Those that could be fitted, best AICc first.
        extrapolation: Error of each law on the largest size, which it was not fitted to: RMSLE; NaN where too few
            sizes are left.
        remarks: Laws that were left out, and why.
    """

    fits: tuple[Fit, ...]
    extrapolation: dict[str, float]
    remarks: tuple[str, ...] = field(default=())

    @property
    def best(self) -> Fit:
        """The law of lowest AICc."""
        return self.fits[0]

    @property
    def verdict(self) -> str:
        """In a sentence; it may be that the data do not decide."""
        shape = shape_of(self.best.law)
        others = [one for one in self.fits if shape_of(one.law) != shape]
        if not others:
            return f"{self.best.law.name}; no law of another shape could be fitted"
        lead = others[0].aicc - self.best.aicc
        if not lead >= DECISIVE:
            return (
                f"the data do not decide: {self.best.law.name} leads {others[0].law.name} by {lead:.1f} in AICc, and "
                f"{DECISIVE:.0f} are asked for"
            )
        return f"{shape}: {self.best.law.name} leads {others[0].law.name} by {lead:.1f} in AICc"

    @property
    def chosen(self) -> str | None:
        """`power`, `saturating` or `broken`, or None if the data do not decide."""
        return None if self.verdict.startswith("the data do not decide") else shape_of(self.best.law)


def shape_of(law: Law) -> str:
    """Laws of one shape are told apart by their numbers, not by the verdict."""
    return _SHAPES.get(law.name, "broken" if law.name.startswith("bnsl") else law.name)


def compare(laws: Sequence[Law], data: Points, mode: Mode = "robust") -> Comparison:
    """Fit several laws.

    Raises:
        InputError: None can be fitted.
    """
    fits, remarks = [], []
    for law in laws:
        try:
            fits.append(fit(law, data, mode))
        except InputError as error:
            remarks.append(str(error))
    if not fits:
        raise InputError("; ".join(remarks))
    fits.sort(key=lambda one: one.aicc)
    return Comparison(tuple(fits), {one.law.name: extrapolation_error(one) for one in fits}, tuple(remarks))


def extrapolation_error(whole: Fit) -> float:
    """RMSLE on the largest size of the law fitted to all smaller ones."""
    data = whole.points
    order = data.sizes.prod(axis=1)
    largest = data.sizes[int(order.argmax())]
    try:
        smaller = fit(whole.law, data.without(largest), whole.mode)
    except InputError:
        return float("nan")
    measured = np.log(data.members[int(order.argmax())])
    return rmsle(smaller, largest, measured)


def rmsle(fitted: Fit, at: np.ndarray, log_losses: np.ndarray) -> float:
    """Root mean square error of ln L at one size."""
    predicted = float(np.log(fitted.loss(*at)))
    return float(np.sqrt(((predicted - log_losses) ** 2).mean()))
