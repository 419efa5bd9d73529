"""What a model must remember of its training data: travels in the checkpoint as plain tensors and numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from dielectric_gnn.response import Response


@dataclass(frozen=True)
class TrainingFacts:
    """Facts about a training set.

    Shapes:
        mean_eps_inter: (W, 2). mean_drude: () in eV.

    Args:
        num_materials: D.
        elements: Atomic numbers that occur.
        broadening: Γ of the spectra in eV, None if unknown.
        mean_eps_inter: Mean spectrum; what the trivial predictor answers.
        mean_drude: Mean Drude frequency.
        num_tensors: How many of the materials had tensors, not averages only.
    """

    num_materials: int
    elements: list[int]
    broadening: float | None
    mean_eps_inter: Tensor
    mean_drude: Tensor
    num_tensors: int = 0

    def trivial_response(self, num_crystals: int) -> Response:
        """The training mean for every one of `num_crystals` crystals."""
        eps_inter = self.mean_eps_inter.expand(num_crystals, -1, -1)
        return Response(eps_inter, self.mean_drude.expand(num_crystals))

    def to_plain(self) -> dict[str, Any]:
        """As plain types and tensors, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> TrainingFacts:
        """Back from `to_plain`."""
        return cls(**plain)
