"""Composition descriptors: statistics of element properties over a material, and how densely it is packed."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dielectric_gnn.data.elements import ANGSTROM3_PER_ATOM, element_properties, property_names
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.flat import ragged_rows
from dielectric_gnn.utils.errors import InputError

STATISTICS = ("mean", "spread", "minimum", "maximum")
"""Of every property over the atoms of a material; the spread is the mean absolute deviation from the mean."""

DENSITIES = ("volume_per_atom", "outer_electron_density", "packing")
"""Volume per atom in Å³; electrons outside closed d shells per Å³; and the volume of the cell, divided by the sum of
the atomic volumes of the solid elements."""


def descriptor_names() -> tuple[str, ...]:
    """Names of the D descriptors, in their order: every statistic of every property, and the densities."""
    return (*(f"{statistic}_{name}" for statistic in STATISTICS for name in property_names()), *DENSITIES)


def composition_statistics(
    atomic_numbers: Tensor, batch: Tensor, volumes: Tensor, counts: Tensor | None = None
) -> Tensor:
    """Descriptors of the composition and density of every material; independent of structure and choice of cell.

    Computed in double precision, so that supercells give the same values but for rounding.

    Shapes:
        atomic_numbers (N,) and batch (N,) int64, the material of each atom; volumes (B,), of the cells; counts (N,),
        how many equal atoms each stands for, None means one → (B, D) float32, D = `len(descriptor_names())`.

    Units:
        volumes Å³.
    """
    num = volumes.shape[0]
    properties = _properties(atomic_numbers.device).index_select(0, atomic_numbers)
    weights = torch.ones_like(properties[:, :1]) if counts is None else counts.double()[:, None]
    totals = sums_over(weights, batch, num)
    mean = sums_over(weights * properties, batch, num) / totals
    spread = sums_over(weights * (properties - mean.index_select(0, batch)).abs(), batch, num) / totals
    rows = batch[:, None].expand_as(properties)
    extremes = [
        torch.empty_like(mean).scatter_reduce(0, rows, properties, reduce=reduce, include_self=False)
        for reduce in ("amin", "amax")
    ]
    per_atom = volumes.double()[:, None] / totals
    names = property_names()
    electrons, molar_volume = (mean[:, [names.index(name)]] for name in ("outer_electrons", "molar_volume"))
    densities = [per_atom, electrons / per_atom, per_atom / (ANGSTROM3_PER_ATOM * molar_volume)]
    return torch.cat([mean, spread, *extremes, *densities], dim=1).float()


def graph_descriptors(graph: CrystalGraph) -> Tensor:
    """`composition_statistics` of a batch (B, D), of full graphs and of orbit graphs.

    Raises:
        InputError: The graphs were built without the volumes of the cells.
    """
    counts = None if graph.orbits is None else graph.orbits.atom_counts
    return composition_statistics(graph.atomic_numbers, graph.batch, volumes_of(graph), counts)


def stored_descriptors(store: CrystalStore, rows: NDArray[np.int64]) -> Tensor:
    """`composition_statistics` of materials of a store (B, D), without reading their edges.

    Args:
        store: The store.
        rows: Positions of the materials, (B,).
    """
    store.check(rows)
    atoms, counts = ragged_rows(store.atom_offsets, rows)
    numbers = torch.from_numpy(store.atomic_numbers[atoms].astype(np.int64))
    batch = torch.from_numpy(np.repeat(np.arange(rows.size), counts))
    return composition_statistics(numbers, batch, torch.from_numpy(store.volumes[rows]))


def standardisation(descriptors: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of descriptors (D, F), and the inverse of their standard deviation, in double precision, (F,) each.

    The second is 0 for descriptors that do not vary, which become 0 by (x − mean) · scale.
    """
    values = descriptors.double()
    std = values.std(dim=0, correction=0)
    varies = std > 1e-6 * values.abs().amax(dim=0)
    return values.mean(dim=0), torch.where(varies, 1 / std, 0)


@cache
def _properties(device: torch.device) -> Tensor:
    return element_properties().to(device)


def volumes_of(graph: CrystalGraph) -> Tensor:
    """Volumes of the cells of a batch (B,) in Å³.

    Raises:
        InputError: The graphs were built without them.
    """
    if graph.volumes is None:
        raise InputError("these graphs have no volumes, which descriptors need; build them by a CrystalStore")
    return graph.volumes


def sums_over(values: Tensor, batch: Tensor, num: int) -> Tensor:
    """Sums of rows (N, F) over the materials that they belong to (N,): (num, F)."""
    return values.new_zeros(num, values.shape[1]).index_add(0, batch, values)
