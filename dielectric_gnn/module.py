"""The LightningModule: backbone, pooling, head, objective and metrics behind one `_step`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torchmetrics import MeanMetric

from dielectric_gnn import checkpoint as checkpoints
from dielectric_gnn.backbones import Backbone
from dielectric_gnn.data.graph import CrystalGraph
from dielectric_gnn.errors import InputError
from dielectric_gnn.grid import EnergyGrid
from dielectric_gnn.heads import FreeFormHead, Head
from dielectric_gnn.metrics import COLUMNS, DrudeR2, MaterialMeans, material_metrics
from dielectric_gnn.nn.pooling import Pooling, VectorAttentionPooling
from dielectric_gnn.objective import MaeObjective, Objective
from dielectric_gnn.response import Response
from dielectric_gnn.schedule import WarmupCosine
from dielectric_gnn.training_facts import TrainingFacts

PoolingFactory: TypeAlias = Callable[[int], Pooling]
HeadFactory: TypeAlias = Callable[[int, EnergyGrid], Head]
OptimizerFactory: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]

METRIC_KEYS = tuple(column.key for column in COLUMNS)


class DielectricModule(LightningModule):
    """Predicts the optical response of crystals: backbone → pooling → head, trained on one objective.

    Args:
        backbone: Graph neural network; any subclass of `Backbone`, by class path.
        pooling: From atoms to crystals; a subclass of `Pooling`, by class path.
        head: From crystal features to spectrum and Drude frequency; a subclass of `Head`, by class path.
        objective: What training minimises.
        optimizer: Any PyTorch optimiser, by class path.
        schedule: Learning-rate schedule; null keeps the optimiser's rate.
        grid: Photon energies (eV) of the spectra.

    Raises:
        InputError: Head and objective do not treat the same quantities.
    """

    def __init__(
        self,
        backbone: Backbone,
        pooling: PoolingFactory = VectorAttentionPooling,
        head: HeadFactory = FreeFormHead,
        objective: Objective | None = None,
        optimizer: OptimizerFactory = AdamW,
        schedule: WarmupCosine | None = None,
        grid: EnergyGrid | None = None,
    ) -> None:
        super().__init__()
        self.grid = grid or EnergyGrid()
        self.backbone = backbone
        self.pooling = pooling(backbone.scalar_dim)
        self.head = head(backbone.scalar_dim, self.grid)
        self.objective = objective or MaeObjective()
        self.make_optimizer = optimizer
        self.schedule = schedule
        if self.head.outputs != self.objective.quantities:
            raise InputError(
                f"{type(self.head).__name__} predicts {sorted(self.head.outputs)}, but "
                f"{type(self.objective).__name__} compares {sorted(self.objective.quantities)}; "
                "choose the same quantities for both"
            )
        self.facts: TrainingFacts | None = None
        # The configuration this model was built from, in plain types, for the checkpoint; set by the command.
        self.config: dict[str, Any] | None = None
        self.train_loss = MeanMetric()
        self.eval_means = MaterialMeans(METRIC_KEYS)
        self.eval_drude_r2 = DrudeR2()

    def forward(self, graph: CrystalGraph) -> Response:
        """Response of every crystal of the batch."""
        features = self.backbone(graph)
        pooled = self.pooling(features.scalars, graph.batch, graph.num_crystals)
        response: Response = self.head(pooled)
        return response

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimiser and, if there is one, schedule."""
        optimizer = self.make_optimizer(self.parameters())
        if self.schedule is None:
            return optimizer
        epochs = self.trainer.max_epochs
        steps = self.trainer.estimated_stepping_batches
        steps_per_epoch = max(1, int(steps) // epochs) if epochs and epochs > 0 else 1
        scheduler = self.schedule.build(optimizer, epochs, steps_per_epoch)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": self.schedule.interval},
        }

    def setup(self, stage: str) -> None:
        """Check that data and model fit together."""
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            return
        if data.store.cutoff != self.backbone.cutoff:
            raise InputError(
                f"the graphs hold neighbours up to {data.store.cutoff} Å, but {type(self.backbone).__name__} was "
                f"built for {self.backbone.cutoff} Å; set data.cutoff or model.backbone.init_args.cutoff"
            )
        if data.store.eps_inter is None:
            return
        if data.store.grid != self.grid:
            raise InputError(f"the spectra have {data.store.grid}, but the model {self.grid}; set model.grid")
        known, given = self.facts and self.facts.broadening, data.store.broadening
        if known is not None and given is not None and known != given:
            raise InputError(
                f"the model was trained on spectra of broadening {known} eV, but these have {given} eV; "
                "compare only sets of one broadening, or state it with the source's broadening_ev"
            )

    def on_fit_start(self) -> None:
        """Learn what the model must remember of its training data."""
        self.facts = self.trainer.datamodule.training_facts()  # type: ignore[attr-defined]

    def training_step(self, graph: CrystalGraph, batch_idx: int) -> Tensor:
        """Mean objective of the batch."""
        _, terms = self._step(graph)
        loss = terms["loss"].mean()
        self.train_loss.update(loss.detach(), graph.num_crystals)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

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
        """Response of every crystal of the batch."""
        response: Response = self(graph)
        self._check_finite(response, graph)
        return response

    def evaluate_response(self, response: Response, graph: CrystalGraph) -> dict[str, Tensor]:
        """Every per-material metric, the loss included, of a response against the labels of the batch."""
        target = labels_of(graph)
        terms = self.objective.per_material(response, target)
        return {"loss": terms["loss"].double()} | material_metrics(response, target, self.grid)

    def _step(self, graph: CrystalGraph) -> tuple[Response, dict[str, Tensor]]:
        response = self(graph)
        return response, self.objective.per_material(response, labels_of(graph))

    def _evaluate(self, graph: CrystalGraph) -> tuple[Response, dict[str, Tensor]]:
        response: Response = self(graph)
        self._check_finite(response, graph)
        values = self.evaluate_response(response, graph)
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
        """A diverged model must not hide behind metrics that skip undefined values."""
        components = [axis for axis, name in enumerate(("re", "im")) if name in self.head.outputs]
        finite = response.eps_inter[..., components].isfinite().flatten(1).all(dim=1)
        if "drude" in self.head.outputs:
            finite = finite & response.drude.isfinite()
        if not finite.all():
            bad = int(graph.index[~finite][0])
            data = getattr(self.trainer, "datamodule", None)
            name = data.store.material_ids[bad] if data else f"number {bad}"
            raise InputError(
                f"the prediction for material {name} is not finite: the training diverged; lower "
                "model.optimizer.init_args.lr or trainer.gradient_clip_val, and start from an earlier checkpoint"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add configuration and training facts, in plain types."""
        checkpoints.add_section(checkpoint, self.config, self.facts)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the weights fit, and take over the training facts."""
        section = checkpoints.section_of(checkpoint, "the checkpoint")
        checkpoints.check_weights(checkpoint["state_dict"], self.state_dict(), section, self.config)
        facts = section["facts"]
        self.facts = None if facts is None else TrainingFacts.from_plain(facts)


def labels_of(graph: CrystalGraph) -> Response:
    """The labels of a batch as a response.

    Raises:
        InputError: The crystals have none.
    """
    if graph.eps_inter is None or graph.drude is None:
        raise InputError("these crystals have no spectra to compare with; use `predict` for them")
    return Response(graph.eps_inter, graph.drude)


def trainable_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
