"""What training minimises, per material and as a mean over materials."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from dielectric_gnn.models.heads.base import Quantity
from dielectric_gnn.models.heads.free_form import Component
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.irreducible import axis_squares, norm_square
from dielectric_gnn.targets.response import Anisotropy, Response
from dielectric_gnn.utils.described import Describable
from dielectric_gnn.utils.errors import InputError

COMPONENT_AXIS: dict[Component, int] = {"re": 0, "im": 1}
"""Where Re and Im lie on the last axis of `Response.eps_inter`."""

_TINY = 1e-12


class Objective(Describable, ABC):
    """A loss that is a mean over materials, so that it does not depend on how they are batched.

    A subclass that compares whole tensors sets `tensorial`, and needs a head that does.

    Args:
        quantities: What it compares; the head must predict these and nothing else.
    """

    tensorial: ClassVar[bool] = False

    def __init__(self, quantities: frozenset[Quantity]) -> None:
        self.quantities = quantities

    @abstractmethod
    def per_material(self, prediction: Response, target: Response) -> dict[str, Tensor]:
        """Loss terms of each material, (B,) each; `loss` is the one that training minimises the mean of.

        Every other term is logged, recorded and tabulated as `loss_<name>`.
        """

    def term_names(self, grid: EnergyGrid) -> tuple[str, ...]:
        """Names of the terms beside `loss`, found by comparing a response of zeros with itself."""
        anisotropy = None
        if self.tensorial:
            known = torch.ones(1, 5, dtype=torch.bool)
            anisotropy = Anisotropy(torch.zeros(1, 5, grid.num, 2), torch.zeros(1, 6), known)
        zeros = Response(torch.zeros(1, grid.num, 2), torch.zeros(1), anisotropy=anisotropy)
        with torch.no_grad():
            terms = self.per_material(zeros, zeros)
        if "loss" not in terms:
            raise InputError(
                f"{type(self).__name__}.per_material returns {sorted(terms)}, expected `loss` among its terms"
            )
        return tuple(name for name in terms if name != "loss")


class MaeObjective(Objective):
    """Mean absolute errors, as published: w_ε · MAE(ε_inter) + w_D · |Δω_D| (arXiv:2602.05702).

    Args:
        eps_weight: w_ε, of the mean over energies and components.
        drude_weight: w_D, in 1/eV; 0 leaves the Drude frequency out.
        components: Parts of ε_inter that count, of `re` and `im`.
    """

    def __init__(
        self,
        eps_weight: float = 1.0,
        drude_weight: float = 1.0,
        components: Sequence[Component] = ("re", "im"),
    ) -> None:
        if eps_weight <= 0 or drude_weight < 0 or not components:
            raise InputError(
                f"eps_weight is {eps_weight}, drude_weight {drude_weight} and components {list(components)}; "
                "expected a positive, a non-negative number and 're', 'im' or both"
            )
        quantities: set[Quantity] = {*components}
        if drude_weight > 0:
            quantities.add("drude")
        super().__init__(frozenset(quantities))
        self.eps_weight = eps_weight
        self.drude_weight = drude_weight
        self.axes = sorted(COMPONENT_AXIS[name] for name in components)

    def per_material(self, prediction: Response, target: Response) -> dict[str, Tensor]:
        """`loss`, and its terms before weighting: `eps` and, if it counts, `drude` (eV)."""
        first, count = self.axes[0], len(self.axes)
        difference = prediction.eps_inter.narrow(2, first, count) - target.eps_inter.narrow(2, first, count)
        terms = {"eps": difference.abs().mean(dim=(1, 2))}
        loss = self.eps_weight * terms["eps"]
        if self.drude_weight > 0:
            terms["drude"] = (prediction.drude - target.drude).abs()
            loss = loss + self.drude_weight * terms["drude"]
        return {"loss": loss, **terms}


class TensorObjective(Objective):
    """w_ε ⟨‖Δε‖_F / √3⟩ + w_D ‖ΔR‖_F / √3, the same in every frame; R² is the Drude tensor ω_D².

    With T = a·1 + Σ_k s_k Q^k, ‖ΔT‖_F / √3 = √(Δa² + |Δs|² / 3); the mean is over energies, Re and Im. For isotropic
    tensors it is the loss of `MaeObjective`. R is compared rather than ω_D², whose errors have heavy tails.

    Where a label does not tell a component of the deviator, that component does not count. A label that tells the
    diagonals only does not tell R either: then the roots of the diagonal of ω_D² are compared, √(R²)_ii, by their root
    mean square difference over the axes. Where it tells the average only, this trains the isotropic part, with the
    deviators held fixed.

    Args:
        eps_weight: w_ε.
        drude_weight: w_D, in 1/eV.
    """

    tensorial = True

    def __init__(self, eps_weight: float = 1.0, drude_weight: float = 1.0) -> None:
        if eps_weight <= 0 or drude_weight <= 0:
            raise InputError(
                f"eps_weight is {eps_weight} and drude_weight {drude_weight}, expected positive numbers; a tensor head "
                "predicts both"
            )
        super().__init__(frozenset({"re", "im", "drude"}))
        self.eps_weight = eps_weight
        self.drude_weight = drude_weight

    def per_material(self, prediction: Response, target: Response) -> dict[str, Tensor]:
        """`loss`, and its terms before weighting: `eps` and `drude` (eV)."""
        predicted, true = prediction.directions(), target.directions()
        some, whole = true.component_mask.any(dim=1), true.component_mask.all(dim=1)
        average = prediction if predicted.average is None else predicted.average
        isotropic = torch.where(some[:, None, None], prediction.eps_inter, average.eps_inter) - target.eps_inter
        deviator = (predicted.eps_inter - true.eps_inter) * true.component_mask[:, :, None, None]
        root = predicted.drude - true.drude
        axes = _axis_roots(predicted.drude) - _axis_roots(true.drude)
        drude = torch.where(
            whole,
            _size(root[:, 0], root[:, 1:]),
            torch.where(some, (axes.square().mean(dim=1) + _TINY).sqrt(), (average.drude - target.drude).abs()),
        )
        terms = {"eps": _size(isotropic, deviator).mean(dim=(1, 2)), "drude": drude}
        return {"loss": self.eps_weight * terms["eps"] + self.drude_weight * terms["drude"], **terms}


def _size(isotropic: Tensor, deviator: Tensor) -> Tensor:
    """‖T‖_F / √3 of a·1 + Σ_k s_k Q^k; the constant keeps the gradient finite where T vanishes."""
    return (isotropic.square() + norm_square(deviator) / 3 + _TINY).sqrt()


def _axis_roots(root: Tensor) -> Tensor:
    """√(R²)_ii (B, 3) of R (B, 6); the constant keeps the gradient finite where a row of R vanishes."""
    return (axis_squares(root[:, 0], root[:, 1:]) + _TINY).sqrt()
