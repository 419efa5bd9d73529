"""TensorBoard figures of validation spectra during training."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

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

    Args:
        every_n_epochs: How often; 0 switches the figures off.
        num_materials: How many materials, the same ones each time.
    """

    def __init__(self, every_n_epochs: int = 50, num_materials: int = 4) -> None:
        self.every_n_epochs = every_n_epochs
        self.num_materials = num_materials

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw if it is time, on the first process."""
        due = self.every_n_epochs > 0 and (trainer.current_epoch + 1) % self.every_n_epochs == 0
        loggers = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if not due or trainer.sanity_checking or not loggers or not trainer.is_global_zero:
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
            logger.experiment.add_figure("val/spectra", figure, trainer.global_step, close=False)


def comparison_cases(
    store: CrystalStore, graph: CrystalGraph, response: Response, grid: EnergyGrid
) -> list[tuple[str, Spectrum, Spectrum]]:
    """Title, calculated and predicted spectrum of every crystal of a batch, for `comparison_figure`."""
    true, predicted = spectra_of(labels_of(graph), grid), spectra_of(response, grid)
    names = [f"{store.material_ids[row]} ({store.formulas[row]})" for row in graph.index.tolist()]
    return list(zip(names, true, predicted, strict=True))
