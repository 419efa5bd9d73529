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

        Labels that are not known are NaN (`Response.part_mask`, `Response.drude_mask`): their terms are left out of the
        loss, which stays finite. A term with none of its labels is NaN, and left out of its mean.
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

    MAE(ε_inter) is the mean over the components, (MAE Re + MAE Im) / 2. For a material without a label of Re or ω_D,
    that term is left out of the sum, and the weights of the others stay as they are.

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
        mask = target.part_mask().narrow(1, first, count)
        true = _zero_unless(mask[:, None], target.eps_inter.narrow(2, first, count))
        difference = (prediction.eps_inter.narrow(2, first, count) - true).abs()
        eps = _zero_unless(mask[:, None], difference).mean(dim=(1, 2))
        terms = {"eps": eps.where(mask.any(dim=1), torch.nan)}
        loss = self.eps_weight * eps
        if self.drude_weight > 0:
            known = target.drude_mask()
            drude = _zero_unless(known, (prediction.drude - _zero_unless(known, target.drude)).abs())
            terms["drude"] = drude.where(known, torch.nan)
            loss = loss + self.drude_weight * drude
        return {"loss": loss, **terms}


class TensorObjective(Objective):
    """w_ε ⟨‖Δε‖_F / √3⟩ + w_D ‖ΔR‖_F / √3, the same in every frame; R² is the Drude tensor ω_D².

    With T = a·1 + Σ_k s_k Q^k, ‖ΔT‖_F / √3 = √(Δa² + |Δs|² / 3); the mean is over energies, Re and Im. For isotropic
    tensors it is the loss of `MaeObjective`. R is compared rather than ω_D², whose errors have heavy tails.

    Where a label does not tell a component of the deviator, that component does not count. A label that tells the
    diagonals only does not tell R either: then the roots of the diagonal of ω_D² are compared, √(R²)_ii, by their root
    mean square difference over the axes. Where it tells the average only, this trains the isotropic part, with the
    deviators held fixed. Terms of Re ε or R without a label are left out, as in `MaeObjective`.

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
        parts, known = target.part_mask()[:, None], target.drude_mask()
        isotropic = torch.where(some[:, None, None], prediction.eps_inter, average.eps_inter)
        isotropic = isotropic - _zero_unless(parts, target.eps_inter)
        deviator = predicted.eps_inter - _zero_unless(parts[:, None], true.eps_inter)
        deviator = deviator * true.component_mask[:, :, None, None]
        true_root = _zero_unless(known[:, None], true.drude)
        root = predicted.drude - true_root
        axes = _axis_roots(predicted.drude) - _axis_roots(true_root)
        average_error = (average.drude - _zero_unless(known, target.drude)).abs()
        drude = torch.where(
            whole,
            _size(root[:, 0], root[:, 1:]),
            torch.where(some, (axes.square().mean(dim=1) + _TINY).sqrt(), average_error),
        )
        eps = _zero_unless(parts, _size(isotropic, deviator)).mean(dim=(1, 2))
        drude = _zero_unless(known, drude)
        loss = self.eps_weight * eps + self.drude_weight * drude
        return {
            "loss": loss,
            "eps": eps.where(parts.any(dim=(1, 2)), torch.nan),
            "drude": drude.where(known, torch.nan),
        }


def _zero_unless(mask: Tensor, values: Tensor) -> Tensor:
    """The values where the mask is true, else 0: NaN times 0 would be NaN, in the loss as in the gradient."""
    return torch.where(mask, values, values.new_zeros(()))


def _size(isotropic: Tensor, deviator: Tensor) -> Tensor:
    """‖T‖_F / √3 of a·1 + Σ_k s_k Q^k; the constant keeps the gradient finite where T vanishes."""
    return (isotropic.square() + norm_square(deviator) / 3 + _TINY).sqrt()


def _axis_roots(root: Tensor) -> Tensor:
    """√(R²)_ii (B, 3) of R (B, 6); the constant keeps the gradient finite where a row of R vanishes."""
    return (axis_squares(root[:, 0], root[:, 1:]) + _TINY).sqrt()
