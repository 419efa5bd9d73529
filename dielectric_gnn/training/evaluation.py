"""Validation, test and prediction of anything that turns crystal graphs into responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor, nn

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.metrics.material_metric import MaterialMetric, check_keys
from dielectric_gnn.metrics.spectral import (
    COLUMNS,
    TENSOR_COLUMNS,
    Column,
    Definitions,
    DrudeR2,
    MaterialMeans,
    material_metrics,
    tensor_metrics,
)
from dielectric_gnn.models.heads.base import Quantity
from dielectric_gnn.models.layers.segment import at_least_float32
from dielectric_gnn.optics import DEFAULT_DAMPING
from dielectric_gnn.optics.intervals import Intervals
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.training.objective import COMPONENT_AXIS, Objective
from dielectric_gnn.training.predict import predict
from dielectric_gnn.utils.errors import InputError

_PUBLISHED_TERMS = ("eps", "drude")
"""Terms that the tables hold already, as errors: they are logged and recorded, but have no column of their own."""

_DIVERGED = (
    "the training diverged; lower model.optimizer.init_args.lr or trainer.gradient_clip_val, and start from an earlier "
    "checkpoint"
)


class ResponseModule(LightningModule):
    """A LightningModule whose `forward` maps a batch of crystals to their responses, and what follows from that.

    Args:
        grid: Photon energies (eV) of the spectra.
        objective: Gives the loss of each material.
        outputs: The quantities that `forward` predicts.
        cutoff: Neighbour cutoff (Å) that the graphs must have.
        tensorial: Whether the responses are whole tensors.
        definitions: Of some metrics; see `metrics.material_metrics`.
        extra_metrics: Metrics beside those of the tables. One that the energy grid does not support is left out.
    """

    def __init__(
        self,
        grid: EnergyGrid,
        objective: Objective,
        outputs: frozenset[Quantity],
        cutoff: float,
        tensorial: bool = False,
        definitions: Definitions = "default",
        extra_metrics: Sequence[MaterialMetric] = (),
    ) -> None:
        super().__init__()
        self.grid = grid
        self.objective = objective
        self.outputs = outputs
        self.cutoff = cutoff
        self.tensorial = tensorial
        self.definitions = definitions
        self.training_statistics: TrainingStatistics | None = None
        self.intervals: Intervals | None = None
        self.extra_metrics = [metric for metric in extra_metrics if metric.supports_grid(grid)]
        terms = objective.term_names(grid)
        own = (*COLUMNS, *TENSOR_COLUMNS) if tensorial else COLUMNS
        extra = [metric.column for metric in self.extra_metrics]
        extra += [Column(f"loss_{name}", f"loss: {name}") for name in terms if name not in _PUBLISHED_TERMS]
        check_keys([*own, *extra])
        self.columns = (*own, *extra)
        self.term_keys = tuple(f"loss_{name}" for name in terms)
        self.eval_means = MaterialMeans(tuple(dict.fromkeys((*self.metric_keys, *self.term_keys))))
        self.eval_drude_r2 = DrudeR2(definitions)

    @property
    def supports_orbits(self) -> bool:
        """Whether `forward` counts equal atoms and edges of orbit graphs."""
        return False

    @property
    def causal(self) -> bool:
        """Whether every prediction has Im ε ≥ 0 and a consistent Re ε, because of `model.causal`."""
        return False

    @property
    def num_parameters(self) -> int:
        """Number of trainable parameters; of a baseline, of the values of its fitted state."""
        return trainable_parameters(self)

    def predict(self, structures: Any, damping: float = DEFAULT_DAMPING) -> Any:
        """Spectra of structures; see `training.predict.predict`.

        Args:
            structures: A path, a pymatgen `Structure`, ASE `Atoms`, or a list of them.
            damping: γ of the Drude term in eV.

        Returns:
            A `Spectrum`, or a list of them for a list.
        """
        return predict(self, structures, damping)

    def losses(self, graph: CrystalGraph, response: Response | None = None) -> Tensor:
        """Loss of every labelled material of a batch (B,), before the mean.

        Args:
            graph: The batch.
            response: What `forward` has returned for it; computed here where it is not given.
        """
        predicted = self(graph) if response is None else response
        return self.objective.per_material(predicted, labels_of(graph))["loss"]

    def loss(self, graph: CrystalGraph, response: Response | None = None) -> Tensor:
        """Mean loss () of a batch of labelled materials: what training minimises. Arguments as for `losses`."""
        return self.losses(graph, response).mean()

    @property
    def metric_keys(self) -> tuple[str, ...]:
        """What is computed for every material."""
        return tuple(column.key for column in self.columns)

    def setup(self, stage: str) -> None:
        """Check that data and model fit together."""
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            return
        if data.store.cutoff != self.cutoff:
            raise InputError(
                f"the graphs hold neighbours up to {data.store.cutoff} Å, but the backbone was built for "
                f"{self.cutoff} Å; set data.cutoff or model.backbone.init_args.cutoff"
            )
        if data.store.eps_inter is None:
            return
        if data.store.grid != self.grid:
            raise InputError(
                f"the spectra have {data.store.grid}, but the model {self.grid}; set data.grid, onto which spectra are "
                "resampled, or model.grid"
            )
        self._check_broadening()

    def on_validation_start(self) -> None:
        """Check the broadening again: the training statistics of a checkpoint are loaded after `setup`."""
        self._check_broadening()

    def on_test_start(self) -> None:
        """As `on_validation_start`."""
        self._check_broadening()

    def _check_broadening(self) -> None:
        data = getattr(self.trainer, "datamodule", None)
        known, given = self.training_statistics and self.training_statistics.broadening, data and data.store.broadening
        if known is not None and given is not None and known != given:
            raise InputError(
                f"the model was trained on spectra of broadening {known} eV, but these have {given} eV; "
                "compare only sets of one broadening, or state it with the source's broadening_ev"
            )

    def validation_step(self, graph: CrystalGraph, batch_idx: int) -> None:
        """Add the batch to the validation metrics."""
        self._evaluate(graph)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics."""
        self._log_evaluation("val")

    def test_step(self, graph: CrystalGraph, batch_idx: int) -> dict[str, Any]:
        """Add the batch to the test metrics; returns response and per-material values for the report."""
        response, values = self._evaluate(graph)
        return {"response": response, "values": values}

    def on_test_epoch_end(self) -> None:
        """Log the test metrics."""
        self._log_evaluation("test")

    def predict_step(self, graph: CrystalGraph, batch_idx: int) -> Response:
        """Response of every crystal of the batch.

        Where the data module skips what cannot be used (`on_error`), a response that is not finite is among them, and
        it is for the callbacks to leave it out (`finite_rows`).

        Raises:
            InputError: A response is not finite, where nothing is skipped.
        """
        response: Response = self(graph)
        if getattr(self._data(), "on_error", "raise") != "skip":
            self._check_finite(response, graph)
        return response

    def finite_rows(self, response: Response) -> Tensor:
        """Whether all that this model predicts is finite, for each crystal of a response (B,)."""
        components = [axis for name, axis in COMPONENT_AXIS.items() if name in self.outputs]
        finite = response.eps_inter[..., components].isfinite().flatten(1).all(dim=1)
        if "drude" in self.outputs:
            finite = finite & response.drude.isfinite()
        if response.anisotropy is not None:
            finite = finite & response.anisotropy.eps_inter.isfinite().flatten(1).all(dim=1)
            finite = finite & response.anisotropy.drude.isfinite().all(dim=1)
        return finite

    def evaluate_response(self, response: Response, graph: CrystalGraph) -> dict[str, Tensor]:
        """Every per-material metric, the loss included, of a response against the labels of the batch."""
        target = labels_of(graph)
        terms = self.objective.per_material(response, target)
        values = {"loss": terms["loss"].double()} | material_metrics(
            response, target, self.grid, definitions=self.definitions
        )
        values |= {key: terms[key.removeprefix("loss_")] for key in self.term_keys}
        values |= {metric.key: metric.per_material(response, target, self.grid) for metric in self.extra_metrics}
        return values | tensor_metrics(response, target) if self.tensorial else values

    def _evaluate(self, graph: CrystalGraph) -> tuple[Response, dict[str, Tensor]]:
        response: Response = self(graph)
        self._check_finite(response, graph)
        values = self.evaluate_response(response, graph)
        # The means leave out what is NaN, because some metrics are undefined for some materials. The loss never is.
        finite = values["loss"].isfinite()
        if not finite.all():
            raise self.bad_loss(int(graph.index[~finite][0]), "in the evaluation")
        self.eval_means.update(values)
        self.eval_drude_r2.update(response.drude, labels_of(graph).drude)
        return response, values

    def _log_evaluation(self, stage: str) -> None:
        means = self.eval_means.compute() | {"drude_r2": self.eval_drude_r2.compute()}
        shown = {key: value for key, value in means.items() if not value.isnan()}
        self.log_dict({f"{stage}/{key}": value.float() for key, value in shown.items() if key != "loss"})
        self.log(f"{stage}/loss", means["loss"].float(), prog_bar=True)
        self.eval_means.reset()
        self.eval_drude_r2.reset()

    def _check_finite(self, response: Response, graph: CrystalGraph) -> None:
        """Raise InputError for a response that is not finite: means of metrics would leave it out."""
        finite = self.finite_rows(response)
        if not finite.all():
            name = self._name_of(int(graph.index[~finite][0]))
            raise InputError(f"the prediction for material {name} is not finite: {_DIVERGED}")

    def bad_loss(self, row: int, where: str) -> InputError:
        """The error for a loss that is not finite; its message states whether the label or the training is the cause.

        Args:
            row: Position of the material in its data set.
            where: Epoch and batch.
        """
        data, name = self._data(), self._name_of(row)
        labels = None if data is None else labels_of(data.store.gather([row]))
        if labels is not None and not _is_finite_where_known(labels):
            return InputError(
                f"the label of material {name} is not finite ({where}): build the store anew, or leave the material out"
            )
        if labels is not None and not (labels.part_mask().all() and labels.drude_mask().all()):
            return InputError(
                f"the loss of material {name} is not finite ({where}): it has no label of Re eps or of the Drude "
                f"frequency, which {type(self.objective).__name__} has to leave out, or {_DIVERGED}"
            )
        return InputError(f"the loss of material {name} is not finite ({where}): {_DIVERGED}")

    def _data(self) -> Any:
        """The data module; None without one."""
        return getattr(self._trainer, "datamodule", None)

    def _name_of(self, row: int) -> str:
        data = self._data()
        return f"number {row}" if data is None else str(data.store.material_ids[row])


def trainable_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def _is_finite_where_known(labels: Response) -> bool:
    """Whether the labels of one material are finite, apart from quantities that are NaN throughout: not known."""
    parts = labels.part_mask()[0]
    values = [labels.eps_inter[..., parts], labels.drude[labels.drude_mask()]]
    if labels.anisotropy is not None:
        values += [labels.anisotropy.eps_inter[..., parts], labels.anisotropy.drude[labels.drude_mask()]]
    return all(bool(part.isfinite().all()) for part in values)


def labels_of(graph: CrystalGraph) -> Response:
    """The labels of a batch as a response, in single precision or wider.

    Raises:
        InputError: The crystals have none.
    """
    if graph.eps_inter is None or graph.drude is None:
        raise InputError("these crystals have no spectra to compare with; use `predict` for them")
    # Here and not in the loader: what travels to a GPU is half as much.
    return Response(graph.eps_inter, graph.drude, anisotropy=graph.anisotropy).map(at_least_float32)
