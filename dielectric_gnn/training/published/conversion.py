"""Converting a checkpoint of the published study to one of this toolkit, for `test`, `predict` and fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from lightning.pytorch import Trainer
from torch import Tensor

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.data.store.means import training_statistics
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.training.checkpoint import AtomicCheckpointIO
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.published.architecture import model_configuration
from dielectric_gnn.training.published.names import rename_weights
from dielectric_gnn.training.published.reading import PublishedCheckpoint, read_published
from dielectric_gnn.training.run_folder import CHECKPOINTS
from dielectric_gnn.utils.errors import InputError

BROADENING_EV = 0.1
"""Lorentzian broadening of the published spectra."""


def convert(file: Path, run_dir: Path, store: Path | None = None, overwrite: bool = False) -> Path:
    """Write `checkpoints/best.ckpt` of a run from a file that the study's trainer saved.

    Args:
        file: Checkpoint of the study, such as optimetal2b_seed1.pt of its repository.
        run_dir: Folder of the new run.
        store: A store of the published data, whose training materials give the training statistics (mean response,
            elements); without it they are unknown.
        overwrite: Replace an existing checkpoint.

    Returns:
        Path of the checkpoint.

    Raises:
        InputError: The file is unusable (`read_published`), has an unknown option, or its weights are inconsistent with
            its options; or the checkpoint exists.
    """
    target = run_dir.expanduser() / CHECKPOINTS / "best.ckpt"
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists; choose another --out, or give --overwrite to replace it")
    published = read_published(file)
    try:
        model = build(published.configuration)
        _load(model, rename_weights(published.weights, _has_trainable_basis(published.configuration)))
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    model.training_statistics = _statistics(published, store)
    _save(model, target)
    return target


def build(configuration: Mapping[str, Any], backbone: Mapping[str, Any] | None = None) -> DielectricModule:
    """A model of the study with random weights, and the configuration for its checkpoint.

    Args:
        configuration: The study's options; `architecture` contains those of the model.
        backbone: Arguments of the backbone that differ from the study's.

    Raises:
        InputError: A type or an option is unknown.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(DielectricModule, "model")
    parser.add_class_arguments(CrystalDataModule, "data")
    model_section = _with_objective(configuration)
    arguments = model_section["backbone"]["init_args"]
    arguments.update(backbone or {})
    data = {"cutoff": arguments["cutoff"], "batch_size": configuration.get("batch_size", 256)}
    config = parser.parse_object({"model": model_section, "data": data})
    model: DielectricModule = parser.instantiate(config).model
    plain = json.loads(parser.dump(config, format="json", skip_none=False))
    model.config = {**plain, "trainer": {}, "seed_everything": configuration.get("seed"), "fine_tune_from": None}
    return model


def _with_objective(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The model section, with the weights of the two terms of the loss."""
    model = model_configuration(configuration["architecture"])
    if "objective" not in model:
        weights = {f"{term}_weight": float(configuration.get(f"{term}_weight", 1.0)) for term in ("eps", "drude")}
        model["objective"] = {"class_path": "dielectric_gnn.training.objective.MaeObjective", "init_args": weights}
    return model


def _has_trainable_basis(configuration: Mapping[str, Any]) -> bool:
    basis = configuration["architecture"].get("edge_embedding_dict") or {}
    return bool(basis.get("trainable", False))


def _load(model: DielectricModule, weights: Mapping[str, Tensor]) -> None:
    own = model.state_dict()
    extra = {name for name in own if name.startswith(("train_loss.", "eval_"))}  # of metrics, empty
    wanted = {name: tuple(value.shape) for name, value in own.items() if name not in extra}
    given = {name: tuple(value.shape) for name, value in weights.items()}
    if wanted != given:
        name = next(name for name in sorted({*wanted, *given}) if wanted.get(name) != given.get(name))
        raise InputError(
            f"the weights are inconsistent with the options: {name} is {given.get(name, 'absent')} in the file and "
            f"{wanted.get(name, 'absent')} in the model"
        )
    model.load_state_dict(dict(weights), strict=False)


def _statistics(published: PublishedCheckpoint, store: Path | None) -> TrainingStatistics:
    """Training statistics from a store, or unknown ones."""
    if store is not None:
        materials, split = open_store(store)
        if materials.broadening is not None and materials.broadening != BROADENING_EV:
            raise InputError(
                f"{store}: spectra of broadening {materials.broadening} eV, but the published models were trained on "
                f"{BROADENING_EV} eV; give a store of the published data"
            )
        return training_statistics(materials, split["train"])
    return TrainingStatistics(
        num_materials=int(published.configuration.get("num_train_data", 0)),
        elements=None,
        broadening=BROADENING_EV,
        mean_eps_inter=None,
        mean_drude=None,
    )


def _save(model: DielectricModule, target: Path) -> None:
    """Write the checkpoint as a training does, without the state of an optimiser."""
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        plugins=[AtomicCheckpointIO()],
    )
    trainer.strategy.connect(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    trainer.save_checkpoint(target, weights_only=True)
