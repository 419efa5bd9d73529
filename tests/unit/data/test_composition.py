"""Composition descriptors against explicit sums, and their invariances."""

import numpy as np
import pytest
import torch
from pymatgen.core import Element

from dielectric_gnn.data.composition import (
    composition_statistics,
    descriptor_names,
    graph_descriptors,
    stored_descriptors,
)
from dielectric_gnn.data.elements import HEAVIEST, element_properties, property_names
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.testing import supercell
from tests.crystals import prototype

CUTOFF = 4.0


def described(records: list[CrystalRecord], symmetry: str = "full") -> torch.Tensor:
    store = CrystalStore.from_records(records, CUTOFF, symmetry=symmetry)  # type: ignore[arg-type]
    graph = store.gather(range(len(records)))
    assert (graph.orbits is not None) == (symmetry == "orbit")
    return graph_descriptors(graph)


def test_the_table_describes_every_element() -> None:
    table = element_properties()
    assert table.shape == (HEAVIEST + 1, len(property_names()))
    assert table[0].isnan().all() and table[1:].isfinite().all()
    for number in (3, 29, 57, 83):
        element = Element.from_Z(number)
        values = dict(zip(property_names(), table[number].tolist(), strict=True))
        expected = {"atomic_number": number, "row": element.row, "group": element.group, "electronegativity": element.X}
        assert {name: values[name] for name in expected} == pytest.approx(expected)
        assert values["melting_point"] == pytest.approx(float(element.melting_point), rel=1e-5)


def test_electrons_by_shell() -> None:
    table, names = element_properties(), property_names()
    columns = [names.index(name) for name in ("outer_electrons", "s_electrons", "p_electrons", "d_electrons")]
    found = {symbol: table[Element(symbol).Z, columns].tolist() for symbol in ("Na", "Al", "Fe", "Cu", "Pd", "Pb")}
    assert found == {
        "Na": [1, 1, 0, 0],
        "Al": [3, 2, 1, 0],
        "Fe": [8, 2, 0, 6],
        "Cu": [1, 1, 0, 10],
        "Pd": [10, 0, 0, 10],
        "Pb": [4, 2, 2, 10],
    }


def test_statistics_are_those_of_explicit_sums() -> None:
    numbers, volume = np.array([12, 29, 29]), 45.0
    properties = element_properties().numpy()[numbers]
    mean = properties.mean(axis=0)
    electrons, molar = (properties[:, property_names().index(name)] for name in ("outer_electrons", "molar_volume"))
    expected = [
        *mean,
        *np.abs(properties - mean).mean(axis=0),
        *properties.min(axis=0),
        *properties.max(axis=0),
        volume / 3,
        electrons.sum() / volume,
        volume / (molar.sum() * 1e24 / 6.02214076e23),
    ]
    found = composition_statistics(torch.from_numpy(numbers), torch.zeros(3, dtype=torch.int64), torch.tensor([volume]))
    assert found.shape == (1, len(descriptor_names()))
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-6)


def test_solid_copper_fills_its_atomic_volume() -> None:
    packing = described([prototype("fcc")])[0, descriptor_names().index("packing")]
    assert packing == pytest.approx(1.0, abs=0.02)


def test_the_choice_of_cell_and_the_order_of_atoms_do_not_matter() -> None:
    record = prototype("CaCu5")
    order = np.array([3, 0, 5, 1, 4, 2])
    permuted = CrystalRecord("permuted", record.lattice, record.atomic_numbers[order], record.positions[order])
    found = described([record, supercell(record, (2, 1, 2)), permuted])
    torch.testing.assert_close(found[1:], found[:1].expand(2, -1), rtol=1e-6, atol=1e-6)


def test_orbit_graphs_have_the_descriptors_of_full_graphs() -> None:
    records = [prototype(name) for name in ("C15", "CaCu5", "half-Heusler")]
    torch.testing.assert_close(described(records, "orbit"), described(records), rtol=1e-6, atol=1e-6)


def test_a_store_has_the_descriptors_of_its_graphs() -> None:
    store = CrystalStore.from_records([prototype(name) for name in ("C15", "hcp", "B2")], CUTOFF)
    rows = np.array([2, 0])
    torch.testing.assert_close(stored_descriptors(store, rows), graph_descriptors(store.gather(rows)))
