"""Every shipped backbone with every head that fits it, and batches of synthetic crystals on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import torch

from dielectric_gnn.cli.benchmark.options import TWO_HEADS
from dielectric_gnn.cli.benchmark.predict import Model
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph
from dielectric_gnn.data.graphs.orbits import Symmetry
from dielectric_gnn.data.sources import SyntheticMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.means import training_statistics
from dielectric_gnn.models.backbones import ESCN, Backbone, ClebschGordan, Goten, OptiMate, OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.heads import (
    FreeFormHead,
    FreeFormTensorHead,
    LowRankHead,
    OscillatorHead,
    OscillatorTensorHead,
)
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.objective import TensorObjective

BACKBONES: dict[Model, Callable[..., Backbone]] = {
    "optimate": lambda width: OptiMate(),
    "optimetal2b_cgc": OptiMetal2B,
    "optimetal2b_tc": lambda width: OptiMetal2B(width, message_passing=TWO_HEADS),
    "optimetal3b_tc": OptiMetal3B,
    "goten": Goten,
    "escn": ESCN,
    "cg": ClebschGordan,
}
"""Backbones by their width, which OptiMate does not have; the last three accept `tensors=True` as well."""

_NOISE = 0.01
"""Standard deviation of what is added to weights: some heads begin with zeros, which hide all that precedes them."""

_AVERAGE_HEADS = (FreeFormHead, LowRankHead, OscillatorHead)
_TENSOR_HEADS = (FreeFormTensorHead, OscillatorTensorHead)
_EQUIVARIANT: tuple[Model, ...] = ("goten", "escn", "cg")


def combinations(models: tuple[Model, ...]) -> Iterator[tuple[Model, str, Callable[[int], DielectricModule]]]:
    """Name of the backbone, name of the head, and a function from width to model; tensors with equivariant ones only.

    Args:
        models: Names of backbones.
    """
    for name, head in product(models, _AVERAGE_HEADS):
        yield name, head.__name__, _builder(name, head)
    for name, tensor_head in product((name for name in models if name in _EQUIVARIANT), _TENSOR_HEADS):
        yield name, tensor_head.__name__, _builder(name, tensor_head, tensors=True)


def _builder(name: Model, head: Any, tensors: bool = False) -> Callable[[int], DielectricModule]:
    def build(width: int) -> DielectricModule:
        torch.manual_seed(0)
        if tensors:
            backbone, objective = BACKBONES[name](width, tensors=True), TensorObjective()
            model = DielectricModule(backbone, head=head, objective=objective)
        else:
            model = DielectricModule(BACKBONES[name](width), head=head)
        store = _training_set()
        rows = np.arange(len(store))
        model.prepare(store, rows, training_statistics(store, rows))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(_NOISE * torch.randn_like(parameter))
        return model

    return build


def crystals(number: int, rattle: float, symmetry: Symmetry = "full") -> CrystalStore:
    """A store in memory of synthetic crystals, displaced by `rattle` Å."""
    records = list(SyntheticMetals(number, rattle=rattle).records())
    return CrystalStore.from_records(records, DEFAULT_CUTOFF, symmetry=symmetry)


def batch(number: int, device: torch.device, rattle: float = 0.02, symmetry: Symmetry = "full") -> CrystalGraph:
    """One batch of synthetic crystals on a device; on ideal sites (`rattle=0`), they have orbits."""
    return crystals(number, rattle, symmetry).gather(range(number)).to(device)


@cache
def _training_set() -> CrystalStore:
    """Materials from which the heads take their means and scales, without which their outputs are NaN."""
    return crystals(32, 0.02)
