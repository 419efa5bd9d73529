"""A baseline as the prior of a network, which learns what the baseline leaves."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.descriptions import names_array
from dielectric_gnn.models.baselines import Baseline
from dielectric_gnn.models.layers.spectrum_transform import SpectrumTransform
from dielectric_gnn.targets.response import Response
from dielectric_gnn.utils.errors import InputError


class Prior(nn.Module):
    """Adds the prediction of a baseline to the output of a head.

    In training, a training material gets the prediction of a fit to the materials of other formulas: otherwise the
    network would learn the errors of the baseline on materials that it was fitted to, which are much smaller than those
    on new ones. These predictions are held in memory, one spectrum for every training material.

    Args:
        baseline: Fitted by `fit`; its state is part of checkpoints.
        transform: What the model learns of the spectra; the sum is taken of this.
    """

    def __init__(self, baseline: Baseline, transform: SpectrumTransform) -> None:
        super().__init__()
        self.baseline = baseline
        self.transform = transform
        self._positions: Tensor | None = None
        self._out_of_fold: Response | None = None

    def fit(self, store: CrystalStore, rows: NDArray[np.int64], labels: Response) -> Response:
        """Fit the baseline to training materials.

        Args:
            store: Holds the materials.
            rows: Their positions in it, (D,).
            labels: Of these materials.

        Returns:
            What the network is to learn: the labels minus the predictions out of fold, both transformed.

        Raises:
            InputError: All training materials have one formula.
        """
        formulas = names_array(store.formulas)[rows].tolist()
        if len(set(formulas)) < 2:
            raise InputError("model.prior needs training materials of at least two formulas; train on more, or drop it")
        # The model may be on a GPU already, the materials are not.
        device = next(self.baseline.buffers()).device
        self.baseline.cpu()
        descriptors = self.baseline.stored_descriptors(store, rows)
        self.baseline.fit(descriptors, labels)
        predicted = self.transform(self.baseline.out_of_fold(descriptors, labels, formulas))
        self.baseline.to(device)
        self._positions = torch.full((len(store),), -1)
        self._positions[torch.from_numpy(rows)] = torch.arange(len(rows))
        self._out_of_fold = predicted
        transformed = self.transform(labels)
        return Response(transformed.eps_inter - predicted.eps_inter, labels.drude - predicted.drude)

    def forward(self, graph: CrystalGraph, residual: Response) -> Response:
        """The transformed response of every material of the batch, from what the head predicts for it."""
        prior = self._training_predictions(graph) if self.training else None
        if prior is None:
            with torch.no_grad():
                prior = self.transform(self.baseline(graph))
        return Response(prior.eps_inter + residual.eps_inter, F.relu(prior.drude + residual.drude))

    def _training_predictions(self, graph: CrystalGraph) -> Response | None:
        """Predictions out of fold; None for a batch of other materials."""
        if self._positions is None or self._out_of_fold is None:
            return None
        positions = self._positions[graph.index.cpu()]
        if (positions < 0).any():
            return None
        predicted = self._out_of_fold.map(lambda values: values.index_select(0, positions))
        return predicted.to(graph.index.device)
