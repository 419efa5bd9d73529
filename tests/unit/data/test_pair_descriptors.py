"""Pair descriptors against sums over the neighbours that pymatgen finds, and their independence of the cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pymatgen.core import Element, Lattice, Structure

from dielectric_gnn.data.elements import element_properties, property_names
from dielectric_gnn.data.pair_descriptors import (
    PAIR_PROPERTIES,
    num_pair_descriptors,
    pair_descriptors,
    stored_pair_descriptors,
)
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.testing import supercell
from tests.crystals import prototype

CUTOFF = 5.0


def described(records: list[CrystalRecord], symmetry: str = "full") -> torch.Tensor:
    graph = CrystalStore.from_records(records, CUTOFF, symmetry=symmetry).gather(np.arange(len(records)))  # type: ignore[arg-type]
    return pair_descriptors(graph, CUTOFF)


def summed(structure: Structure) -> NDArray[np.float64]:
    """Sums over pymatgen's neighbours, in the order of the descriptors."""
    columns = [property_names().index(name) for name in PAIR_PROPERTIES]
    table = element_properties()[1:84, columns].numpy()
    scaled = (table - table.mean(axis=0)) / table.std(axis=0, ddof=1)
    length, centres = (structure.volume / len(structure)) ** (1 / 3), np.linspace(0.8, 2.2, 16)
    plain, compared = np.zeros(16), np.zeros((len(columns), 2, 16))
    for site in structure:
        for neighbour in structure.get_neighbors(site, CUTOFF):
            x = neighbour.nn_distance / length
            shells = np.exp(-((x - centres) ** 2) / (2 * 0.09**2)) / x**2
            shells *= 0.5 * (1 + np.cos(np.pi * neighbour.nn_distance / CUTOFF))
            first, second = (scaled[Element(one.specie.symbol).Z - 1] for one in (site, neighbour))
            plain += shells
            compared[:, 0] += (first - second)[:, None] ** 2 * shells
            compared[:, 1] += (first * second)[:, None] * shells
    return np.concatenate([plain, compared.ravel()]) / len(structure)


@pytest.mark.parametrize(
    "structure",
    [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]]),
        Structure.from_spacegroup("Pm-3m", Lattice.cubic(2.95), ["Cu", "Zn"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        Structure(Lattice.from_parameters(3.1, 3.6, 4.9, 80, 95, 110), ["Al", "Ni", "Ti"],
                  [[0, 0, 0], [0.4, 0.55, 0.3], [0.7, 0.2, 0.75]]),
    ],
    ids=["fcc", "B2", "triclinic"],
)  # fmt: skip
def test_sums_over_the_neighbours_of_pymatgen(structure: Structure) -> None:
    record = CrystalRecord("one", structure.lattice.matrix, np.array(structure.atomic_numbers), structure.cart_coords)
    found = described([record])
    assert found.shape == (1, num_pair_descriptors())
    np.testing.assert_allclose(found[0].numpy(), summed(structure), rtol=1e-5, atol=1e-5)


def test_cells_orbits_and_stores_do_not_matter() -> None:
    records = [prototype(name) for name in ("C15", "CaCu5", "half-Heusler")]
    full = described(records)
    torch.testing.assert_close(described(records, "orbit"), full, rtol=1e-5, atol=1e-5)
    larger = described([supercell(record, (2, 1, 1)) for record in records])
    torch.testing.assert_close(larger, full, rtol=1e-5, atol=1e-5)
    store = CrystalStore.from_records(records, CUTOFF)
    torch.testing.assert_close(stored_pair_descriptors(store, np.array([2, 0]), CUTOFF), full[[2, 0]])
