"""Baselines as models: the same verbs, tables, checkpoints and predictions as networks, without a gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.metrics.material_metric import MaterialMetric
from dielectric_gnn.metrics.spectral import BatchMean, Definitions
from dielectric_gnn.models.baselines import Baseline
from dielectric_gnn.models.layers.fitted import take_shapes
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.training import checkpoint as checkpoints
from dielectric_gnn.training.evaluation import ResponseModule
from dielectric_gnn.training.objective import COMPONENT_AXIS, MaeObjective, Objective
from dielectric_gnn.utils.errors import InputError


class BaselineModule(ResponseModule):
    """Predicts the optical response of materials by a baseline, which is fitted in closed form.

    `DielectricModule` builds this module if its backbone is a baseline. A training is one epoch: the baseline is fitted
    when it begins, and the epoch evaluates it on training and validation materials.

    Args:
        backbone: The baseline.
        objective: Gives the loss of each material, which the fit does not minimise; null means `MaeObjective`.
        grid: As in `DielectricModule`.
        metrics: As in `DielectricModule`.
        extra_metrics: As in `DielectricModule`.
        **unused: Options of `DielectricModule` that concern networks: pooling, head, optimiser and schedules.

    Raises:
        InputError: The objective compares tensors, which baselines do not predict.
    """

    pooling = None
    head = None

    def __init__(
        self,
        backbone: Baseline,
        *,
        objective: Objective | None = None,
        grid: EnergyGrid | None = None,
        metrics: Definitions = "default",
        extra_metrics: list[MaterialMetric] | None = None,
        **unused: Any,
    ) -> None:
        objective = objective or MaeObjective()
        if objective.tensorial:
            raise InputError(
                f"{type(backbone).__name__} predicts averages, but {type(objective).__name__} compares tensors; choose "
                "MaeObjective, or a network with a tensor head"
            )
        quantities = objective.quantities
        super().__init__(
            grid or EnergyGrid(), objective, quantities, backbone.cutoff, False, metrics, extra_metrics or ()
        )
        self.backbone = backbone
        backbone.use_grid(self.grid)
        self.config: dict[str, Any] | None = None
        self.train_loss = BatchMean()

    @property
    def supports_orbits(self) -> bool:
        """Always: descriptors of orbit graphs are those of full graphs."""
        return True

    @property
    def num_fidelities(self) -> int:
        """Number of fidelities of labels that the baseline can be fitted to jointly."""
        return self.backbone.num_fidelities

    @property
    def num_parameters(self) -> int:
        """Number of values of the fitted state."""
        return self.backbone.num_fitted

    def forward(self, graph: CrystalGraph) -> Response:
        """Response of every material of the batch; NaN in quantities that the objective does not compare."""
        response: Response = self.backbone(graph)
        for name, axis in COMPONENT_AXIS.items():
            if name not in self.outputs:
                response.eps_inter[..., axis] = torch.nan
        if "drude" not in self.outputs:
            response.drude.fill_(torch.nan)
        return response

    def fit_baseline(
        self, store: CrystalStore, rows: NDArray[np.int64], lower: Sequence[NDArray[np.int64]] = ()
    ) -> None:
        """Fit the baseline to materials of a store.

        Args:
            store: The store.
            rows: Positions of the training materials.
            lower: Positions of those of every lower fidelity.

        Raises:
            InputError: None of them has a label of a quantity that the objective compares.
        """
        self.backbone.fit(*fitted_to(self.backbone, store, np.concatenate([rows, *lower])))

    def setup(self, stage: str) -> None:
        """Check that data and model fit together; at the beginning of a training, fit the baseline.

        Raises:
            InputError: As in the base class; there are several processes; or a quantity has no label.
        """
        super().setup(stage)
        if stage != "fit":
            return
        if self.trainer.world_size > 1:
            raise InputError(
                f"{type(self.backbone).__name__} is fitted in closed form, in one process; set trainer.devices and "
                "trainer.num_nodes to 1"
            )
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        statistics: TrainingStatistics = data.training_statistics()
        _check_labels(statistics, self.objective)
        rank_zero_info(statistics.describe_labels())
        self.training_statistics = statistics
        self.fit_baseline(data.store, data.indices["train"], data.lower_fidelities())
        self.trainer.fit_loop.max_epochs = 1

    def configure_optimizers(self) -> None:
        """None."""
        return

    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        """Nothing, since there is no gradient."""

    def training_step(self, graph: CrystalGraph, batch_idx: int) -> None:
        """Add the batch to the mean training loss; there is no gradient."""
        with torch.no_grad():
            losses = self.losses(graph)
        self.train_loss.update(losses.mean(), graph.num_crystals)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add configuration and training statistics, in plain types."""
        checkpoints.add_section(checkpoint, self.config, self.training_statistics)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over shapes of the state and training statistics, and check that the state is that of this baseline.

        Raises:
            InputError: It is not.
        """
        section = checkpoints.section_of(checkpoint, "the checkpoint")
        take_shapes(self, checkpoint["state_dict"])
        checkpoints.check_weights(checkpoint["state_dict"], self.state_dict(), section, self.config)
        if not self.backbone.is_consistent():
            raise InputError(
                f"the state of {type(self.backbone).__name__} in the checkpoint has shapes that do not belong "
                "together, or descriptors of another version; fit it again"
            )
        statistics = section["training_statistics"]
        self.training_statistics = None if statistics is None else TrainingStatistics.from_plain(statistics)


def fitted_to(baseline: Baseline, store: CrystalStore, rows: NDArray[Any]) -> tuple[Tensor, Response]:
    """What a baseline is fitted to: its descriptors and the labels of materials of a store, in single precision.

    Raises:
        InputError: The materials have no labels.
    """
    return baseline.stored_descriptors(store, rows), training_labels(store, rows)


def training_labels(store: CrystalStore, rows: NDArray[Any]) -> Response:
    """Labels of materials of a store, in single precision.

    Raises:
        InputError: The materials have no labels.
    """
    if store.eps_inter is None or store.drude is None:
        raise InputError("these materials have no spectra to train on; use a source with labels")
    return Response(torch.from_numpy(store.eps_inter[rows]).float(), torch.from_numpy(store.drude[rows]))


def _check_labels(statistics: TrainingStatistics, objective: Objective) -> None:
    missing = {"drude": (statistics.num_drude, "the Drude frequency"), "re": (statistics.num_real, "Re eps")}
    for quantity, (num, name) in missing.items():
        if quantity in objective.quantities and num == 0:
            raise InputError(
                f"no training material has a label of {name}, so a baseline cannot predict it; leave it out of the "
                "objective (model.objective: components, drude_weight)"
            )
