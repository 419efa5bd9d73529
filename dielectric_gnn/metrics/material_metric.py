"""The base class of metrics that users add beside those of the published table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from dielectric_gnn.metrics.spectral import Column, MeanState
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.utils.described import Describable
from dielectric_gnn.utils.errors import InputError


class MaterialMetric(MeanState, Describable, ABC):
    """A metric with one value per material, whose mean over materials is reported; usable alone, as torchmetrics.

    `DielectricModule(extra_metrics=[...])` logs it in validation and test as `val/<key>` and `test/<key>`; it is in the
    run record and in the tables of a test. A subclass sets `key` and `heading` and defines `per_material`.

    Example:
        class DrudeBias(MaterialMetric):
            key, heading = "drude_bias", "mean Δω_D (eV)"

            def per_material(self, prediction, target, grid):
                return prediction.drude - target.drude
    """

    key: ClassVar[str]
    """Name in logs and files."""
    heading: ClassVar[str]
    """Name in tables."""
    digits: ClassVar[int] = 3
    """Decimal places in tables."""

    def __init__(self) -> None:
        super().__init__()  # defined here so that `Describable` stores the arguments, of which there are none

    @abstractmethod
    def per_material(self, prediction: Response, target: Response, grid: EnergyGrid) -> Tensor:
        """Value of each of B materials (B,); NaN where it is undefined, which leaves the material out of the mean."""

    def supports_grid(self, grid: EnergyGrid) -> bool:
        """Whether the metric is defined on an energy grid; where it is not, it is left out."""
        return True

    @property
    def column(self) -> Column:
        """Key, heading and digits."""
        return Column(self.key, self.heading, self.digits)

    def update(self, prediction: Response, target: Response, grid: EnergyGrid) -> None:
        """Add B materials."""
        values = self.per_material(prediction, target, grid).detach().double()
        self.total += values.nansum()
        self.count += (~values.isnan()).sum()


def check_keys(columns: Sequence[Column]) -> None:
    """Check that no two metrics or terms of the objective have one key.

    Raises:
        InputError: Two have.
    """
    for key, number in Counter(column.key for column in columns).items():
        if number > 1:
            raise InputError(f"{number} metrics or terms of the objective are called {key!r}; rename one of them")
