"""Graphs against an independent neighbour search, and batches against one-by-one collation."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from dielectric_gnn.data.graphs import graph as graphs
from dielectric_gnn.data.graphs.graph import many_neighbour_edges, neighbour_edges
from dielectric_gnn.data.graphs.neighbours import MAX_ATOMS_DENSE_SEARCH
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.splits import composition_split, nested_subset
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.testing import crystal, labelled, sample_crystals
from dielectric_gnn.utils.errors import InputError, RecordError

TINY = crystal("tiny", [[2.0, 0, 0], [0.3, 2.1, 0], [0, 0.2, 2.2]], [29], [[0, 0, 0]])


@pytest.mark.parametrize("record", [*sample_crystals(), TINY], ids=lambda record: record.material_id)
def test_edges_equal_a_brute_force_enumeration(record: CrystalRecord) -> None:
    """All images within ±6 cells, looped over in plain Python."""
    index, vectors = neighbour_edges(record, 5.5)
    found = sorted(zip(*index.tolist(), *np.round(vectors.T, 6).tolist(), strict=True))
    reach = range(-6, 7)
    shifts = np.array([(a, b, c) for a in reach for b in reach for c in reach]) @ record.lattice
    expected = []
    for i, start in enumerate(record.positions):
        for j, stop in enumerate(record.positions):
            candidates = stop + shifts - start
            lengths = np.linalg.norm(candidates, axis=1)
            for vector in candidates[(lengths < 5.5) & (lengths > 1e-9)]:
                expected.append((i, j, *np.round(vector, 6)))
    assert len(found) == len(expected)
    np.testing.assert_allclose(np.array(found), np.array(sorted(expected)), atol=2e-6)


def any_crystals(rng: np.random.Generator, number: int) -> list[CrystalRecord]:
    """Cells of any shape, some flat or skew, with atoms outside of them; at the end one that is searched alone."""
    made = []
    while len(made) < number:
        lattice = rng.normal(size=(3, 3)) * rng.uniform(1, 6) + np.diag(rng.uniform(1, 6, size=3))
        atoms = rng.integers(1, MAX_ATOMS_DENSE_SEARCH + 3)
        if abs(np.linalg.det(lattice)) < 8 * atoms:
            continue
        places = (rng.uniform(-2, 3, size=(atoms, 3)) @ lattice).tolist()
        try:
            made.append(crystal(f"any-{len(made)}", lattice.tolist(), [29] * int(atoms), places))
        except RecordError:  # overlapping atoms
            continue
    return [*made, crystal("long", [[2.5, 0, 0], [0, 2.5, 0], [0, 0, 300.0]], [29, 29], [[0, 0, 0], [0, 0, 0.5]])]


def in_order(index: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    rows = np.column_stack([index.T, np.round(vectors, 6) + 0.0])
    return rows[np.lexsort(rows.T)]


def test_searched_together_crystals_have_the_edges_that_each_has(rng: np.random.Generator) -> None:
    records = [*sample_crystals(), TINY, *any_crystals(rng, 60)]
    together = many_neighbour_edges(records, 5.5)
    for record, (index, vectors) in zip(records, together, strict=True):
        expected = neighbour_edges(record, 5.5)
        assert index.dtype == np.int32 and (np.diff(index[0]) >= 0).all()
        np.testing.assert_allclose(in_order(index, vectors), in_order(*expected), atol=2e-6)
    # Bitwise, for any other crystals in the search: stores must not depend on the number of workers.
    for record, (index, vectors) in zip(records, together, strict=True):
        ((alone, alone_vectors),) = many_neighbour_edges([record], 5.5)
        np.testing.assert_array_equal(alone, index)
        np.testing.assert_array_equal(alone_vectors, vectors)
    assert many_neighbour_edges([], 5.5) == []


def test_long_and_large_cells_are_searched_alone(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    records = any_crystals(rng, 40)
    alone: list[str] = []

    def noted(record: CrystalRecord, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
        alone.append(record.material_id)
        return neighbour_edges(record, cutoff)

    monkeypatch.setattr(graphs, "neighbour_edges", noted)
    many_neighbour_edges(records, 5.5)
    assert "long" in alone and {
        one.material_id for one in records if one.atomic_numbers.size > MAX_ATOMS_DENSE_SEARCH
    } <= set(alone)
    assert len(alone) < len(records) / 2


def test_edges_are_sorted_by_source_and_have_their_reverse() -> None:
    index, vectors = neighbour_edges(sample_crystals()[2], 5.5)
    assert (np.diff(index[0]) >= 0).all()
    forward = {(i, j, *np.round(v, 5)) for i, j, v in zip(*index.tolist(), vectors, strict=True)}
    backward = {(j, i, *np.round(-v, 5)) for i, j, v in zip(*index.tolist(), vectors, strict=True)}
    assert forward == backward


def test_gathered_batch_equals_collation_one_by_one(metals: list[CrystalRecord]) -> None:
    store = CrystalStore.from_records(metals, 5.5)
    chosen = [40, 3, 101, 3]
    batch = store.gather(chosen)
    first_atom, first_edge = 0, 0
    for place, row in enumerate(chosen):
        record = metals[row]
        ((index, vectors),) = many_neighbour_edges([record], 5.5)
        atoms = slice(first_atom, first_atom + record.atomic_numbers.size)
        edges = slice(first_edge, first_edge + index.shape[1])
        np.testing.assert_array_equal(batch.atomic_numbers[atoms], record.atomic_numbers)
        assert (batch.batch[atoms] == place).all()
        np.testing.assert_array_equal(batch.edge_index[:, edges], index + first_atom)
        np.testing.assert_allclose(batch.edge_vectors[edges], vectors, atol=1e-5)
        assert record.labels is not None and batch.eps_inter is not None and batch.drude is not None
        eps, drude = record.labels.average()
        np.testing.assert_allclose(torch.view_as_complex(batch.eps_inter)[place], eps, rtol=1e-6)
        assert float(batch.drude[place]) == pytest.approx(drude, rel=1e-6)
        first_atom, first_edge = atoms.stop, edges.stop
    assert (batch.num_atoms, batch.edge_index.shape[1], batch.num_crystals) == (first_atom, first_edge, 4)


def test_graph_converts_floats_only_and_to_pyg() -> None:
    graph = CrystalStore.from_records(sample_crystals(), 5.0).gather([0, 1]).to(torch.float64)
    assert graph.edge_vectors.dtype == torch.float64 and graph.atomic_numbers.dtype == torch.int64
    data = graph.to_pyg()
    assert data.num_nodes == 3 and data.num_edges == graph.edge_index.shape[1]


def test_store_refuses_what_does_not_belong_together() -> None:
    bare, full = sample_crystals()[0], labelled(sample_crystals()[1])
    with pytest.raises(InputError, match="fcc has no spectra"):
        CrystalStore.from_records([bare, full], 5.5)
    with pytest.raises(InputError, match="no usable materials"):
        CrystalStore.from_records([], 5.5)
    assert full.labels is not None
    other = replace(full, material_id="narrow", labels=replace(full.labels, broadening=0.1))
    with pytest.raises(RecordError, match=r"narrow: broadening 0\.1 eV .* has 0\.3 eV"):
        CrystalStore.from_records([full, other], 5.5)


def test_split_is_disjoint_complete_and_seeded() -> None:
    ids = [f"m{i}" for i in range(200)]
    formulas = [f"f{i % 50}" for i in range(200)]
    split = composition_split(ids, formulas, (0.8, 0.1, 0.1), seed=3)
    of = dict(zip(ids, formulas, strict=True))
    sides = {name: {of[m] for m in part} for name, part in split.items()}
    assert {name: len(side) for name, side in sides.items()} == {"train": 40, "val": 5, "test": 5}
    assert sorted(m for part in split.values() for m in part) == sorted(ids)
    assert len(set().union(*sides.values())) == 50
    assert split == composition_split(ids, formulas, (0.8, 0.1, 0.1), seed=3)
    assert split != composition_split(ids, formulas, (0.8, 0.1, 0.1), seed=4)


def test_split_of_few_or_wrong_fractions() -> None:
    assert all(composition_split(list("abc"), list("abc")).values())
    with pytest.raises(InputError, match="2 distinct formulas"):
        composition_split(list("ab"), list("ab"))
    with pytest.raises(InputError, match="add up to 1"):
        composition_split(list("abc"), list("abc"), (0.8, 0.1, 0.2))


def test_subsets_are_nested_and_do_not_depend_on_file_order() -> None:
    ids = [f"m{i}" for i in range(100)]
    subsets = [nested_subset(ids, size, seed=5) for size in (1, 7, 50, 100)]
    for small, large in pairwise(subsets):
        assert large[: len(small)] == small
    assert nested_subset(ids[::-1], 50, seed=5) == subsets[2]
    assert nested_subset(ids, None) == ids
    for size in (0, 101):
        with pytest.raises(InputError, match="expected 1 to 100"):
            nested_subset(ids, size)
