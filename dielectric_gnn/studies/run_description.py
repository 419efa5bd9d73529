"""Fields of a run record that are known before the training: model, data, settings, versions."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import __version__ as lightning_version
from lightning.pytorch import LightningModule, Trainer
from numpy.typing import NDArray

from dielectric_gnn import __version__
from dielectric_gnn.data.store.descriptions import names_array
from dielectric_gnn.training.objective import Objective
from dielectric_gnn.training.run_record import RunRecord

# Settings of the data that do not change any reported number.
_SETTINGS_WITHOUT_EFFECT = ("crystals", "eval_batch_size", "on_error")
# Settings of the data that earlier records do not have.
_LATER_SETTINGS = ("split_ids",)
# Options of optimisers that change the implementation, not the steps.
_IMPLEMENTATION_OPTIONS = ("fused", "foreach", "capturable", "differentiable")


def describe_run(trainer: Trainer, module: LightningModule, study: str) -> RunRecord:
    """The record of a training that is about to start."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    config: dict[str, Any] | None = getattr(module, "config", None)
    backbone: Any = module.backbone
    objective: Any = module.objective
    num_parameters: Any = module.num_parameters
    head: Any = module.head
    model = (config or {}).get("model", {})
    options = (model.get("backbone") or {}).get("init_args") or {}
    layers, width = _class_name(options.get("message_passing")), options.get("width")
    ids = {name: names_array(data.store.material_ids)[data.indices[name]] for name in ("train", "val", "test")}
    seed = os.environ.get("PL_GLOBAL_SEED")
    return RunRecord(
        name=Path(trainer.default_root_dir).resolve().name,
        study=study,
        status="running",
        backbone=type(backbone).__name__ + (f"-{layers}" if layers else ""),
        head="" if head is None else type(head).__name__,
        width=width if isinstance(width, int) else getattr(backbone, "scalar_dim", None),
        num_parameters=num_parameters,
        num_train=int(ids["train"].size),
        subset=subset_id(ids["train"]),
        seed=None if seed is None else int(seed),
        epochs=0,
        steps=0,
        samples_seen=0,
        versions={
            "dielectric_gnn": __version__,
            "torch": torch.__version__,
            "lightning": lightning_version,
            "python": platform.python_version(),
        },
        config_hash=config_hash(config),
        objective=_describe_objective(objective),
        family=family_hash(model),
        settings={
            "max_epochs": trainer.max_epochs,
            "batch_size": data.training_batch_size,
            "optimizer": "" if head is None else _optimizer(model),
            "subset_seed": data.subset_seed,
            "num_validation": int(ids["val"].size),
            "num_test": int(ids["test"].size),
            "validation": subset_id(ids["val"]),
            "test": subset_id(ids["test"]),
            "source": data.source_name,
        },
    )


def subset_id(material_ids: NDArray[np.str_]) -> str:
    """Identifier of a set of materials, independent of their order: their number and a hash."""
    text = "\n".join(np.sort(material_ids).tolist())
    return f"{material_ids.size}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"


def config_hash(config: Mapping[str, Any] | None) -> str:
    """Hash of model and data settings; empty for a model that was built in Python."""
    if config is None:
        return ""
    unset = {key for key in _LATER_SETTINGS if config["data"].get(key) is None}
    data = {key: value for key, value in config["data"].items() if key not in {*_SETTINGS_WITHOUT_EFFECT, *unset}}
    return _hash({"model": config["model"], "data": data})


def family_hash(model: Mapping[str, Any]) -> str:
    """Hash of the settings that all models of one scaling law share; empty for a model that was built in Python.

    Width, optimiser, schedule and learning rate are not part of it, because a study of sizes varies them, nor is the
    objective, which the record states separately.
    """
    if not model:
        return ""
    parts = {"backbone": _without(model.get("backbone"), "width"), "pooling": model.get("pooling")}
    names = ("norm", "composition", "pair_features", "causal", "prior", "fidelities")
    later = {key: model[key] for key in names if model.get(key) is not None}
    return _hash({**parts, "head": model.get("head"), **later})


def describe_device(trainer: Trainer) -> dict[str, Any]:
    """Device, processes, precision and threads of a training."""
    on_gpu = trainer.strategy.root_device.type == "cuda"
    return {
        "accelerator": "gpu" if on_gpu else "cpu",
        "device": torch.cuda.get_device_name() if on_gpu else platform.machine(),
        "devices": trainer.num_devices,
        "world_size": trainer.world_size,
        "precision": str(trainer.precision),
        "threads": torch.get_num_threads(),
    }


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def _without(component: Any, *names: str) -> Any:
    """The configuration of a component without some of its options."""
    options = component.get("init_args") if isinstance(component, Mapping) else None
    if not options:
        return component
    return {**component, "init_args": {key: value for key, value in options.items() if key not in names}}


def _class_and_options(component: Any) -> str:
    """Class and options of a component, such as `AdamW(eps=1e-08, weight_decay=8e-06)`."""
    options = component.get("init_args") if isinstance(component, Mapping) else None
    return _format_call(_class_name(component), options or {})


def _optimizer(model: Mapping[str, Any]) -> str:
    return _class_and_options(_without(model.get("optimizer"), "lr", *_IMPLEMENTATION_OPTIONS))


def _describe_objective(objective: Objective) -> str:
    """Class and attributes of an objective, whether it was configured or built in Python."""
    plain = {key: sorted(value) if isinstance(value, frozenset) else value for key, value in vars(objective).items()}
    return _format_call(
        type(objective).__name__,
        {key: value for key, value in plain.items() if isinstance(value, str | int | float | list | tuple)},
    )


def _format_call(name: str, options: Mapping[str, Any]) -> str:
    inside = ", ".join(f"{key}={options[key]}" for key in sorted(options))
    return f"{name}({inside})" if inside else name


def _class_name(given: Any) -> str:
    path = given.get("class_path") if isinstance(given, Mapping) else given
    return str(path).rsplit(".", 1)[-1] if path else ""
