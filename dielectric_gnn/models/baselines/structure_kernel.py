"""Kernel ridge regression on composition and pair distances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.pair_descriptors import (
    num_structure_descriptors,
    stored_structure_descriptors,
    structure_descriptors,
)
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.baselines.base import IM
from dielectric_gnn.models.baselines.kernel import COMPOSITION, CompositionKernel
from dielectric_gnn.models.layers.spectrum_transform import CausalTransform
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response

_PAIRS = slice(COMPOSITION.stop, num_structure_descriptors())
"""Places of the pair descriptors."""


class StructureKernel(CompositionKernel):
    """The composition kernel times one of the structure, so that it tells phases of one composition apart.

    k(x, x') = exp(−γ ‖x − x'‖₁ / F − γ_s ‖s − s'‖₁ / F_s), with composition descriptors x and pair descriptors s
    (`data.pair_descriptors`), both standardised. Spectra enter as √(Im ε) and the part of Re ε that does not follow
    from Im ε (`CausalTransform`), so predictions have Im ε ≥ 0 and are Kramers-Kronig consistent. Everything else is as
    in `CompositionKernel`.

    Args:
        gamma: γ.
        structure_gamma: γ_s.
        alpha: α; the kernel of a material with itself is 1.
        components: Number of principal components of each of the two.
        max_landmarks: Largest number of training materials in the exact solution.
        cutoff: Distance up to which pairs count (Å).
        fidelity_correlation: As in `CompositionKernel`.

    Raises:
        InputError: An option is not positive, or ρ above 1.
    """

    def __init__(
        self,
        gamma: float = 0.4,
        structure_gamma: float = 0.15,
        alpha: float = 0.03,
        components: int = 15,
        max_landmarks: int = 4000,
        cutoff: float = DEFAULT_CUTOFF,
        fidelity_correlation: float | None = None,
    ) -> None:
        super().__init__(gamma, alpha, components, max_landmarks, cutoff, fidelity_correlation)
        self._check_positive(structure_gamma=structure_gamma)
        self.structure_gamma = structure_gamma
        self.use_grid(EnergyGrid())

    @property
    def num_own_descriptors(self) -> int:
        """Number of composition and of pair descriptors."""
        return num_structure_descriptors()

    def use_grid(self, grid: EnergyGrid) -> None:
        """Set the photon energies of the spectra."""
        self.transform = CausalTransform(grid)

    def fit(self, descriptors: Tensor, targets: Response) -> None:
        """Solve the regression of the transformed spectra."""
        super().fit(descriptors, self.transform(targets))

    def _predict(self, descriptors: Tensor) -> Response:
        """Responses, from the transformed spectra that the regression predicts."""
        return self.transform.inverse(super()._predict(descriptors))

    def is_consistent(self) -> bool:
        """As in the base class; and spectra have the length of the grid."""
        return super().is_consistent() and self._components()[IM].mean.shape == self.transform.matrix.shape[1:]

    def own_descriptors(self, graph: CrystalGraph) -> Tensor:
        """Composition descriptors and pair descriptors of a batch."""
        return structure_descriptors(graph, self.cutoff)

    def own_stored_descriptors(self, store: CrystalStore, rows: NDArray[np.int64]) -> Tensor:
        """The same, of materials of a store."""
        return stored_structure_descriptors(store, rows, self.cutoff)

    def _fit_scale(self, descriptors: Tensor) -> None:
        """Scale the pair descriptors so that one rate, that of the composition, applies to all."""
        super()._fit_scale(descriptors)
        rate = self.structure_gamma / self.standardise.num_varying(_PAIRS)
        self.standardise.scale[_PAIRS] *= rate / self._rate()
