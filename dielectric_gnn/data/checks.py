"""Checks that the data options are consistent with the store and the model."""

from __future__ import annotations

from pathlib import Path

from dielectric_gnn.data.graphs.orbits import Symmetry
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError


def check_training_size(num_train: int, processes: int) -> None:
    """Raise InputError unless every process has two training materials, which batch norm needs."""
    if num_train < 2 * processes:
        shared = "" if processes == 1 else f" for each of the {processes} processes"
        raise InputError(
            f"training needs at least 2 materials{shared}, because of batch norm, but there are {num_train}; use more"
            + (" materials or fewer processes" if processes > 1 else "")
        )


def check_model(symmetry: Symmetry, model: object) -> None:
    """Raise InputError if a model (or None) does not support orbit graphs, but `symmetry` is orbit."""
    if symmetry == "orbit" and model is not None and not getattr(model, "supports_orbits", False):
        raise InputError(
            "data.symmetry is orbit, but this model does not support orbit graphs: its backbone is equivariant, "
            "has a three-body cutoff beyond 4 Å, or its backbone, message passing or pooling does not declare "
            "supports_orbits; set data.symmetry to full"
        )


def check_fidelities(num: int, model: object) -> None:
    """Raise InputError unless a model (or None) can be trained on labels of `num` fidelities."""
    supported = getattr(model, "num_fidelities", 1)
    if model is not None and num > supported:
        raise InputError(
            f"data.source joins {num} fidelities, but {type(model).__name__} is built for {supported}; set "
            f"model.fidelities to {num} (networks), or fidelity_correlation (kernels), or train on one source"
        )


def check_store(
    store: CrystalStore,
    folder: Path,
    cutoff: float,
    tensors: bool,
    symmetry: Symmetry,
    grid: EnergyGrid | None = None,
) -> None:
    """Raise InputError if a store was built with other options than those given."""
    if store.cutoff != cutoff:
        raise InputError(
            f"{folder}: the store was built with a cutoff of {store.cutoff} Å, but data.cutoff is {cutoff} Å; set "
            "data.cutoff, or build the store anew"
        )
    if grid is not None and store.grid != grid:
        raise InputError(
            f"{folder}: the store has {store.grid}, but data.grid is {grid}; set data.grid to null, or build the store "
            "anew with --grid"
        )
    if tensors and store.anisotropy is None:
        raise InputError(f"{folder}: the store has no full tensors; build it anew with --tensors")
    if symmetry == "orbit" and store.orbits is None:
        raise InputError(
            f"{folder}: the store has no orbits; set data.symmetry to full, or build it anew with --symmetry orbit"
        )
