"""The published table for a test set: printed, as CSV and Markdown, per material, and as a figure."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.metrics.spectral import Column, DrudeR2, EnergyMeans, MaterialTable
from dielectric_gnn.models.baselines import CompositionKernel
from dielectric_gnn.optics.plots import comparison_figure, save_figure
from dielectric_gnn.optics.screening import QUALITY_SCORES
from dielectric_gnn.targets.response import Response
from dielectric_gnn.training.callbacks.figures import comparison_cases
from dielectric_gnn.training.ensemble import Ensemble
from dielectric_gnn.training.evaluation import ResponseModule, labels_of
from dielectric_gnn.training.kernel_reference import fitted_kernel, verdict
from dielectric_gnn.training.spectra import quality_of, spectra_of
from dielectric_gnn.utils.files import write_csv, write_text

EVALUATION = "evaluation"
"""Name of the folder of the report where all materials of a source are tested."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_STD_HEADER = ("energy_ev", "std_re", "std_im", "error_re", "error_im")
_MODEL, _KERNEL, _TRIVIAL = "model", "composition kernel", "training mean"
_QUALITY_COLUMNS = tuple(Column(figure.key, figure.heading) for figure in QUALITY_SCORES)


class TestReport(Callback):
    """Collects every material of a test and writes the report into `<run_dir>/test/`.

    With `data.all_as: test` it goes into `<run_dir>/evaluation/`, so that the report of the run's own test set stays.

    For an ensemble, `ensemble_std.csv` holds the standard deviation over the members and the absolute error, at every
    energy, both as means over materials.

    The table compares the model with the composition kernel, fitted to its training materials where they are at hand
    (`kernel_reference`), and with the trivial predictor, which returns the mean spectrum and mean Drude frequency of
    the training set for every material. It contains scores that need no label (`screening.spectrum_quality`).
    """

    __test__ = False  # pytest would collect the class because of its name

    def __init__(self) -> None:
        self._tables: dict[str, MaterialTable] = {}
        self._drude_r2: dict[str, DrudeR2] = {}
        self._ensemble_means: EnergyMeans | None = None
        self._kernel: CompositionKernel | None = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Create empty tables."""
        module = _response_module(pl_module)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        self._kernel = fitted_kernel(module, data)
        names = [_MODEL, *([] if self._kernel is None else [_KERNEL])]
        names += [_TRIVIAL] if module.training_statistics and module.training_statistics.has_means else []
        keys = tuple(column.key for column in _columns(module))
        self._tables = {name: MaterialTable(keys).to(module.device) for name in names}
        self._drude_r2 = {name: DrudeR2(module.definitions).to(module.device) for name in names}
        self._ensemble_means = EnergyMeans(module.grid.num).to(module.device) if isinstance(module, Ensemble) else None

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: CrystalGraph,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the materials of the batch."""
        module = _response_module(pl_module)
        response, values = outputs["response"], outputs["values"]
        store: CrystalStore = trainer.datamodule.store  # type: ignore[attr-defined]
        self._add(_MODEL, module, response, values, batch, store)
        if self._ensemble_means is not None:
            self._ensemble_means.update(response, labels_of(batch))
        if module.training_statistics and module.training_statistics.has_means:
            trivial = module.training_statistics.trivial_response(batch.num_crystals).to(module.device)
            self._add(_TRIVIAL, module, trivial, module.evaluate_response(trivial, batch), batch, store)
        if self._kernel is not None:
            reference = self._kernel(batch)
            self._add(_KERNEL, module, reference, module.evaluate_response(reference, batch), batch, store)

    def _add(
        self,
        name: str,
        module: ResponseModule,
        response: Response,
        values: dict[str, Tensor],
        batch: CrystalGraph,
        store: CrystalStore,
    ) -> None:
        """Add the materials of a batch to the table of one predictor."""
        self._tables[name].update(batch.index, values | _quality(response, batch, module, store))
        self._drude_r2[name].update(response.drude, labels_of(batch).drude)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write and print the report."""
        module = _response_module(pl_module)
        rows, drude_r2 = {}, {}
        for name, table in self._tables.items():  # collective: every process takes part
            index, values = table.table()
            rows[name] = values.cpu().numpy()
            drude_r2[name] = float(self._drude_r2[name].compute())
        means = None if self._ensemble_means is None else self._ensemble_means.compute().cpu().numpy()
        if not trainer.is_global_zero:
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        folder = Path(trainer.default_root_dir) / ("test" if data.all_as is None else EVALUATION)
        summary = _summary(_columns(module), rows, drude_r2)
        markdown = _markdown(summary)
        write_csv(folder / "summary.csv", summary[0], summary[1:])
        write_text(folder / "summary.md", markdown)
        header = ["material_id", "formula", *(column.key for column in _columns(module))]
        write_csv(folder / "per_material.csv", header, _per_material(index.cpu().numpy(), rows[_MODEL], data.store))
        if means is not None:
            rows_of_energy = np.column_stack([module.grid.energies(), means])
            write_csv(folder / "ensemble_std.csv", _STD_HEADER, ([f"{x:.6g}" for x in row] for row in rows_of_energy))
        self._draw_quantiles(folder / "quantiles.png", module, data, index.cpu().numpy(), rows[_MODEL])
        sys.stdout.write(
            f"\nTest set, {len(index)} materials\n\n{markdown}\n"
            f"Table, per-material values and figure are in {folder}/\n"
        )
        if _KERNEL in rows:
            place = module.metric_keys.index("loss")
            sys.stdout.write(verdict(float(rows[_MODEL][:, place].mean()), float(rows[_KERNEL][:, place].mean())))

    def _draw_quantiles(
        self,
        path: Path,
        module: ResponseModule,
        data: Any,
        index: NDArray[np.int64],
        rows: NDArray[np.float64],
    ) -> None:
        """Draw the materials at quantiles of the loss, from the best to the worst prediction."""
        loss = rows[:, module.metric_keys.index("loss")]
        order = loss.argsort()
        places = [order[round(quantile * (len(order) - 1))] for quantile in QUANTILES]
        graph = data.store.gather(index[places]).to(module.device)
        with torch.inference_mode():
            cases = comparison_cases(data.store, graph, module(graph), module.grid)
        titled = [
            (f"{quantile:.0%} quantile, loss {loss[place]:.3f}: {title}", true, predicted)
            for quantile, place, (title, true, predicted) in zip(QUANTILES, places, cases, strict=True)
        ]
        save_figure(comparison_figure(titled), path)


def _columns(module: ResponseModule) -> tuple[Column, ...]:
    return (*module.columns, *_QUALITY_COLUMNS)


def _quality(response: Response, batch: CrystalGraph, module: ResponseModule, store: CrystalStore) -> dict[str, Tensor]:
    quality = quality_of(spectra_of(response, module.grid), store, batch.index.tolist())
    return {key: torch.from_numpy(values).to(batch.index.device) for key, values in quality.items()}


def _response_module(module: LightningModule) -> ResponseModule:
    if not isinstance(module, ResponseModule):
        raise TypeError(f"TestReport reports on a ResponseModule, got {type(module).__name__}")
    return module


def _summary(
    columns: Sequence[Column], rows: dict[str, NDArray[np.float64]], drude_r2: dict[str, float]
) -> list[list[str]]:
    """Header and one line per predictor and statistic; undefined values are shown as a dash."""
    table = [["predictor", "statistic", *(column.heading for column in columns), "R² ω_D"]]
    for name, values in rows.items():
        for statistic, function in (("mean", np.mean), ("median", np.median), ("σ", np.std)):
            cells = []
            for place, column in enumerate(columns):
                defined = values[~np.isnan(values[:, place]), place]
                cells.append(f"{function(defined):.{column.digits}f}" if defined.size else "–")
            r2 = f"{drude_r2[name]:.3f}" if statistic == "mean" and np.isfinite(drude_r2[name]) else "–"
            table.append([name, statistic, *cells, r2])
    return table


def _markdown(table: list[list[str]]) -> str:
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in table]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines) + "\n"


def _per_material(index: NDArray[np.int64], values: NDArray[np.float64], store: CrystalStore) -> list[list[str]]:
    return [
        [store.material_ids[row], store.formulas[row], *(f"{number:.9g}" for number in numbers)]
        for row, numbers in zip(index, values, strict=True)
    ]
