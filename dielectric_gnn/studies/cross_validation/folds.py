"""The folds of a cross-validation as files, and its runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dielectric_gnn.data.splits import grouped_folds, read_split
from dielectric_gnn.studies.plan import PlannedRun
from dielectric_gnn.training.run_folder import CHECKPOINTS
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import write_text

FOLDS, RUNS = "folds", "runs"
"""Folders of the lists of ids and of the trainings, within the folder of a cross-validation."""


@dataclass(frozen=True)
class Fold:
    """One fold.

    Args:
        number: From 0 on.
        path: File with the ids of its training, validation and held-out materials (`data.split_ids`).
    """

    number: int
    path: Path


def make_folds(
    ids: Sequence[str], formulas: Sequence[str], num: int, seed: int = 0, validation: float = 0.0
) -> list[dict[str, list[str]]]:
    """The split of every fold: each material is held out once, and no formula is on two sides.

    Args:
        ids: All materials.
        formulas: Their reduced formulas.
        num: Number of folds.
        seed: Seed of the assignment.
        validation: Share of the training formulas that are used for validation.

    Raises:
        InputError: Too few formulas for so many folds, or for the validation.
    """
    place = grouped_folds(formulas, num, seed)
    splits = []
    for fold in range(num):
        inside = sorted({formula for formula, one in zip(formulas, place, strict=True) if one != fold})
        order = np.random.default_rng((seed, fold)).permutation(len(inside))
        chosen = {inside[row] for row in order[: _share(validation, len(inside))]}
        if len(chosen) == len(inside):
            raise InputError(f"fold {fold} has {len(inside)} other formulas, too few for training and validation")
        split: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for material_id, formula, one in zip(ids, formulas, place, strict=True):
            split["test" if one == fold else "val" if formula in chosen else "train"].append(material_id)
        splits.append(split)
    return splits


def _share(share: float, num: int) -> int:
    """A share of a number, rounded; at least 1 unless the share is 0."""
    return max(1, round(share * num)) if share > 0 else 0


def write_folds(folder: Path, splits: Sequence[dict[str, list[str]]]) -> list[Fold]:
    """Write the folds into the folder of a cross-validation, or check that they are those of an earlier launch.

    Raises:
        InputError: The folder contains other folds.
    """
    folds = [Fold(number, folder / FOLDS / f"fold-{number}.json") for number in range(len(splits))]
    beyond = folder / FOLDS / f"fold-{len(splits)}.json"
    for fold, split in zip(folds, splits, strict=True):
        if beyond.exists() or (fold.path.is_file() and read_split(fold.path) != split):
            raise InputError(
                f"{folder} contains a cross-validation of other materials or folds; choose another --out, or remove "
                "the folder"
            )
        fold.path.parent.mkdir(parents=True, exist_ok=True)
        if not fold.path.is_file():
            write_text(fold.path, json.dumps(split, indent=1, ensure_ascii=False) + "\n")
    return folds


def run_name(fold: int, seed: int) -> str:
    """Name of the run of a fold, given by its number, with a seed."""
    return f"fold{fold}-s{seed}"


def plan_folds(
    folder: Path,
    folds: Sequence[Fold],
    seeds: Sequence[int],
    words: Sequence[str],
    data: Sequence[str],
    checkpoint: str,
) -> Iterator[PlannedRun]:
    """The training and test of every fold with every seed.

    Args:
        folder: Of the cross-validation.
        folds: Its folds.
        seeds: Of initial weights and the order of batches.
        words: Options of `dielectric-gnn fit`.
        data: Those of them that name the source of the materials, which the test repeats.
        checkpoint: Name of the checkpoint that is tested.
    """
    for seed in seeds:
        for fold in folds:
            name = run_name(fold.number, seed)
            run = folder / RUNS / name
            split = ("--data.split_ids", str(fold.path))
            own = ("--seed_everything", str(seed), "--run_dir", str(run), "--study", "cross-validation")
            test = ("--ckpt_path", str(run / CHECKPOINTS / checkpoint), "--run_dir", str(run))
            yield PlannedRun(
                name, run, ("fit", *words, *split, *own), ("test", *data, *split, *test), "fold", None, seed
            )
