"""How calculations are read: the options that all readers share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.limits import STRUCTURE_TEXT_MB

VaspResponse: TypeAlias = Literal["density", "velocity"]
"""Which of the two responses that VASP writes from 5.4.4 on."""


@dataclass(frozen=True)
class ReadOptions:
    """See the arguments of `Calculations`.

    Args:
        drude: Drude frequencies in eV by material id, (3,) or (6,).
    """

    grid: EnergyGrid | None = None
    broadening_ev: float | None = None
    drude: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    vasp_response: VaspResponse = "density"
    functional: str | None = None
    max_mb: float = STRUCTURE_TEXT_MB
