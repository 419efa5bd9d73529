"""Base class of the heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, TypeAlias

from torch import Tensor, nn

from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.utils.errors import InputError

Quantity: TypeAlias = Literal["re", "im", "drude"]
"""The parts of a response: Re ε_inter, Im ε_inter and the Drude frequency."""


class Head(nn.Module, ABC):
    """Maps the pooled features of a material to its optical response.

    The model sets the first three arguments when it is built; a configuration sets the others. A subclass that predicts
    whole tensors sets `tensorial`. One that can predict the difference from a prior, or what a `SpectrumTransform`
    makes of spectra, sets `supports_residuals`, and returns a Drude frequency of either sign where `residual` is true.

    Args:
        dim: Number F₀ of pooled invariant features.
        grid: Photon energies of the spectra.
        tensor_dim: Number F₂ of pooled l = 2 features.
        outputs: The quantities this head predicts; it fills the others with NaN.

    Raises:
        InputError: The head needs l = 2 features and there are none, or it does not use them.
    """

    tensorial: ClassVar[bool] = False
    supports_residuals: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    residual: bool = False

    def __init__(self, dim: int, grid: EnergyGrid, tensor_dim: int, outputs: frozenset[Quantity]) -> None:
        super().__init__()
        name = type(self).__name__
        if self.tensorial and tensor_dim == 0:
            raise InputError(
                f"{name} predicts tensors, but the backbone returns invariant features only; choose an equivariant one "
                "(Goten, ESCN or ClebschGordan) with tensors: true (if it is one of them, set model.backbone.tensors "
                "to true), or a scalar head (FreeFormHead)"
            )
        if tensor_dim > 0 and not self.tensorial:
            raise InputError(
                f"{name} predicts averages over directions and does not use the l = 2 features of the backbone; set "
                "tensors of the backbone to false, or choose a tensor head (FreeFormTensorHead)"
            )
        self.dim = dim
        self.grid = grid
        self.tensor_dim = tensor_dim
        self.outputs = outputs

    def prepare(self, statistics: TrainingStatistics) -> None:
        """Set, before training, what the head needs of the training data; the head must keep it in buffers."""

    def prepare_from_labels(self, labels: Response) -> None:
        """Set, before training, what a head that sets `needs_labels` takes from the labels of training materials.

        With a prior, the labels are the differences from it.
        """

    @abstractmethod
    def forward(self, features: Tensor, tensors: Tensor | None = None) -> Response:
        """Pooled features, (B, F₀) and for a tensorial head (B, 5, F₂) → response of B materials."""
