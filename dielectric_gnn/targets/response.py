"""Predicted and labelled responses: returned by heads, compared by objectives and metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Anisotropy:
    """Deviators of B response tensors, which complement their orientation averages (see `irreducible`).

    Shapes:
        eps_inter: (B, 5, W, 2), the deviator of the interband dielectric tensor. drude: (B, 6), isotropic part and
        deviator of R, a symmetric root of the Drude tensor, ω_D² = R²; that of a label is positive semidefinite, that
        of a prediction need not be. component_mask: (B, 5) bool, the components of the deviator of ε that a label
        states: none; those of the diagonal, together with the diagonal of ω_D² (off-diagonals of R are then zero); or
        all, together with R.

    Units:
        eps_inter dimensionless, drude eV.

    Args:
        eps_inter: Deviator of ε.
        drude: R.
        component_mask: All true for predictions.
        average: For a prediction, its isotropic part again, without gradients to the deviators. It is used for crystals
            with averaged labels, for which a deviator would be a free parameter.
    """

    eps_inter: Tensor
    drude: Tensor
    component_mask: Tensor
    average: Response | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> Anisotropy:
        """Apply a function to every tensor."""
        average = None if self.average is None else self.average.map(function)
        return Anisotropy(function(self.eps_inter), function(self.drude), function(self.component_mask), average)


@dataclass(frozen=True)
class Response:
    """Optical response of B crystals: interband dielectric function and Drude frequency.

    A quantity that a model does not predict, or that a label does not state, is NaN throughout; which ones a model
    predicts is declared by `Head.outputs`.

    Shapes:
        eps_inter: (B, W, 2), last axis (Re, Im); `torch.view_as_complex` turns it into (B, W).
        drude: (B,).

    Units:
        eps_inter: dimensionless, convention e^(-iωt): Im ε > 0 is loss. drude: eV.

    Args:
        eps_inter: Interband dielectric function.
        drude: Drude frequency.
        std: Standard deviation of both over the members of an ensemble; None for a single model.
        anisotropy: Deviators, if full tensors are predicted or known; the fields above are then the isotropic part,
            a third of the trace of ε and the root of a third of the trace of ω_D².
    """

    eps_inter: Tensor
    drude: Tensor
    std: Response | None = None
    anisotropy: Anisotropy | None = None

    def part_mask(self) -> Tensor:
        """Whether the labels of Re and Im are known, for each material (B, 2).

        Re is not known where it is NaN at all energies. Im is always known: NaN there is an error.
        """
        real = ~self.eps_inter[..., 0].isnan().all(dim=1)
        return torch.stack([real, torch.ones_like(real)], dim=1)

    def drude_mask(self) -> Tensor:
        """Whether the Drude frequency is known, for each material (B,)."""
        return ~self.drude.isnan()

    def directions(self) -> Anisotropy:
        """The anisotropy; without one, zero deviators with an empty component mask."""
        if self.anisotropy is not None:
            return self.anisotropy
        batch, energies, _ = self.eps_inter.shape
        return Anisotropy(
            eps_inter=self.eps_inter.new_zeros(()).expand(batch, 5, energies, 2),
            drude=torch.cat([self.drude[:, None], self.drude.new_zeros(batch, 5)], dim=1),
            component_mask=torch.zeros(batch, 5, dtype=torch.bool, device=self.drude.device),
        )

    def to(self, *args: Any, **kwargs: Any) -> Response:
        """Move to a device or convert, as `torch.Tensor.to`."""
        return self.map(lambda tensor: tensor.to(*args, **kwargs))

    def cpu(self) -> Response:
        """The same values in main memory, converted to at least float32."""

        def move(tensor: Tensor) -> Tensor:
            tensor = tensor.detach().cpu()
            return tensor.to(torch.promote_types(tensor.dtype, torch.float32)) if tensor.is_floating_point() else tensor

        return self.map(move)

    def map(self, function: Callable[[Tensor], Tensor]) -> Response:
        """Apply a function to every tensor."""
        std = None if self.std is None else self.std.map(function)
        anisotropy = None if self.anisotropy is None else self.anisotropy.map(function)
        return Response(function(self.eps_inter), function(self.drude), std, anisotropy)
