"""Neighbours at exactly the cutoff count, in every search, for every cell and supercell of a crystal."""

import numpy as np
import pytest
import torch

from dielectric_gnn.data.graphs.graph import many_neighbour_edges, neighbour_edges
from dielectric_gnn.data.graphs.reverse import reverse_edges
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.store.descriptions import graph_sizes
from dielectric_gnn.models.backbones import OptiMetal3B
from dielectric_gnn.models.fused.angles import FullGraphAngles
from dielectric_gnn.models.layers.triplets import Triplets
from dielectric_gnn.testing import crystal, graph_of, random_rotation, sample_crystals, supercell, transformed
from dielectric_gnn.utils.errors import InputError, RecordError

CUTOFF = 5.5
FCC = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]


def cubic(a: float, places: list[list[float]]) -> CrystalRecord:
    return crystal(f"cubic-{a}-{len(places)}", (np.eye(3) * a).tolist(), [47] * len(places), places)


def with_one_axis_at_the_cutoff(seed: int) -> CrystalRecord:
    """A random cell with a few atoms, one of whose lattice vectors is as long as the cutoff."""
    rng = np.random.default_rng(seed)
    while True:
        lattice = rng.normal(size=(3, 3)) + np.diag(rng.uniform(3, 5, size=3))
        axis = rng.integers(3)
        lattice[axis] *= CUTOFF / np.linalg.norm(lattice[axis])
        number = int(rng.integers(1, 4))
        try:
            return crystal(f"axis-{seed}", lattice.tolist(), [29] * number, rng.uniform(size=(number, 3)).tolist())
        except RecordError:  # overlapping atoms
            continue


def test_simple_cubic_and_its_supercell_have_six_neighbours_at_the_cutoff() -> None:
    primitive = cubic(CUTOFF, [[0, 0, 0]])
    for record in (primitive, supercell(primitive, (2, 2, 2)), supercell(primitive, (3, 3, 3))):
        for index, vectors in (neighbour_edges(record, CUTOFF), *many_neighbour_edges([record], CUTOFF)):
            assert index.shape[1] == 6 * record.atomic_numbers.size
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), CUTOFF, rtol=1e-12)


@pytest.mark.parametrize("a", [CUTOFF, 4.0], ids=["two-body", "three-body"])
def test_one_crystal_has_one_answer(a: float) -> None:
    """Conventional, primitive, rotated, shifted and three times larger cells, shells at exactly both cutoffs."""
    conventional = cubic(a, FCC)
    primitive = crystal("prim", (-a / 2 * np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1]])).tolist(), [47], [[0, 0, 0]])
    cells = [
        conventional,
        primitive,
        supercell(conventional, (3, 3, 3)),
        *(transformed(conventional, random_rotation(seed), np.full(3, 0.1 * seed)) for seed in range(20)),
    ]
    torch.manual_seed(0)
    model = OptiMetal3B(16).eval()
    answers = []
    for record in cells:
        graph = graph_of([record], CUTOFF, torch.float32)
        counts = graph_of([record], CUTOFF).edge_index[0].bincount()
        assert (counts == counts[0]).all()
        with torch.no_grad():
            answers.append(model(graph).scalars.mean(dim=0))
    torch.testing.assert_close(torch.stack(answers), answers[0].expand(len(cells), -1), rtol=0, atol=1e-5)


def test_three_body_pairs_at_their_cutoff_count_everywhere() -> None:
    """Simple cubic with a = 4 Å: six short edges at each atom, for every cell, precision and counting code."""
    primitive = cubic(4.0, [[0, 0, 0]])
    for record in (primitive, supercell(primitive, (3, 3, 3)), transformed(primitive, random_rotation(3), np.zeros(3))):
        for dtype in (torch.float32, torch.float64):
            graph = graph_of([record], CUTOFF, dtype)
            pairs = 6 * 5 * record.atomic_numbers.size
            assert Triplets.from_graph(graph, 4.0).pairs.shape[1] == pairs
            assert FullGraphAngles.from_graph(graph, 4.0).cosines.shape[0] == pairs // 2
        index, vectors = neighbour_edges(record, CUTOFF)
        assert graph_sizes([record.atomic_numbers.size], [index.shape[1]], index[0], vectors)[0, 2] == pairs


def test_random_cells_with_an_axis_at_the_cutoff_have_both_directions_of_every_edge() -> None:
    records = [with_one_axis_at_the_cutoff(seed) for seed in range(300)]
    for record, (index, vectors) in zip(records, many_neighbour_edges(records, CUTOFF), strict=True):
        for edges, lines in ((index, vectors), neighbour_edges(record, CUTOFF)):
            reverse = reverse_edges(torch.from_numpy(edges).long(), torch.from_numpy(lines)).numpy()
            np.testing.assert_array_equal(edges[:, reverse], edges[::-1])
            np.testing.assert_array_equal(lines[reverse], -lines)
        atoms = record.atomic_numbers.size
        assert (np.abs(np.linalg.norm(vectors, axis=1) - CUTOFF) < 1e-9).sum() >= 2 * atoms
        assert index.shape[1] == neighbour_edges(record, CUTOFF)[0].shape[1]


def test_neighbours_of_a_crystal_do_not_depend_on_those_at_the_cutoff_beside_it() -> None:
    sample = sample_crystals()
    torch.manual_seed(0)
    model = OptiMetal3B(16).eval()
    with torch.no_grad():
        alone = model(graph_of(sample, CUTOFF, torch.float32)).scalars
        others = [*sample, *(with_one_axis_at_the_cutoff(seed) for seed in range(20))]
        together = model(graph_of(others, CUTOFF, torch.float32)).scalars[: alone.shape[0]]
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_reverse_of_an_edge_is_the_opposite_vector_from_its_end(dtype_of_edges: torch.dtype) -> None:
    graph = graph_of([*sample_crystals(), with_one_axis_at_the_cutoff(1)], CUTOFF).to(dtype=dtype_of_edges)
    reverse = graph.reverse
    assert torch.equal(reverse[reverse], torch.arange(reverse.shape[0]))
    assert torch.equal(graph.edge_index[:, reverse], graph.edge_index.flip(0))
    assert torch.equal(graph.edge_vectors[reverse], -graph.edge_vectors)


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype_of_edges(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


def test_an_edge_without_its_reverse_is_refused() -> None:
    graph = graph_of(sample_crystals()[:2], CUTOFF)
    with pytest.raises(InputError, match="reverse"):
        reverse_edges(graph.edge_index[:, 1:], graph.edge_vectors[1:])
    vectors = graph.edge_vectors.clone()
    vectors[3] += 1e-6
    with pytest.raises(InputError, match="reverse"):
        reverse_edges(graph.edge_index, vectors)
    assert reverse_edges(graph.edge_index[:, :0], graph.edge_vectors[:0]).shape == (0,)
