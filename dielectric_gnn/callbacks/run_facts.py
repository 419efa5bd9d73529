"""What a run record says of a training before it begins: model, data, settings, versions."""

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
from dielectric_gnn.data.store_facts import names_array
from dielectric_gnn.module import trainable_parameters
from dielectric_gnn.run_record import RunRecord

# Settings of the data that change nothing in what is reported of a model.
_WITHOUT_EFFECT = ("crystals", "eval_batch_size", "on_error")


def describe_run(trainer: Trainer, module: LightningModule, study: str) -> RunRecord:
    """The record of a training that is about to begin."""
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    config: dict[str, Any] | None = getattr(module, "config", None)
    backbone: Any = module.backbone
    options = ((config or {}).get("model", {}).get("backbone") or {}).get("init_args") or {}
    layers = _class_name(options.get("message_passing"))
    train = data.indices["train"]
    seed = os.environ.get("PL_GLOBAL_SEED")
    return RunRecord(
        name=Path(trainer.default_root_dir).resolve().name,
        study=study,
        status="running",
        backbone=type(backbone).__name__ + (f"-{layers}" if layers else ""),
        head=type(module.head).__name__,
        width=options.get("width", backbone.scalar_dim),
        num_parameters=trainable_parameters(module),
        num_train=int(train.size),
        subset=subset_id(names_array(data.store.material_ids)[train]),
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
        settings={
            "max_epochs": trainer.max_epochs,
            "batch_size": data.batch_size,
            "num_validation": int(data.indices["val"].size),
            "num_test": int(data.indices["test"].size),
            "source": data.source_name,
        },
    )


def subset_id(material_ids: NDArray[np.str_]) -> str:
    """Identifier of a set of materials, whatever their order: their number and a hash."""
    text = "\n".join(np.sort(material_ids).tolist())
    return f"{material_ids.size}-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}"


def config_hash(config: Mapping[str, Any] | None) -> str:
    """Hash of model and data settings; empty for a model that was built in Python."""
    if config is None:
        return ""
    data = {key: value for key, value in config["data"].items() if key not in _WITHOUT_EFFECT}
    text = json.dumps({"model": config["model"], "data": data}, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def device_facts(trainer: Trainer) -> dict[str, Any]:
    """Where a training runs."""
    on_gpu = trainer.strategy.root_device.type == "cuda"
    return {
        "accelerator": "gpu" if on_gpu else "cpu",
        "device": torch.cuda.get_device_name() if on_gpu else platform.machine(),
        "devices": trainer.num_devices,
        "world_size": trainer.world_size,
        "precision": str(trainer.precision),
        "threads": torch.get_num_threads(),
    }


def _class_name(given: Any) -> str:
    path = given.get("class_path") if isinstance(given, Mapping) else given
    return str(path).rsplit(".", 1)[-1] if path else ""
