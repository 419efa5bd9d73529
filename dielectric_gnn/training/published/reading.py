"""Read a checkpoint of the published study without its package and without executing anything that the file names."""

from __future__ import annotations

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from dielectric_gnn.utils.errors import InputError

_CONFIGURATION_CLASS = re.compile(r"optimetal(\.\w+)*\.ValidateConfigurationDict")
_KEYS = ("epoch", "model_state_dict", "config_dict", "precision")
_HINT = "expected what the study's trainer saves: optimetal2b_seed1.pt, optimetal3b_seed1.pt or a best_model.pt"


class _Configuration:
    """Placeholder of the study's pydantic class, which is not imported; keeps the stored values."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        values = state.get("__dict__") if isinstance(state, dict) else None
        if not isinstance(values, dict):
            raise pickle.UnpicklingError("the stored configuration is not that of a pydantic class")
        self.values = values


@dataclass(frozen=True)
class PublishedCheckpoint:
    """Content of a checkpoint of the study.

    Args:
        epoch: Epochs before the best one.
        weights: State dictionary, under the names of the study's modules.
        configuration: Options of the study; `architecture` contains those of the model.
        precision: Precision of the training, `bf16` or `fp32`.
    """

    epoch: int
    weights: dict[str, Tensor]
    configuration: dict[str, Any]
    precision: str


def read_published(path: Path) -> PublishedCheckpoint:
    """Read a file that the study's trainer saved.

    PyTorch's restricted unpickler reads only tensors, plain values and one class of the study, for which an inert
    placeholder is substituted.

    Raises:
        InputError: The file does not exist, refers to any other class, or is not such a checkpoint.
    """
    path = path.expanduser()
    if not path.is_file():
        raise InputError(f"{path}: no such file; {_HINT}")
    try:
        named = get_unsafe_globals_in_checkpoint(path)
        foreign = [name for name in named if not _CONFIGURATION_CLASS.fullmatch(name)]
        if foreign:
            raise InputError(f"{path}: refers to {foreign[0]}, which is neither data nor the study's options; not read")
        with safe_globals([(_Configuration, name) for name in named]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path}: not a readable checkpoint, truncated or unsafe? ({reason})") from error
    return _validated_checkpoint(content, path)


def _validated_checkpoint(content: Any, path: Path) -> PublishedCheckpoint:
    """The parts of the file; raises InputError if one is missing or of a wrong type."""
    missing = [key for key in _KEYS if not isinstance(content, dict) or key not in content]
    if missing:
        raise InputError(f"{path}: has no {missing[0]!r}; {_HINT}")
    configuration, weights = content["config_dict"], content["model_state_dict"]
    configuration = configuration.values if isinstance(configuration, _Configuration) else configuration
    if not isinstance(configuration, dict) or not isinstance(configuration.get("architecture"), dict):
        raise InputError(f"{path}: config_dict has no architecture; {_HINT}")
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f"{path}: model_state_dict is not a dictionary of tensors; {_HINT}")
    precision = "bf16" if content["precision"] is torch.bfloat16 else "fp32"
    return PublishedCheckpoint(int(content["epoch"]), dict(weights), configuration, precision)
