"""The simplest predictors: the mean of the training set, and its nearest material."""

from __future__ import annotations

import torch
from torch import Tensor

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF
from dielectric_gnn.models.baselines.base import Baseline, Standardisation, joined, known_rows, label_parts
from dielectric_gnn.targets.response import Response

_NAMES = ("re", "im", "drude")
_ROWS_PER_BLOCK = 1024


class MeanSpectrum(Baseline):
    """Predicts the mean spectrum and the mean Drude frequency of the training set for every material.

    Args:
        cutoff: Neighbour cutoff of the graphs (Å), which a baseline does not use.
    """

    def __init__(self, cutoff: float = DEFAULT_CUTOFF) -> None:
        super().__init__(cutoff)
        for name in _NAMES:
            self.register_buffer(f"mean_{name}", torch.empty(0))

    def fit(self, descriptors: Tensor, targets: Response) -> None:
        """Take the means over the materials that have the label."""
        for name, part in zip(_NAMES, label_parts(targets), strict=True):
            mean = part[known_rows(part)].double().mean(dim=0)
            setattr(self, f"mean_{name}", mean.to(self.get_buffer(f"mean_{name}").dtype))

    def _predict(self, descriptors: Tensor) -> Response:
        """The means, for every material."""
        return joined([self.get_buffer(f"mean_{name}").expand(len(descriptors), -1) for name in _NAMES])

    def is_consistent(self) -> bool:
        """Whether Re and Im have as many energies."""
        re, im, drude = (self.get_buffer(f"mean_{name}") for name in _NAMES)
        return re.dim() == 1 and re.shape == im.shape and drude.shape == (1,)


class NearestMaterial(Baseline):
    """Predicts the response of the training material with the most similar composition and density.

    The distance is the sum of the absolute differences of standardised descriptors. The state contains all training
    spectra.

    Args:
        cutoff: Neighbour cutoff of the graphs (Å), which a baseline does not use.
    """

    def __init__(self, cutoff: float = DEFAULT_CUTOFF) -> None:
        super().__init__(cutoff)
        self.standardise = Standardisation()
        for name in _NAMES:
            self.register_buffer(f"points_{name}", torch.empty(0))
            self.register_buffer(f"values_{name}", torch.empty(0))

    def fit(self, descriptors: Tensor, targets: Response) -> None:
        """Store the labels, and the descriptors of the materials that have them."""
        self.standardise.fit(descriptors)
        points = self.standardise(descriptors)
        for name, part in zip(_NAMES, label_parts(targets), strict=True):
            rows = known_rows(part)
            setattr(self, f"points_{name}", points[rows].to(self.get_buffer(f"points_{name}").dtype))
            setattr(self, f"values_{name}", part[rows].to(self.get_buffer(f"values_{name}").dtype))

    def _predict(self, descriptors: Tensor) -> Response:
        """Labels of the nearest training material, for each part among those that have it."""
        return joined([self._nearest(name, self.standardise(descriptors)) for name in _NAMES])

    def is_consistent(self) -> bool:
        """Whether every point has a label."""
        width = (self.num_descriptors,)
        parts = [(self.get_buffer(f"points_{name}"), self.get_buffer(f"values_{name}")) for name in _NAMES]
        return (
            self.standardise.centre.shape == self.standardise.scale.shape == width
            and all(p.dim() == v.dim() == 2 and p.shape[1:] == width and len(p) == len(v) for p, v in parts)
            and parts[0][1].shape[1] == parts[1][1].shape[1]
            and parts[2][1].shape[1] == 1
        )

    def _nearest(self, name: str, points: Tensor) -> Tensor:
        known, values = self.get_buffer(f"points_{name}"), self.get_buffer(f"values_{name}")
        if not len(known):
            return values.new_full((len(points), values.shape[1]), torch.nan)
        rows = [torch.cdist(block, known, p=1).argmin(dim=1) for block in torch.split(points, _ROWS_PER_BLOCK)]
        return values.index_select(0, torch.cat(rows))
