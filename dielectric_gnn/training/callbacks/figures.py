"""Figures of validation spectra during training, for every logger that takes figures."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger
from matplotlib.figure import Figure

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.optics.plots import comparison_figure
from dielectric_gnn.optics.spectrum import Spectrum
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.training.evaluation import labels_of
from dielectric_gnn.training.spectra import spectra_of


class SpectrumFigures(Callback):
    """Draws predicted against calculated spectra of a few validation materials, with their colours.

    The figures go to every logger that takes them: TensorBoard, Weights & Biases, MLflow.

    Args:
        every_n_epochs: How often; 0 switches the figures off.
        num_materials: How many materials, the same ones each time.
    """

    def __init__(self, every_n_epochs: int = 50, num_materials: int = 4) -> None:
        self.every_n_epochs = every_n_epochs
        self.num_materials = num_materials

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw at the first batch of every n-th validation, on the first process.

        Within the validation, and not at its end, the model has the weights that are validated: a callback that
        averages weights exchanges them at the end.
        """
        due = self.every_n_epochs > 0 and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        loggers = [logger for logger in trainer.loggers if takes_figures(logger)]
        if batch_idx or not due or trainer.sanity_checking or not loggers or not trainer.is_global_zero:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        rows = data.indices["val"]
        # Spread over the set rather than its first few, which are often alike.
        chosen = rows[torch.linspace(0, len(rows) - 1, min(self.num_materials, len(rows))).long().numpy()]
        graph = data.store.gather(chosen).to(pl_module.device)
        with torch.inference_mode():
            response = pl_module(graph)
        grid: EnergyGrid = pl_module.grid  # type: ignore[assignment]
        figure = comparison_figure(comparison_cases(data.store, graph, response, grid))
        for logger in loggers:
            log_figure(logger, "val/spectra", figure, trainer.global_step)


def takes_figures(logger: Logger) -> bool:
    """Whether a logger takes figures of matplotlib."""
    return not isinstance(logger, DummyLogger) and _figure_method(logger) is not None


def log_figure(logger: Logger, name: str, figure: Figure, step: int) -> None:
    """Give a figure to a logger that takes figures; see `takes_figures`."""
    experiment: Any = getattr(logger, "experiment", None)
    match _figure_method(logger):
        case "add_figure":  # TensorBoard
            experiment.add_figure(name, figure, step, close=False)
        case "log_image":  # Weights & Biases
            logger.log_image(name, [figure], step=step)  # type: ignore[attr-defined]
        case "log_figure":  # MLflow
            experiment.log_figure(logger.run_id, figure, f"{name}/{step:08d}.png")  # type: ignore[attr-defined]


def _figure_method(logger: Logger) -> str | None:
    """The method that takes figures, by what Lightning's loggers have; their packages need not be installed."""
    experiment = getattr(logger, "experiment", None)
    if hasattr(experiment, "add_figure"):
        return "add_figure"
    if hasattr(logger, "log_image"):
        return "log_image"
    return "log_figure" if hasattr(logger, "run_id") and hasattr(experiment, "log_figure") else None


def comparison_cases(
    store: CrystalStore, graph: CrystalGraph, response: Response, grid: EnergyGrid
) -> list[tuple[str, Spectrum, Spectrum]]:
    """Title, calculated and predicted spectrum of every crystal of a batch, for `comparison_figure`."""
    true, predicted = spectra_of(labels_of(graph), grid), spectra_of(response, grid)
    names = [f"{store.material_ids[row]} ({store.formulas[row]})" for row in graph.index.tolist()]
    return list(zip(names, true, predicted, strict=True))
