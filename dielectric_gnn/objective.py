"""What training minimises, per material and as a mean over materials."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor

from dielectric_gnn.errors import InputError
from dielectric_gnn.heads.base import Quantity
from dielectric_gnn.heads.free_form import Component
from dielectric_gnn.response import Response

COMPONENT_AXIS: dict[Component, int] = {"re": 0, "im": 1}
"""Where Re and Im lie on the last axis of `Response.eps_inter`."""


class Objective(ABC):
    """A loss that is a mean over materials, so that it does not depend on how they are batched.

    Args:
        quantities: What it compares; the head must predict these and nothing else.
    """

    def __init__(self, quantities: frozenset[Quantity]) -> None:
        self.quantities = quantities

    @abstractmethod
    def per_material(self, prediction: Response, target: Response) -> dict[str, Tensor]:
        """Loss terms of each material, (B,) each; `loss` is the one that training minimises the mean of."""


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
