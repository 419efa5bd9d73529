"""Three-body pairs against brute force, angle features against SciPy."""

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.models.backbones import OptiMetal3B
from dielectric_gnn.models.layers.angle_basis import AngleBasis
from dielectric_gnn.models.layers.triplets import Triplets, pairs_once, three_body_pairs
from dielectric_gnn.testing import crystal, graph_of, sample_crystals, supercell
from dielectric_gnn.utils.errors import InputError

TINY = crystal("tiny", [[2.0, 0, 0], [0.3, 2.1, 0], [0, 0.2, 2.2]], [29], [[0, 0, 0]])
EIGHT = supercell(sample_crystals()[1], (2, 2, 1))
SPARSE = crystal("sparse", (np.eye(3) * 5.0).tolist(), [19], [[0, 0, 0]])


def naive_pairs(graph_edges: torch.Tensor, lengths: torch.Tensor, cutoff: float) -> set[tuple[int, int]]:
    found = set()
    for a, source in enumerate(graph_edges[0].tolist()):
        for b, other in enumerate(graph_edges[0].tolist()):
            if a != b and source == other and lengths[a] <= cutoff and lengths[b] <= cutoff:
                found.add((a, b))
    return found


@pytest.mark.parametrize("records", [[r] for r in (*sample_crystals(), TINY, EIGHT, SPARSE)] + [sample_crystals()])
def test_pairs_equal_a_brute_force_enumeration(records: list[CrystalRecord]) -> None:
    graph = graph_of(records, 5.5)
    triplets = Triplets.from_graph(graph, 4.0)
    found = list(zip(*triplets.pairs.tolist(), strict=True))
    expected = naive_pairs(graph.edge_index, graph.edge_lengths, 4.0)
    assert len(found) == len(expected) and set(found) == expected
    for (a, b), cosine, batch in zip(found, triplets.cosines.tolist(), triplets.batch.tolist(), strict=True):
        va, vb = graph.edge_vectors[a].numpy(), graph.edge_vectors[b].numpy()
        expected_cosine = np.clip(va @ vb / np.linalg.norm(va) / np.linalg.norm(vb), -1 + 1e-7, 1 - 1e-7)
        assert cosine == pytest.approx(expected_cosine, abs=1e-12)
        assert batch == int(graph.batch[graph.edge_index[0, a]])
    assert (triplets.pairs[0].diff() >= 0).all()


def test_number_of_pairs_is_the_published_count() -> None:
    """n (n − 1) ordered pairs per atom of n short edges: 12 nearest and 6 second neighbours in fcc below 4 Å."""
    graph = graph_of([sample_crystals()[0]], 5.5)
    assert Triplets.from_graph(graph, 3.0).pairs.shape == (2, 12 * 11)
    assert Triplets.from_graph(graph, 4.0).pairs.shape == (2, 18 * 17)


def test_no_edges_give_no_pairs() -> None:
    assert three_body_pairs(torch.zeros(0, dtype=torch.long)).shape == (2, 0)
    assert three_body_pairs(torch.tensor([0, 1, 2])).shape == (2, 0)


def test_pairs_once_are_the_pairs_whose_first_edge_comes_first() -> None:
    sources = torch.tensor([0, 0, 0, 2, 3, 3, 3, 3])
    pairs = three_body_pairs(sources)
    assert torch.equal(pairs_once(sources), pairs[:, pairs[0] < pairs[1]])
    assert pairs_once(sources[:0]).shape == (2, 0)


def test_angle_features_are_the_spherical_harmonics_of_scipy() -> None:
    theta = np.linspace(0, np.pi, 50)
    features = AngleBasis(4)(torch.from_numpy(np.cos(theta))).numpy()
    for degree in range(5):
        np.testing.assert_allclose(features[:, degree], sph_harm_y(degree, 0, theta, 0.0).real, atol=1e-12)


@pytest.mark.parametrize("l_max", [0, 5])
def test_angle_degrees_outside_the_offer_are_refused(l_max: int) -> None:
    with pytest.raises(InputError, match=f"l_max of the angle features is {l_max}, expected 1 to 4"):
        OptiMetal3B(16, l_max=l_max)


def test_three_body_cutoff_beyond_the_edges_is_refused() -> None:
    with pytest.raises(InputError, match=r"three_body_cutoff is 6\.0 Å and cutoff 5\.5 Å"):
        OptiMetal3B(16, three_body_cutoff=6.0)


def test_crystals_without_pairs_train() -> None:
    model = OptiMetal3B(16).train()
    scalars = model(graph_of([SPARSE, SPARSE], 5.5, torch.float32)).scalars
    scalars.square().sum().backward()
    assert scalars.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
