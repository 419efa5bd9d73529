"""Base class of the baselines, and the standardisation of their descriptors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dielectric_gnn.data.composition import descriptor_names, graph_descriptors, standardisation, stored_descriptors
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.splits import grouped_folds
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.backbone_or_baseline import BackboneOrBaseline
from dielectric_gnn.models.layers.fitted import FittedModule
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response

RE, IM, DRUDE = range(3)
"""The parts of a response that a baseline fits independently of each other, on the materials that have the label."""


class Baseline(BackboneOrBaseline, FittedModule, ABC):
    """A predictor of responses from descriptors of the composition (`data.composition`), fitted in closed form.

    It takes the place of the backbone in a configuration; `fit` of the command then fits it in one pass over the
    training set. It has no parameters: its state is in buffers, which checkpoints contain as plain tensors.

    Shapes:
        descriptors (D, F) float32; targets: a `Response` of D materials, NaN where a label is not known.

    Args:
        cutoff: Neighbour cutoff of the graphs (Å), which a baseline does not use.
    """

    supports_orbits = True

    def __init__(self, cutoff: float = DEFAULT_CUTOFF) -> None:
        super().__init__()
        self.cutoff = cutoff

    def use_grid(self, grid: EnergyGrid) -> None:
        """Set the photon energies of the spectra, before the fit; without it, they are those of `EnergyGrid()`."""

    @abstractmethod
    def fit(self, descriptors: Tensor, targets: Response) -> None:
        """Set the state from the training materials."""

    def predict(self, descriptors: Tensor) -> Response:
        """Responses of materials (B, F), never in half precision; NaN where no training material had the label."""
        with torch.autocast(descriptors.device.type, enabled=False):
            return self._predict(descriptors)

    @abstractmethod
    def _predict(self, descriptors: Tensor) -> Response:
        """What `predict` returns."""

    @abstractmethod
    def is_consistent(self) -> bool:
        """Whether the shapes of the state belong together and to the descriptors of this version."""

    def forward(self, graph: CrystalGraph) -> Response:
        """Responses of the materials of a batch."""
        return self.predict(self.descriptors(graph))

    @property
    def num_fidelities(self) -> int:
        """Number of fidelities of labels that it can be fitted to jointly."""
        return 1

    @property
    def num_descriptors(self) -> int:
        """Number F of descriptors."""
        return len(descriptor_names())

    def descriptors(self, graph: CrystalGraph) -> Tensor:
        """Descriptors of the materials of a batch (B, F)."""
        return graph_descriptors(graph)

    def stored_descriptors(self, store: CrystalStore, rows: NDArray[np.int64]) -> Tensor:
        """Descriptors of materials of a store (D, F).

        Args:
            store: The store.
            rows: Positions of the materials, (D,).
        """
        return stored_descriptors(store, rows)

    @property
    def num_fitted(self) -> int:
        """Number of values of the fitted state, which stands for the number of parameters."""
        return sum(values.numel() for values in self.state_dict().values())

    def out_of_fold(self, descriptors: Tensor, targets: Response, groups: Sequence[str], folds: int = 10) -> Response:
        """Predictions for the training materials, each by a fit to the materials of other groups.

        Args:
            descriptors: (D, F).
            targets: Of D materials.
            groups: Group of each material, for example its reduced formula, (D,).
            folds: Number of fits, at most the number of groups.

        Raises:
            InputError: There are fewer than two groups.
        """
        place = grouped_folds(groups, min(folds, len(set(groups))))
        eps_inter, drude = torch.empty_like(targets.eps_inter), torch.empty_like(targets.drude)
        for fold in range(int(place.max()) + 1):
            inside, outside = (torch.from_numpy(np.flatnonzero(mask)) for mask in (place == fold, place != fold))
            other = deepcopy(self)
            other.fit(descriptors[outside], _rows_of(targets, outside))
            predicted = other.predict(descriptors[inside])
            eps_inter[inside], drude[inside] = predicted.eps_inter.to(eps_inter), predicted.drude.to(drude)
        return Response(eps_inter, drude)


class Standardisation(FittedModule):
    """Subtracts the mean of the training set from every descriptor and divides by its standard deviation.

    Descriptors that do not vary in the training set become 0.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.empty(0))
        self.register_buffer("scale", torch.empty(0))

    def fit(self, descriptors: Tensor) -> None:
        """Take mean and standard deviation of descriptors (D, F)."""
        centre, scale = standardisation(descriptors)
        self.centre, self.scale = centre.to(self.centre.dtype), scale.to(self.scale.dtype)

    def num_varying(self, part: slice = slice(None)) -> int:
        """Number of descriptors, or of some of them, that vary in the training set; at least 1."""
        return max(1, int(self.scale[part].count_nonzero()))

    def forward(self, descriptors: Tensor) -> Tensor:
        """Standardised descriptors (B, F)."""
        return (descriptors - self.centre) * self.scale


def _rows_of(response: Response, rows: Tensor) -> Response:
    return response.map(lambda values: values[rows])


def label_parts(targets: Response) -> list[Tensor]:
    """Re (D, W), Im (D, W) and ω_D (D, 1) of the labels of D materials, in their order as `RE`, `IM`, `DRUDE`."""
    return [targets.eps_inter[..., RE], targets.eps_inter[..., IM], targets.drude[:, None]]


def known_rows(part: Tensor) -> Tensor:
    """Positions of the materials that have a label of this part."""
    return (~part.isnan().all(dim=1)).nonzero().flatten()


def joined(parts: Sequence[Tensor]) -> Response:
    """The response of the three parts, with ω_D of at least 0."""
    return Response(torch.stack([parts[RE], parts[IM]], dim=2), parts[DRUDE].squeeze(1).clamp(min=0))
