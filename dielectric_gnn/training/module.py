"""The model and its training: backbone, pooling and head, objective, optimiser and schedule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NoReturn

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.types import LRSchedulerConfig, OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.metrics.material_metric import MaterialMetric
from dielectric_gnn.metrics.spectral import BatchMean, Definitions
from dielectric_gnn.models.backbone_or_baseline import BackboneOrBaseline
from dielectric_gnn.models.backbones import Backbone
from dielectric_gnn.models.baselines import Baseline
from dielectric_gnn.models.heads import FreeFormHead, Head
from dielectric_gnn.models.layers.descriptor_features import CompositionFeatures, DescriptorFeatures, PairFeatures
from dielectric_gnn.models.layers.fidelity import FidelityEmbedding
from dielectric_gnn.models.layers.fitted import take_shapes
from dielectric_gnn.models.layers.mlp import Norm, set_norm
from dielectric_gnn.models.layers.pooling import Pooling, TensorPooling, VectorAttentionPooling
from dielectric_gnn.models.layers.spectrum_transform import CausalTransform, SpectrumTransform
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.training import checkpoint as checkpoints
from dielectric_gnn.training.averaging import check_averaging
from dielectric_gnn.training.baseline_module import BaselineModule, training_labels
from dielectric_gnn.training.evaluation import ResponseModule, trainable_parameters
from dielectric_gnn.training.loss_monitor import LossMonitor, NonFiniteLoss
from dielectric_gnn.training.objective import MaeObjective, Objective
from dielectric_gnn.training.prior import Prior
from dielectric_gnn.training.schedule import LearningRateScaling, SchedulerConfig, WarmupCosine
from dielectric_gnn.utils.described import CannotDescribeError, describe
from dielectric_gnn.utils.errors import InputError

_LATER_OPTIONS = (
    "lr_scheduler",
    "extra_metrics",
    "norm",
    "composition",
    "prior",
    "fidelities",
    "pair_features",
    "causal",
)
"""Options of the model that earlier checkpoints of this schema do not have."""


class _ModuleOfBackbone(ResponseModule):
    """Chooses the module by the backbone; a class of its own, because jsonargparse reads options from a `__new__`."""

    def __new__(cls, backbone: Any = None, **options: Any) -> Any:
        """A `BaselineModule` for a baseline, so that configurations name it like a network."""
        if not isinstance(backbone, Baseline):
            return super().__new__(cls)
        model = BaselineModule(backbone, **options)
        model.config = _described({"backbone": backbone, **options}, backbone.cutoff)
        return model


class DielectricModule(_ModuleOfBackbone):
    """Predicts the optical response of crystals: backbone → pooling → head, trained on one objective.

    Args:
        backbone: Graph neural network; any subclass of `Backbone`, by class path. A `Baseline` in its place gives a
            `BaselineModule`, which uses objective, grid and metrics only.
        pooling: From atoms to crystals; a subclass of `Pooling`, by class path.
        head: From crystal features to spectrum and Drude frequency; a subclass of `Head`, by class path.
        objective: What training minimises; null means the published one, `MaeObjective`.
        optimizer: Any PyTorch optimiser, by class path.
        schedule: Learning-rate schedule of the published recipe; null keeps the optimiser's rate.
        lr_scaling: Multiplies the optimiser's rate by (N₀/N)^γ for a model of N parameters; null leaves it.
        grid: Photon energies (eV) of the spectra; null means 2001 points on 0 to 20 eV.
        metrics: Definitions of R² and of the relative error of ω_D: `default`, or `published`, those of the code of the
            study (arXiv:2602.05702), which are finite for flat spectra and vanishing Drude frequencies.
        compile_backend: Compile the backbone by this backend of torch.compile; weights and checkpoints stay the same.
            Meant for equivariant backbones on GPUs; on CPUs it was measured to be slower.
        lr_scheduler: Any PyTorch scheduler by class path, in place of `schedule`, with Lightning's `interval`,
            `frequency` and `monitor`.
        extra_metrics: Metrics beside those of the published table, by class path: subclasses of `MaterialMetric`.
        norm: Norm in all MLPs: `layer` and `none` do not depend on the other rows of a batch and suit small training
            sets; null means `batch`, as published.
        composition: Whether a linear map of composition descriptors is added to the pooled features; see
            `CompositionFeatures`.
        pair_features: Whether an MLP of composition and pair descriptors is added to the pooled features; see
            `PairFeatures`.
        prior: A baseline by class path; the network learns the difference from its prediction. See `Prior`.
        causal: Whether the head predicts √(Im ε) and the part of Re ε that does not follow from it, so that Im ε ≥ 0
            and Re ε is consistent with it; see `CausalTransform`. Not for heads that predict oscillators or tensors.
        fidelities: Number of qualities of labels that are trained on jointly, for the data source `Fidelities`; see
            `FidelityEmbedding`. Predictions are of the highest.

    Raises:
        InputError: Backbone, head, objective and prior do not fit together.
    """

    def __init__(
        self,
        backbone: BackboneOrBaseline,
        pooling: Callable[[int], Pooling] = VectorAttentionPooling,
        head: Callable[[int, EnergyGrid, int], Head] = FreeFormHead,
        objective: Objective | None = None,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = AdamW,
        schedule: WarmupCosine | None = None,
        lr_scaling: LearningRateScaling | None = None,
        grid: EnergyGrid | None = None,
        compile_backend: Literal["inductor", "cudagraphs", "eager"] | None = None,
        metrics: Definitions = "default",
        lr_scheduler: SchedulerConfig | None = None,
        extra_metrics: list[MaterialMetric] | None = None,
        norm: Norm | None = None,
        composition: bool | None = None,
        prior: Baseline | None = None,
        fidelities: int | None = None,
        pair_features: bool | None = None,
        causal: bool | None = None,
    ) -> None:
        if schedule is not None and lr_scheduler is not None:
            raise InputError(
                f"model.schedule is {schedule} and model.lr_scheduler {lr_scheduler}, expected one of them; set the "
                "other to null"
            )
        if not isinstance(backbone, Backbone):
            raise InputError(f"{type(backbone).__name__} is no backbone; expected a subclass of Backbone or Baseline")
        grid = grid or EnergyGrid()
        objective = objective or MaeObjective()
        built_head = head(backbone.scalar_dim, grid, backbone.tensor_dim)
        if built_head.outputs != objective.quantities:
            raise InputError(
                f"{type(built_head).__name__} predicts {sorted(built_head.outputs)}, but "
                f"{type(objective).__name__} compares {sorted(objective.quantities)}; "
                "choose the same quantities for both"
            )
        if built_head.tensorial != objective.tensorial:
            raise InputError(
                f"{type(built_head).__name__} predicts {'tensors' if built_head.tensorial else 'averages'}, but "
                f"{type(objective).__name__} compares {'tensors' if objective.tensorial else 'averages'}; choose "
                f"{'TensorObjective' if built_head.tensorial else 'MaeObjective'}"
            )
        if causal and not (built_head.supports_residuals and "im" in built_head.outputs):
            raise InputError(
                f"{type(built_head).__name__} cannot predict what model.causal requires; choose LowRankHead or "
                "FreeFormHead with Im eps, or set model.causal to null"
            )
        if prior is not None and not built_head.supports_residuals:
            raise InputError(
                f"{type(built_head).__name__} cannot predict differences from model.prior; choose LowRankHead or "
                "FreeFormHead, or set model.prior to null"
            )
        if prior is not None and (fidelities or 1) > prior.num_fidelities:
            raise InputError(
                f"model.fidelities is {fidelities}, but model.prior is {type(prior).__name__}, fitted to labels of one "
                "fidelity; give a kernel its fidelity_correlation, or set model.prior to null"
            )
        super().__init__(
            grid, objective, built_head.outputs, backbone.cutoff, built_head.tensorial, metrics, extra_metrics or ()
        )
        self.backbone = backbone
        if compile_backend is not None:
            # In place, so that names of parameters do not change; sizes differ from batch to batch.
            backbone.compile(dynamic=True, backend=compile_backend)
        self.pooling = pooling(backbone.scalar_dim)
        self.tensor_pooling = TensorPooling(backbone.scalar_dim, backbone.tensor_dim) if built_head.tensorial else None
        self.head = built_head
        self.composition = CompositionFeatures(backbone.scalar_dim) if composition else None
        self.pair_features = PairFeatures(backbone.scalar_dim, backbone.cutoff) if pair_features else None
        self.fidelity = FidelityEmbedding(fidelities, backbone.scalar_dim) if fidelities is not None else None
        self.head.residual = prior is not None
        self.transform = CausalTransform(grid) if causal else SpectrumTransform()
        self.prior = None if prior is None else Prior(prior, self.transform)
        if prior is not None:
            prior.use_grid(grid)
        if norm is not None:
            set_norm(self, norm)
        self.make_optimizer = optimizer
        self.schedule = schedule
        self.lr_scheduler = lr_scheduler
        self.lr_scaling = lr_scaling
        # What this model was built from, in plain types, for the checkpoint; the command sets its own configuration.
        parts = {"backbone": backbone, "pooling": pooling, "head": head, "objective": objective, "optimizer": optimizer}
        parts |= {"schedule": schedule, "lr_scaling": lr_scaling, "grid": grid, "metrics": metrics}
        parts |= {"lr_scheduler": lr_scheduler, "extra_metrics": extra_metrics}
        parts |= {"norm": norm, "composition": composition, "prior": prior, "fidelities": fidelities}
        parts |= {"pair_features": pair_features, "causal": causal}
        self.config: dict[str, Any] | None = _described(parts, backbone.cutoff)
        self.train_loss = BatchMean()
        self._loss_monitor = LossMonitor()

    @classmethod
    def load_from_checkpoint(cls, *args: Any, **kwargs: Any) -> NoReturn:
        """Not used: Lightning's way of loading calls what a file names.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "use dielectric_gnn.prediction.loading.load_model(path), which runs nothing that the file names"
        )

    @property
    def supports_orbits(self) -> bool:
        """Whether backbone and pooling do."""
        return self.backbone.supports_orbits and self.pooling.supports_orbits

    @property
    def causal(self) -> bool:
        """Whether the head predicts spectra in the form of `CausalTransform`."""
        return isinstance(self.transform, CausalTransform)

    @property
    def num_fidelities(self) -> int:
        """Number of qualities of labels that the model can be trained on."""
        return 1 if self.fidelity is None else self.fidelity.num

    def forward(self, graph: CrystalGraph) -> Response:
        """Response of every crystal of the batch."""
        features = self.backbone(graph)
        counts = {} if graph.orbits is None else {"counts": graph.orbits.atom_counts}
        pooled = self.pooling(features.scalars, graph.batch, graph.num_crystals, **counts)
        for further in self._descriptor_features():
            pooled = pooled + further(graph)
        if self.fidelity is not None:
            pooled = pooled + self.fidelity(graph.fidelities, graph.num_crystals)
        tensors = None
        if self.tensor_pooling is not None:
            tensors = self.tensor_pooling(features.scalars, features.tensors, graph.batch, graph.num_crystals)
        learned: Response = self.head(pooled, tensors)
        return self.transform.inverse(learned if self.prior is None else self.prior(graph, learned))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Optimiser and, if there is one, schedule."""
        optimizer = self.make_optimizer(self.parameters())
        self._scale_learning_rate(optimizer)
        if self.lr_scheduler is not None:
            return {"optimizer": optimizer, "lr_scheduler": self.lr_scheduler.for_lightning(optimizer)}
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

    def on_fit_start(self) -> None:
        """Take the training statistics from the data, and prepare the head with them."""
        check_averaging(self, self.trainer.callbacks)  # type: ignore[attr-defined]
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        self.training_statistics = data.training_statistics()
        self.prepare(data.store, data.indices["train"], self.training_statistics, data.lower_fidelities())
        rank_zero_info(self.training_statistics.describe_labels())
        self._warn_of_untrained_outputs(self.training_statistics)
        if self.tensorial and self.training_statistics.num_tensors == 0:
            rank_zero_warn(
                "the training materials have averages only, so the tensors of this model will mean nothing and are not "
                "exported; set data.tensors to true, or build the store with --tensors"
            )

    def prepare(
        self,
        store: CrystalStore,
        rows: NDArray[np.int64],
        statistics: TrainingStatistics,
        lower: Sequence[NDArray[np.int64]] = (),
    ) -> None:
        """Set what head, descriptor features and prior take from the training materials, before training.

        Args:
            store: Holds the materials.
            rows: Positions of the training materials in it, (D,).
            statistics: Of these materials.
            lower: Positions of the training materials of every lower fidelity, which only the prior uses.
        """
        self.head.prepare(statistics)
        for features in self._descriptor_features():
            features.prepare(store, rows)
        if self.prior is None and not self.head.needs_labels:
            return  # the labels of a large training set need not be in memory
        if self.prior is None:
            self.head.prepare_from_labels(self.transform(training_labels(store, rows)))
            return
        joint = np.concatenate([rows, *lower])
        residuals = self.prior.fit(store, joint, training_labels(store, joint))
        self.head.prepare_from_labels(residuals.map(lambda values: values[: len(rows)]))

    def _descriptor_features(self) -> list[DescriptorFeatures]:
        return [features for features in (self.composition, self.pair_features) if features is not None]

    def _warn_of_untrained_outputs(self, statistics: TrainingStatistics) -> None:
        missing = {"drude": statistics.num_drude == 0, "re": statistics.num_real == 0}
        names = {"drude": "the Drude frequency", "re": "Re eps"}
        for quantity in sorted(self.objective.quantities & missing.keys()):
            if missing[quantity]:
                rank_zero_warn(
                    f"no training material has a label of {names[quantity]}, which this model predicts without having "
                    "been trained on it"
                )

    def training_step(self, graph: CrystalGraph, batch_idx: int) -> Tensor:
        """Mean objective of the batch."""
        losses = self.losses(graph)
        due = self._loss_monitor.add(losses, graph.index, batch_idx)
        if due or not (losses.is_cuda or self._several_processes()):
            self._check_losses()
        loss = losses.mean()
        self.train_loss.update(loss.detach(), graph.num_crystals)
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def on_train_epoch_start(self) -> None:
        """A mean that was taken over belongs to an epoch that is over; within an epoch, this is not called."""
        self.train_loss.reset()

    def on_validation_start(self) -> None:
        """Look at the losses of the epoch before weights are judged by their validation; and as in the base class."""
        self._check_losses()
        super().on_validation_start()

    def on_train_epoch_end(self) -> None:
        """Look at the last losses, also where nothing is validated; advance schedulers that follow a metric."""
        self._check_losses()
        for config in self.trainer.lr_scheduler_configs if self._trainer is not None else ():
            value = self.trainer.callback_metrics.get(str(config.monitor))
            due = (self.current_epoch + 1) % config.frequency == 0
            if _follows_metric_of_epoch(config) and due and value is not None:
                config.scheduler.step(value)  # type: ignore[arg-type]

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Advance a scheduler.

        One that follows a metric of the epoch has been advanced in `on_train_epoch_end` already. Lightning would
        advance it only after `last.ckpt` is written, and a resumed training would miss that step.
        """
        config = next((one for one in self.trainer.lr_scheduler_configs if one.scheduler is scheduler), None)
        if config is None or not _follows_metric_of_epoch(config):
            super().lr_scheduler_step(scheduler, metric)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add configuration, training statistics and the mean loss of this epoch so far, in plain types.

        Raises:
            InputError: A loss was not finite: the weights are lost, and must not replace good ones.
        """
        self._check_losses()
        checkpoints.add_section(checkpoint, self.config, self.training_statistics)
        with self.train_loss.sync_context():  # of all processes
            checkpoint["train_loss"] = dict(self.train_loss.metric_state)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the weights fit, and take over the training statistics and, once, the mean loss of the epoch."""
        section = checkpoints.section_of(checkpoint, "the checkpoint")
        take_shapes(self, checkpoint["state_dict"])
        checkpoints.check_weights(checkpoint["state_dict"], self.state_dict(), section, self.config)
        statistics = section["training_statistics"]
        self.training_statistics = None if statistics is None else TrainingStatistics.from_plain(statistics)
        if self.global_rank == 0:
            for name, value in checkpoint.get("train_loss", {}).items():
                setattr(self.train_loss, name, value.to(self.train_loss.device))

    def _check_losses(self) -> None:
        """Look at the losses since the last look; several processes do so together, and all of them end.

        Raises:
            InputError: One is not finite; one line that names the material, the epoch and the batch.
        """
        bad = self._loss_monitor.first_non_finite()
        if self._several_processes():
            own = torch.tensor([-1, -1] if bad is None else bad, device=self.device)
            gathered = [torch.empty_like(own) for _ in range(self.trainer.world_size)]
            torch.distributed.all_gather(gathered, own)
            found = [NonFiniteLoss(*pair.tolist()) for pair in gathered if pair[0] >= 0]
            bad = min(found, key=lambda one: one.batch, default=None)
        if bad is not None:
            raise self.bad_loss(bad.row, f"in epoch {self.current_epoch}, batch {bad.batch}")

    def _several_processes(self) -> bool:
        return self._trainer is not None and self._trainer.world_size > 1

    def _scale_learning_rate(self, optimizer: Optimizer) -> None:
        if self.lr_scaling is None:
            return
        parameters = trainable_parameters(self)
        factor = self.lr_scaling.factor(parameters)
        for group in optimizer.param_groups:
            rate = group["lr"] * factor
            rank_zero_info(
                f"learning rate {group['lr']:.4g} x ({self.lr_scaling.reference_parameters:,} / {parameters:,})"
                f"^{self.lr_scaling.exponent:g} = {rate:.4g}"
            )
            group["lr"] = rate


def _follows_metric_of_epoch(config: LRSchedulerConfig) -> bool:
    return config.reduce_on_plateau and config.interval == "epoch"


def without_unset(model: dict[str, Any]) -> dict[str, Any]:
    """Model settings without the later options that are not set, so that hashes of earlier runs stay the same."""
    return {key: value for key, value in model.items() if value is not None or key not in _LATER_OPTIONS}


def _described(parts: dict[str, Any], cutoff: float) -> dict[str, Any] | None:
    """The configuration of a model that was built in Python; None where a part has none, such as a lambda."""
    try:
        return {"model": without_unset(describe(parts)), "data": {"cutoff": cutoff}}
    except CannotDescribeError:
        return None
