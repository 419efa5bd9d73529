"""Statistics of the training data, stored in the checkpoint as plain tensors and numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, NotRequired

import torch
from pydantic import ConfigDict, Field, with_config
from torch import Tensor
from typing_extensions import TypedDict

from dielectric_gnn.targets.response import Response
from dielectric_gnn.utils.errors import InputError


@dataclass(frozen=True)
class Coverage:
    """Composition descriptors of training materials, by which a prediction is judged as near or far from them.

    Shapes:
        points: (M, F), standardised descriptors; centre, scale: (F,), of the standardisation.

    Args:
        limit: Distance up to which a material counts as like the training set; see `data.store.coverage`.
    """

    points: Tensor
    centre: Tensor
    scale: Tensor
    limit: float

    def is_consistent(self) -> bool:
        """Whether the shapes belong together."""
        return self.points.dim() == 2 and self.centre.shape == self.scale.shape == self.points.shape[1:]

    def distances(self, descriptors: Tensor) -> Tensor:
        """Mean absolute difference of standardised descriptors (B, F) to the nearest training material, (B,)."""
        standardised = (descriptors - self.centre) * self.scale
        nearest = torch.cdist(standardised, self.points, p=1).amin(dim=1)
        return nearest / self.scale.count_nonzero().clamp(min=1)


@dataclass(frozen=True)
class TrainingStatistics:
    """Statistics of a training set; a value is None if it is unknown, for example for published weights.

    Shapes:
        mean_eps_inter: (W, 2). mean_drude: () in eV.

    Args:
        num_materials: Number of training materials, D.
        elements: Atomic numbers that occur in them.
        broadening: Broadening Γ of the spectra in eV.
        mean_eps_inter: Mean spectrum over the materials that have the label, the prediction of the trivial model; its
            real part is NaN where none has.
        mean_drude: Mean Drude frequency, likewise.
        num_tensors: Number of the materials with tensors.
        num_real: Number of the materials with a label of Re ε; None in checkpoints of before means all.
        num_drude: Number of the materials with a Drude frequency, likewise.
        num_zero_drude: Number of the materials whose Drude frequency is 0: insulators; None if unknown.
        coverage: Where in composition and density the training set lies; None if unknown.
    """

    num_materials: int
    elements: list[int] | None
    broadening: float | None
    mean_eps_inter: Tensor | None
    mean_drude: Tensor | None
    num_tensors: int = 0
    num_real: int | None = None
    num_drude: int | None = None
    num_zero_drude: int | None = None
    coverage: Coverage | None = None

    def describe_labels(self) -> str:
        """Numbers of labels of each kind, for the log."""
        total = self.num_materials
        real, drude = (total if num is None else num for num in (self.num_real, self.num_drude))
        zero = "" if not self.num_zero_drude else f" ({self.num_zero_drude} of them 0)"
        return (
            f"labels of the {total} training materials: Im eps {total}, Re eps {real}, Drude frequency {drude}{zero}, "
            f"tensors {self.num_tensors}"
        )

    def means(self) -> tuple[Tensor, Tensor]:
        """Mean spectrum (W, 2) and mean Drude frequency ().

        Raises:
            InputError: They are unknown.
        """
        if self.mean_eps_inter is None or self.mean_drude is None:
            raise InputError("the mean response of the training materials is not stored in this model")
        return self.mean_eps_inter, self.mean_drude

    @property
    def has_means(self) -> bool:
        """Whether the means are stored."""
        return self.mean_eps_inter is not None and self.mean_drude is not None

    def trivial_response(self, num_crystals: int) -> Response:
        """The training mean for every one of `num_crystals` crystals."""
        mean_eps_inter, mean_drude = self.means()
        return Response(mean_eps_inter.expand(num_crystals, -1, -1), mean_drude.expand(num_crystals))

    def to_plain(self) -> dict[str, Any]:
        """Convert to plain types and tensors, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: PlainTrainingStatistics) -> TrainingStatistics:
        """Construct from the output of `to_plain`."""
        coverage = plain.get("coverage")
        fields: dict[str, Any] = {**plain, "coverage": None if coverage is None else Coverage(**coverage)}
        if coverage is not None and not fields["coverage"].is_consistent():
            raise InputError(
                "the coverage of the training set in the checkpoint has shapes that do not belong together"
            )
        return cls(**fields)


@with_config(ConfigDict(arbitrary_types_allowed=True, extra="forbid"))
class PlainCoverage(TypedDict):
    """Schema of `Coverage` in a checkpoint."""

    points: Tensor
    centre: Tensor
    scale: Tensor
    limit: Annotated[float, Field(ge=0, allow_inf_nan=False)]


@with_config(ConfigDict(arbitrary_types_allowed=True, extra="forbid"))
class PlainTrainingStatistics(TypedDict):
    """Schema of `TrainingStatistics.to_plain` in a checkpoint."""

    num_materials: Annotated[int, Field(ge=0)]
    elements: list[Annotated[int, Field(ge=1, le=118)]] | None
    broadening: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None
    mean_eps_inter: Tensor | None
    mean_drude: Tensor | None
    num_tensors: NotRequired[Annotated[int, Field(ge=0)]]
    num_real: NotRequired[Annotated[int, Field(ge=0)] | None]
    num_drude: NotRequired[Annotated[int, Field(ge=0)] | None]
    num_zero_drude: NotRequired[Annotated[int, Field(ge=0)] | None]
    coverage: NotRequired[PlainCoverage | None]
