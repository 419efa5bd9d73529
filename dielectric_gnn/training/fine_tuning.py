"""Fine-tuning: a new training begins with the weights of another, whose head, grid and data may differ.

Weights of the backbone are loaded one by one, so that a backbone with one layer more keeps the others. Every other part
(pooling, head, …) is loaded completely or starts anew: half a head has no meaning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.training.checkpoint import SECTION, architecture, read_checkpoint
from dielectric_gnn.training.evaluation import ResponseModule
from dielectric_gnn.utils.errors import InputError

_BACKBONE = "backbone"
_OF_GRID = ("head", "prior")
"""Parts whose outputs belong to the energies of the grid."""


@dataclass(frozen=True)
class LoadedWeights:
    """The weights that fine-tuning loaded.

    Args:
        path: Of the checkpoint.
        loaded: Names of the weights that were loaded.
        totals: Number of weights of every part of the model.
        fresh: Parts that start anew, with the reason; for the backbone, as far as its weights do not fit.
        skipped: Parts of the checkpoint that the model does not have.
    """

    path: str
    loaded: list[str]
    totals: dict[str, int]
    fresh: dict[str, str]
    skipped: list[str]

    def __str__(self) -> str:
        counts = Counter(map(_part, self.loaded))
        loaded = ", ".join(f"{part} ({num} of {self.totals[part]} weights)" for part, num in counts.items())
        fresh = ", ".join(f"{part} ({reason})" for part, reason in self.fresh.items())
        return (
            f"fine-tuning from {self.path}: loaded {loaded}"
            + (f"; starting anew: {fresh}" if fresh else "")
            + (f"; not in the model: {', '.join(self.skipped)}" if self.skipped else "")
        )


def load_weights(model: ResponseModule, path: str) -> LoadedWeights:
    """Load the backbone of a checkpoint, and what else of it fits a model.

    Args:
        model: The model that is to be fine-tuned.
        path: Of the checkpoint.

    Raises:
        InputError: The checkpoint is unusable, or no weight of its backbone fits.
    """
    checkpoint = read_checkpoint(path)
    saved, own = _by_part(checkpoint["state_dict"]), _by_part(model.state_dict())
    config = checkpoint[SECTION]["config"]
    fresh: dict[str, str] = {}
    fitting: dict[str, Tensor] = {}
    for part, weights in own.items():
        found = saved.get(part, {})
        problem = _difference(found, weights) if found else "not in the checkpoint"
        if part in _OF_GRID and not problem:
            problem = _difference_of_outputs(config, model, saved.keys(), own.keys())
        if problem:
            fresh[part] = problem
        if part == _BACKBONE or not problem:
            fitting |= {key: value for key, value in found.items() if _fits(value, weights.get(key))}
    if not any(_part(key) == _BACKBONE for key in fitting):
        raise InputError(
            f"{path}: no weight of its backbone fits the model: the checkpoint is of {architecture(config)}, the model "
            f"is {architecture(getattr(model, 'config', None))}; configure the backbone of the checkpoint"
        )
    model.load_state_dict(fitting, strict=False)
    totals = {part: len(weights) for part, weights in own.items()}
    return LoadedWeights(path, list(fitting), totals, fresh, [part for part in saved if part not in own])


def _part(key: str) -> str:
    """Part of a model that a weight belongs to."""
    return key.partition(".")[0]


def _by_part(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in weights.items():
        parts.setdefault(_part(key), {})[key] = value
    return parts


def _fits(saved: Tensor, own: Tensor | None) -> bool:
    return own is not None and saved.shape == own.shape


def _difference(saved: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    """The first weight that differs in name or shape, in words; empty if none does."""
    for key in (*own, *saved):
        shapes = [tuple(weights[key].shape) if key in weights else "absent" for weights in (saved, own)]
        if shapes[0] != shapes[1]:
            return f"{key} is {shapes[0]} in the checkpoint and {shapes[1]} in the model"
    return ""


def _difference_of_outputs(
    config: Mapping[str, Any] | None, model: ResponseModule, saved: Collection[str], own: Collection[str]
) -> str:
    """Why outputs of equal shape differ in meaning: prior, transform of the spectra or grid; empty if they do not."""
    if ("prior" in saved) != ("prior" in own):
        return "model.prior is set in one of checkpoint and model only"
    if config is None:
        return ""
    if bool(config["model"].get("causal")) != model.causal:
        return "model.causal is true in one of checkpoint and model only"
    stored = EnergyGrid(**(config["model"].get("grid") or {}))
    return "" if stored == model.grid else f"the checkpoint has {stored}, the model {model.grid}"
