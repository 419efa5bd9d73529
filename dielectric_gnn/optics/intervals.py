"""Split-conformal prediction intervals, calibrated on predictions for materials that the model has not seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from typing_extensions import TypedDict

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.schemas import read_schema

DEFAULT_LEVEL = 0.9


@dataclass(frozen=True, eq=False)
class Intervals:
    """Half widths of intervals that contain the calculated values of new materials with probability `level`.

    They hold for materials drawn like those of the calibration, one quantity at a time, on average over materials:
    for a material unlike the training set they are too narrow.

    Args:
        level: The probability.
        drude: Half width for ω_D in eV.
        energies: Photon energies (W,) in eV.
        reflectivity: Half widths for R (W,).
        colour_difference: ΔE (CIE 1976) between predicted and calculated colour that is not exceeded.
    """

    level: float
    drude: float
    energies: NDArray[np.float64]
    reflectivity: NDArray[np.float64]
    colour_difference: float

    @classmethod
    def from_errors(
        cls,
        energies: ArrayLike,
        drude: ArrayLike,
        reflectivity: ArrayLike,
        colour: ArrayLike,
        level: float = DEFAULT_LEVEL,
    ) -> Intervals:
        """Calibrate.

        Shapes:
            energies (W,); absolute errors of D materials: drude (D,) in eV, reflectivity (D, W), colour ΔE (D,).
        """
        reflectivity = np.asarray(reflectivity, dtype=np.float64)
        return cls(
            level,
            conformal_quantile(drude, level),
            np.asarray(energies, dtype=np.float64),
            np.array([conformal_quantile(column, level) for column in reflectivity.T]),
            conformal_quantile(colour, level),
        )

    def to_plain(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return {
            "level": self.level,
            "drude_ev": round(self.drude, 4),
            "energies_ev": np.round(self.energies, 6).tolist(),
            "reflectivity": np.round(self.reflectivity, 4).tolist(),
            "colour_difference": round(self.colour_difference, 3),
        }

    @classmethod
    def from_json(cls, name: str, text: str) -> Intervals:
        """Read from JSON.

        Args:
            name: Name of the file, for messages.
            text: Its content.

        Raises:
            InputError: It is damaged.
        """
        plain = read_schema(name, text, _Plain, "write it again by tools/train_pretrained.py")
        energies, reflectivity = np.array(plain["energies_ev"]), np.array(plain["reflectivity"])
        if energies.shape != reflectivity.shape:
            raise InputError(
                f"{name}: {energies.size} energies and {reflectivity.size} reflectivities, expected as many"
            )
        return cls(plain["level"], plain["drude_ev"], energies, reflectivity, plain["colour_difference"])


def conformal_quantile(errors: ArrayLike, level: float) -> float:
    """The ⌈(n + 1) level⌉-th smallest of n absolute errors; infinite where there are too few.

    A new error of the same distribution is at most this large with a probability of at least `level`
    (V. Vovk et al., Algorithmic Learning in a Random World, 2005; arXiv:2107.07511). NaN is left out.

    Example:
        >>> conformal_quantile([0.1, 0.3, 0.2, 0.4], 0.5), conformal_quantile([0.1], 0.9)
        (0.3, inf)
    """
    values = np.sort(np.asarray(errors, dtype=np.float64))
    values = values[~np.isnan(values)]
    place = math.ceil((values.size + 1) * level - 1e-9)
    return float(values[place - 1]) if place <= values.size else math.inf


_Width = Annotated[float, Field(ge=0)]


class _Plain(TypedDict):
    """Schema of `Intervals.to_plain`."""

    level: Annotated[float, Field(gt=0, lt=1)]
    drude_ev: _Width
    energies_ev: list[float]
    reflectivity: list[_Width]
    colour_difference: _Width
