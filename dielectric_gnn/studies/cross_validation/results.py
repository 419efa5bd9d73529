"""Predictions out of fold: computed from the checkpoints of the folds, written, and read again."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.prediction.loading import load_model
from dielectric_gnn.targets.response import Response
from dielectric_gnn.training.ensemble import Ensemble
from dielectric_gnn.training.evaluation import ResponseModule, labels_of
from dielectric_gnn.utils.csv_cells import unguard_cell
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import write_atomically, write_csv

PER_MATERIAL, SPECTRA = "per_material.csv", "spectra.npz"
"""Files of the results: errors of every material with every seed, and mean predictions over the seeds."""

ENSEMBLE = "ensemble"
"""In the place of a seed: the mean prediction over the seeds."""

ERRORS = ("loss", "mae", "drude_error")
"""Per-material errors: the objective, the mean absolute error of ε, and |Δω_D| in eV."""

_HEADER = ("material_id", "formula", "fold", "seed", *ERRORS, "drude_true_ev", "drude_predicted_ev")
_BATCH_SIZE = 64


@dataclass(frozen=True)
class OutOfFold:
    """Errors of all materials with one seed.

    Shapes:
        values: (D, 5): `ERRORS`, and the true and predicted ω_D in eV; NaN where there is no label.

    Args:
        seed: The seed, or `ENSEMBLE`.
        ids: The materials.
        formulas: Their reduced formulas.
        folds: Number of the fold of each.
        values: See above.
    """

    seed: str
    ids: list[str]
    formulas: list[str]
    folds: list[int]
    values: NDArray[np.float64]


class FoldPredictions:
    """Collects the predictions for all materials of a store, with every seed.

    Args:
        store: The labelled materials.
        seeds: Of the trainings, or names of the models.
    """

    def __init__(self, store: CrystalStore, seeds: Sequence[int | str]) -> None:
        num = len(store)
        self.store, self.seeds = store, [str(seed) for seed in seeds]
        self.folds = np.full(num, -1)
        self.values = {seed: np.full((num, len(ERRORS) + 2), np.nan) for seed in self.names}
        self.eps_inter = torch.zeros(num, store.grid.num, 2)

    @property
    def names(self) -> list[str]:
        """The seeds, and `ENSEMBLE` if there are several."""
        return [*self.seeds, ENSEMBLE] if len(self.seeds) > 1 else self.seeds

    def add(self, fold: int, ids: Sequence[str], checkpoints: Sequence[Path], trust: Sequence[str]) -> None:
        """Predict the held-out materials of one fold by the models of all seeds.

        Args:
            fold: Number of the fold.
            ids: The materials.
            checkpoints: One for each seed.
            trust: As in `load_model`.
        """
        position = {material_id: row for row, material_id in enumerate(self.store.material_ids)}
        rows = np.array([position[material_id] for material_id in ids])
        self.folds[rows] = fold
        models: list[ResponseModule] = [load_model(path, trust) for path in checkpoints]
        if len(models) > 1:
            models.append(Ensemble(models).eval())
        for start in range(0, len(rows), _BATCH_SIZE):
            self._add_batch(models, rows[start : start + _BATCH_SIZE])

    @torch.no_grad()
    def _add_batch(self, models: Sequence[ResponseModule], rows: NDArray[np.int64]) -> None:
        graph = self.store.gather(rows)
        true = labels_of(graph)
        for name, model in zip(self.names, models, strict=True):  # the last one is the mean over the seeds
            response: Response = model(graph)
            found = model.evaluate_response(response, graph)
            columns = [*(found[key] for key in ERRORS), true.drude, response.drude]
            self.values[name][rows] = torch.stack([column.double() for column in columns], dim=1).numpy()
            self.eps_inter[rows] = response.eps_inter.float()

    def results(self) -> list[OutOfFold]:
        """The errors with every seed, and with the mean prediction over the seeds."""
        ids, formulas, folds = list(self.store.material_ids), list(self.store.formulas), self.folds.tolist()
        return [OutOfFold(name, ids, formulas, folds, self.values[name]) for name in self.names]

    def write(self, folder: Path) -> None:
        """Write `PER_MATERIAL` and `SPECTRA`."""
        rows = (
            [material_id, formula, fold, one.seed, *(f"{value:.9g}" for value in values)]
            for one in self.results()
            for material_id, formula, fold, values in zip(one.ids, one.formulas, one.folds, one.values, strict=True)
        )
        write_csv(folder / PER_MATERIAL, _HEADER, rows)
        arrays = {
            "material_ids": np.array(self.store.material_ids, dtype=np.str_),
            "energies_ev": self.store.grid.energies(),
            "eps_inter": torch.view_as_complex(self.eps_inter).numpy(),
            "drude_ev": self.values[self.names[-1]][:, -1],
        }

        def save(temporary: Path) -> None:
            with temporary.open("wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

        write_atomically(folder / SPECTRA, save)


def read_results(folder: Path) -> list[OutOfFold]:
    """The errors that a cross-validation has written, for every seed.

    Raises:
        InputError: The folder has none, or the file is damaged.
    """
    path = folder / PER_MATERIAL
    if not path.is_file():
        raise InputError(f"{folder}: no {PER_MATERIAL}; expected the folder of a finished `cross-validate`")
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    try:
        by_seed: dict[str, list[dict[str, str]]] = {}
        for line in lines:
            by_seed.setdefault(line["seed"], []).append(line)
        return [_from_lines(seed, some) for seed, some in by_seed.items()]
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error!r}); repeat the `cross-validate` command") from error


def _from_lines(seed: str, lines: Sequence[dict[str, str]]) -> OutOfFold:
    values = np.array([[float(line[key]) for key in _HEADER[4:]] for line in lines])
    ids, formulas = ([unguard_cell(line[key]) for line in lines] for key in ("material_id", "formula"))
    return OutOfFold(seed, ids, formulas, [int(line["fold"]) for line in lines], values)
