"""Kernel ridge regression on composition and pair distances."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.pair_descriptors import (
    num_structure_descriptors,
    stored_structure_descriptors,
    structure_descriptors,
)
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.baselines.kernel import COMPOSITION, CompositionKernel
from dielectric_gnn.targets.response import Response

_PAIRS = slice(COMPOSITION.stop, num_structure_descriptors())
"""Places of the pair descriptors."""


class StructureKernel(CompositionKernel):
    """The composition kernel times one of the structure, so that it tells phases of one composition apart.

    k(x, x') = exp(−γ ‖x − x'‖₁ / F − γ_s ‖s − s'‖₁ / F_s), with composition descriptors x and pair descriptors s
    (`data.pair_descriptors`), both standardised. Spectra enter as c · arcsinh(ε / c), so that the few values above c
    near ω = 0 do not decide the fit; predictions are then nearer to the median than to the mean, as a mean absolute
    error asks for. Everything else is as in `CompositionKernel`.

    Args:
        gamma: γ.
        structure_gamma: γ_s.
        alpha: α; the kernel of a material with itself is 1.
        components: Number of principal components of Re ε and of Im ε.
        max_landmarks: Largest number of training materials in the exact solution.
        cutoff: Distance up to which pairs count (Å).
        compression: c, the value of ε from where spectra are compressed.
        fidelity_correlation: As in `CompositionKernel`.

    Raises:
        InputError: An option is not positive, or ρ above 1.
    """

    compression: Tensor

    def __init__(
        self,
        gamma: float = 0.4,
        structure_gamma: float = 0.15,
        alpha: float = 0.03,
        components: int = 15,
        max_landmarks: int = 4000,
        cutoff: float = DEFAULT_CUTOFF,
        compression: float = 10.0,
        fidelity_correlation: float | None = None,
    ) -> None:
        super().__init__(gamma, alpha, components, max_landmarks, cutoff, fidelity_correlation)
        self._check_positive(structure_gamma=structure_gamma, compression=compression)
        self.structure_gamma = structure_gamma
        # Part of the state: coefficients have no meaning without it.
        self.register_buffer("compression", torch.tensor(compression))

    @property
    def num_own_descriptors(self) -> int:
        """Number of composition and of pair descriptors."""
        return num_structure_descriptors()

    def fit(self, descriptors: Tensor, targets: Response) -> None:
        """Solve the regression of the compressed spectra."""
        compressed = self.compression * torch.asinh(targets.eps_inter / self.compression)
        super().fit(descriptors, Response(compressed, targets.drude))

    def _predict(self, descriptors: Tensor) -> Response:
        """Spectra without the compression, and Drude frequencies."""
        fitted = super()._predict(descriptors)
        return Response(self.compression * torch.sinh(fitted.eps_inter / self.compression), fitted.drude)

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
