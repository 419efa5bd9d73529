"""Kernel ridge regression of spectra and Drude frequencies on composition descriptors."""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dielectric_gnn.data.composition import descriptor_names
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.baselines.base import Baseline, Standardisation, joined, known_rows, label_parts
from dielectric_gnn.models.baselines.principal_components import PrincipalComponents
from dielectric_gnn.models.baselines.ridge import KernelRidge, landmark_rows, laplacian_kernel
from dielectric_gnn.targets.response import Response
from dielectric_gnn.utils.errors import InputError

COMPOSITION = slice(None, len(descriptor_names()))
"""Places of the composition descriptors, which come first."""

_ROWS_PER_BLOCK = 1024


class CompositionKernel(Baseline):
    """Kernel ridge regression: k(x, x') = exp(−γ ‖x − x'‖₁ / F), on standardised descriptors that vary, F of them.

    The targets are the first principal components of the training spectra, of Re ε and of Im ε, and ω_D, with their
    means subtracted: c = (K + α 1)⁻¹ y. Each is fitted on the materials that have the label. For more than
    `max_landmarks` training materials, the solution is restricted to the span of the kernels of as many of them, drawn
    at random (Nyström approximation: C. Williams and M. Seeger, NIPS 13, 682 (2000)).

    With `fidelity_correlation`, labels of several fidelities f are fitted jointly: the kernel is multiplied by
    ρ^|f − f'| (for two, the intrinsic coregionalisation of E. Bonilla, K. Chai and C. Williams, NIPS 20, 153 (2007)).
    The fidelity is a further descriptor, with a rate of its own. Predictions are of the highest, 0.

    Args:
        gamma: γ.
        alpha: α; the kernel of a material with itself is 1.
        components: Number of principal components of Re ε and of Im ε.
        max_landmarks: Largest number of training materials in the exact solution.
        cutoff: Neighbour cutoff of the graphs (Å), which a baseline does not use.
        fidelity_correlation: ρ, above 0 and at most 1; null means that all labels are of one fidelity.

    Raises:
        InputError: An option is not positive, or ρ above 1.
    """

    landmarks: Tensor
    coefficients: Tensor

    def __init__(
        self,
        gamma: float = 0.3,
        alpha: float = 0.03,
        components: int = 15,
        max_landmarks: int = 4000,
        cutoff: float = DEFAULT_CUTOFF,
        fidelity_correlation: float | None = None,
    ) -> None:
        super().__init__(cutoff)
        self._check_positive(gamma=gamma, alpha=alpha, components=components, max_landmarks=max_landmarks)
        if fidelity_correlation is not None and not 0 < fidelity_correlation <= 1:
            raise InputError(
                f"{type(self).__name__}: fidelity_correlation is {fidelity_correlation}, expected a number above 0 and "
                "at most 1, or null for labels of one fidelity"
            )
        self.fidelity_correlation = fidelity_correlation
        self.gamma, self.alpha, self.max_landmarks = gamma, alpha, max_landmarks
        self.standardise = Standardisation()
        sizes = {"re": components, "im": components, "drude": 1}
        self.parts = nn.ModuleDict({name: PrincipalComponents(size) for name, size in sizes.items()})
        self.register_buffer("landmarks", torch.empty(0, 0))
        self.register_buffer("coefficients", torch.empty(0, 0))

    @property
    def num_fidelities(self) -> int:
        """Number of fidelities that it can be fitted to: any, if their correlation is given."""
        return 1 if self.fidelity_correlation is None else sys.maxsize

    @property
    def num_descriptors(self) -> int:
        """Number of descriptors of the material, and one for the fidelity if there are several."""
        return self.num_own_descriptors + (self.fidelity_correlation is not None)

    def descriptors(self, graph: CrystalGraph) -> Tensor:
        """Descriptors of the materials of a batch (B, F), the last one the fidelity if there are several."""
        own = self.own_descriptors(graph)
        return own if self.fidelity_correlation is None else _with_fidelities(own, graph.fidelities)

    def stored_descriptors(self, store: CrystalStore, rows: NDArray[np.int64]) -> Tensor:
        """The same, of materials of a store."""
        own = self.own_stored_descriptors(store, rows)
        if self.fidelity_correlation is None:
            return own
        return _with_fidelities(own, None if store.fidelities is None else torch.from_numpy(store.fidelities[rows]))

    @property
    def num_own_descriptors(self) -> int:
        """Number of descriptors without the fidelity."""
        return super().num_descriptors

    def own_descriptors(self, graph: CrystalGraph) -> Tensor:
        """Descriptors without the fidelity."""
        return super().descriptors(graph)

    def own_stored_descriptors(self, store: CrystalStore, rows: NDArray[np.int64]) -> Tensor:
        """The same, of materials of a store."""
        return super().stored_descriptors(store, rows)

    def fit(self, descriptors: Tensor, targets: Response) -> None:
        """Solve the regression."""
        self._fit_scale(descriptors)
        if self.fidelity_correlation is not None:
            self.standardise.centre[-1] = 0.0
            self.standardise.scale[-1] = -math.log(self.fidelity_correlation) / self._rate()
        points = self.standardise(descriptors).double()
        landmarks = landmark_rows(len(points), self.max_landmarks)
        solutions, ridge = [], None
        for components, part in zip(self._components(), label_parts(targets), strict=True):
            rows = known_rows(part)
            if ridge is None or not torch.equal(rows, ridge.rows):
                ridge = KernelRidge(points, landmarks, rows, self._rate(), self.alpha)
            solutions.append(ridge.solve(components.fit(part[rows])))
        self.landmarks = points[landmarks].to(self.landmarks.dtype)
        self.coefficients = torch.cat(solutions, dim=1).to(self.coefficients.dtype)

    def _predict(self, descriptors: Tensor) -> Response:
        """Responses by the kernels of the landmarks."""
        blocks = torch.split(self.standardise(descriptors), _ROWS_PER_BLOCK)
        rate = self._rate()
        scores = torch.cat([laplacian_kernel(block, self.landmarks, rate) @ self.coefficients for block in blocks])
        components = self._components()
        own = torch.split(scores, [one.num for one in components], dim=1)
        return joined([one(values) for one, values in zip(components, own, strict=True)])

    def is_consistent(self) -> bool:
        """Whether landmarks, coefficients, components and descriptors belong together."""
        width, components = (self.num_descriptors,), self._components()
        re, im, drude = components
        return (
            self.standardise.centre.shape == self.standardise.scale.shape == self.landmarks.shape[1:] == width
            and self.coefficients.shape == (len(self.landmarks), sum(one.num for one in components))
            and all(one.is_consistent() for one in components)
            and re.mean.shape == im.mean.shape
            and drude.mean.shape == (1,)
        )

    def _check_positive(self, **options: float) -> None:
        for name, value in options.items():
            if not value > 0:
                raise InputError(f"{type(self).__name__}: {name} is {value}, expected a positive number")

    def _fit_scale(self, descriptors: Tensor) -> None:
        self.standardise.fit(descriptors)

    def _components(self) -> list[PrincipalComponents]:
        return list(self.parts.values())  # type: ignore[arg-type]

    def _rate(self) -> float:
        return self.gamma / self.standardise.num_varying(COMPOSITION)


def _with_fidelities(descriptors: Tensor, fidelities: Tensor | None) -> Tensor:
    """Descriptors (B, F) with the fidelity as one more; None stands for the highest, 0."""
    column = descriptors.new_zeros(len(descriptors)) if fidelities is None else fidelities.to(descriptors)
    return torch.cat([descriptors, column[:, None]], dim=1)
