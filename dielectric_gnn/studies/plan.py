"""Planning: the runs of a study, with their names, folders and command lines."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from dielectric_gnn.studies.spec import Block, Choice, Study
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.yaml_files import read_yaml

_SOURCE_SETTINGS = ("source", "store", "train_ids", "split_ids")
"""Settings of the data that may be paths."""
_SOURCE_OPTIONS = tuple(f"data.{key}" for key in _SOURCE_SETTINGS)


@dataclass(frozen=True)
class PlannedRun:
    """One training and its test.

    Args:
        name: Unique within the study.
        folder: Folder of the run.
        fit: Command line of the training, after `dielectric-gnn`.
        test: Command line of the test, after `dielectric-gnn`.
        kind: Model, head, width and options of the block; runs of one kind cost the same per training material.
        size: D, number of training materials; None means all.
        seed: Seed of the training.
    """

    name: str
    folder: Path
    fit: tuple[str, ...]
    test: tuple[str, ...]
    kind: str
    size: int | None
    seed: int

    def commands(self) -> list[str]:
        """Both command lines, quoted for a shell."""
        return [shlex.join(["dielectric-gnn", *words]) for words in (self.fit, self.test)]


def plan_runs(study: Study, changes: Mapping[str, Any] | None = None) -> list[PlannedRun]:
    """All runs of a study, small training sets first; a run that occurs in several blocks is one run.

    Args:
        study: The study.
        changes: Options of every run that override those of the study.

    Raises:
        InputError: There are no runs; the grid contains a model or a head that is not defined; an overlay does not
            exist; or two blocks give one run different options.
    """
    runs: dict[str, PlannedRun] = {}
    for place, block in enumerate(study.grid):
        for run in _runs_of(study, block, f"study {study.name}, grid[{place}]", changes or {}):
            if runs.setdefault(run.name, run) != run:
                raise InputError(
                    f"study {study.name}: grid[{place}] and a block before it give run {run.name} different options; "
                    "give one of the models another name, or use two studies"
                )
    if not runs:
        raise InputError(f"study {study.name}: no runs; the grid is empty")
    return sorted(runs.values(), key=lambda run: run.size or 10**12)


def _runs_of(study: Study, block: Block, where: str, changes: Mapping[str, Any]) -> Iterator[PlannedRun]:
    for key, known in (("models", study.models), ("heads", study.heads)):
        if unknown := [name for name in getattr(block, key) if name is not None and name not in known]:
            raise InputError(f"{where}: {unknown[0]!r} is not among the {key} ({', '.join(known) or 'none'})")
    for model, head, width, size, seed in product(block.models, block.heads, block.widths, block.sizes, block.seeds):
        choices = [study.models[model], *([] if head is None else [study.heads[head]])]
        parts = [model, *([] if head is None else [head]), *([] if width is None else [f"h{width}"])]
        name = "-".join([*parts, "all" if size is None else f"d{size}", f"s{seed}"])
        folder = study.folder / name
        options = {**study.options, **choices[0].options, **_rate_options(choices[0]), **_width_option(width)}
        options |= {**(choices[1].options if head else {}), **block.options, **changes}
        options |= {"data.train_size": size} if size is not None else {}
        options |= {"data.subset_seed": seed} if size is not None and block.subset_seed == "seed" else {}
        options |= {"data.store": study.data.store} if study.data else {}
        options |= {"seed_everything": seed, "study": study.name, "run_dir": str(folder)}
        overlays = [*study.configs, *(path for choice in choices for path in choice.configs)]
        yield PlannedRun(
            name=name,
            folder=folder,
            fit=("fit", *_overlays([*overlays, *([study.trainer] if study.trainer else [])]), *_words(options)),
            test=(
                "test",
                *_overlays([study.trainer] if study.trainer else []),
                *_data_words(overlays, options),
                *("--ckpt_path", str(folder / "checkpoints" / "best.ckpt")),
            ),
            kind=", ".join(["-".join(parts), *(f"{key} {value}" for key, value in block.options.items())]),
            size=size,
            seed=seed,
        )


def _width_option(width: int | None) -> dict[str, Any]:
    return {} if width is None else {"model.backbone.init_args.width": width}


def _rate_options(model: Choice) -> dict[str, Any]:
    rate = model.learning_rate
    options: dict[str, Any] = {} if rate.value is None else {"model.optimizer.init_args.lr": rate.value}
    if rate.reference_parameters is not None:
        options["model.lr_scaling.reference_parameters"] = rate.reference_parameters
        options["model.lr_scaling.exponent"] = rate.exponent
    return options


def _overlays(paths: list[str]) -> list[str]:
    for path in paths:
        if not Path(path).is_file():
            raise InputError(f"{path}: no such overlay; paths are relative to the current folder")
    return [word for path in paths for word in ("--config", path)]


def _data_words(overlays: list[str], options: Mapping[str, Any]) -> list[str]:
    """Options of the test that name the source of the materials: paths stated only by a checkpoint are not opened."""
    words = []
    for path in overlays:
        stated = read_yaml(Path(path))
        data = stated.get("data") if isinstance(stated, Mapping) else None
        if isinstance(data, Mapping):
            words += _words({f"data.{key}": value for key, value in data.items() if key in _SOURCE_SETTINGS})
    return words + _words({key: value for key, value in options.items() if key.startswith(_SOURCE_OPTIONS)})


def _words(options: Mapping[str, Any]) -> list[str]:
    """Options as words of a command line; values that are not text as JSON."""
    words = []
    for key, value in options.items():
        words += [f"--{key}", value if isinstance(value, str) else json.dumps(value, default=str)]
    return words


def training_materials(store: Path) -> int:
    """Number of training materials of a store.

    Raises:
        InputError: The folder is not a store with a split.
    """
    path = store.expanduser() / "split_train.npy"
    try:
        return int(np.load(path, mmap_mode="r", allow_pickle=False).size)
    except (OSError, ValueError) as error:
        raise InputError(f"{store}: not a store with a split ({error}); `dielectric-gnn prepare` writes one") from error


def check_sizes(study: Study, runs: Sequence[PlannedRun]) -> None:
    """Check that the store, if it exists, has enough training materials for the largest run.

    Raises:
        InputError: It has too few.
    """
    if study.data is None or not Path(study.data.store).expanduser().exists():
        return
    available = training_materials(Path(study.data.store))
    if large := sorted({run.size for run in runs if run.size is not None and run.size > available}):
        raise InputError(
            f"study {study.name}: {study.data.store} has {available:,} training materials, but the grid has sizes "
            f"{', '.join(f'{size:,}' for size in large)}; leave them out, or build a larger store"
        )
