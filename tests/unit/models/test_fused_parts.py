"""Published models against their form from stock PyG layers, and parts of the fused forms against their definition."""

import re
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from dielectric_gnn.cli.benchmark.torch_geometric_form import PYG_NAMES, torch_geometric_form
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.models.backbones import Backbone, OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.fused.angles import FullGraphAngles
from dielectric_gnn.models.fused.attention import attend
from dielectric_gnn.models.fused.edge_features import EdgeFeatures, SortedEdges, Undirected
from dielectric_gnn.models.fused.neighbour_list import groups_of_equal_size, padded_neighbour_list
from dielectric_gnn.models.fused.second_moments import padded_second_moments, second_moments
from dielectric_gnn.models.layers.message_passing import CGConv, TransformerConv
from dielectric_gnn.models.layers.mlp import MLP
from dielectric_gnn.models.layers.norm import GraphLayerNorm
from dielectric_gnn.models.layers.triplets import Triplets
from dielectric_gnn.testing import crystal, graph_of, sample_crystals

LONE = crystal("lone", [[9.0, 0, 0], [0, 9.1, 0], [0, 0, 9.2]], [19], [[0, 0, 0]])
SPARSE = crystal("sparse", [[5.0, 0, 0], [0, 5.1, 0], [0, 0, 5.2]], [19], [[0, 0, 0]])
TINY = crystal("tiny", [[2.9, 0, 0], [0.3, 3.0, 0], [0, 0.2, 3.1]], [29], [[0, 0, 0]])

MODELS: dict[str, Callable[[int], OptiMetal2B | OptiMetal3B]] = {
    "2b_cgc": OptiMetal2B,
    "2b_tc": partial(OptiMetal2B, message_passing=TransformerConv),
    "3b_tc": OptiMetal3B,
    "3b_cgc": partial(OptiMetal3B, message_passing=CGConv),
    "3b_mixed": partial(OptiMetal3B, edge_message_passing=CGConv),
    "3b_at_receiver": partial(OptiMetal3B, angles="at_receiver"),
    "3b_long": partial(OptiMetal3B, three_body_cutoff=5.5, num_layers=3),
}


def batch(dtype: torch.dtype = torch.float64) -> CrystalGraph:
    """Seven crystals; one without pairs, and one without edges."""
    return graph_of([TINY, *sample_crystals(), SPARSE, LONE], 5.5, dtype)


def built(name: str, width: int = 16, seed: int = 0) -> OptiMetal2B | OptiMetal3B:
    """A model whose norms have random scales and shifts."""
    torch.manual_seed(seed)
    model = MODELS[name](width)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 0.7, 0.3)
    return model


def of_usual(name: str) -> str:
    """Name of the same parameter or buffer in the usual form."""

    def layer(match: re.Match[str]) -> str:
        kind, number = divmod(int(match[2]), 3)
        return f"{match[1]}.norms.{kind}.module" if number == 1 else f"{match[1]}.lins.{kind}"

    name = re.sub(r"(\w*mlp)\.layers\.(\d+)", layer, name)
    return re.sub(r"conv\.(\w+)\.", lambda match: f"conv.{PYG_NAMES[match[1]]}.", name)


def gradients(model: Backbone, graph: CrystalGraph) -> tuple[Tensor, dict[str, Tensor]]:
    """Atom features, and gradients of a random probe of them."""
    scalars = model(graph).scalars
    probe = torch.randn(scalars.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (scalars * probe.to(scalars)).sum().backward()
    return scalars.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", MODELS)
def test_model_equals_its_usual_form(name: str) -> None:
    """Values, gradients and running statistics in training, then values in evaluation."""
    ours = built(name)
    usual, graph = torch_geometric_form(ours), batch()
    (values, mine), (expected, theirs) = gradients(ours.train(), graph), gradients(usual.train(), graph)
    torch.testing.assert_close(values, expected, rtol=1e-9, atol=1e-9)
    assert len(mine) == len(list(ours.parameters())) == len(theirs)
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    for key, gradient in mine.items():
        torch.testing.assert_close(gradient, theirs[of_usual(key)], rtol=1e-8, atol=1e-9 * largest)
    buffers = dict(usual.named_buffers())
    for key, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, buffers[of_usual(key)], rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(graph).scalars, usual.eval()(graph).scalars, rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ["2b_cgc", "2b_tc", "3b_tc"])
def test_training_on_embedded_metals_is_that_of_the_usual_form(name: str) -> None:
    """Fifteen steps with the fused optimiser against the usual one, then values in evaluation."""
    ours = built(name)
    usual = torch_geometric_form(ours)
    records = list(ExampleMetals(parts=1).records())[:24]
    losses: list[list[float]] = []
    for model, fused in ((ours, True), (usual, False)):
        optimizer = torch.optim.AdamW(model.train().parameters(), lr=1e-3, weight_decay=1e-2, fused=fused)
        losses.append([])
        for step in range(15):
            graph = graph_of(records[step % 4 :: 4], 5.5)
            optimizer.zero_grad()
            scalars = model(graph).scalars
            loss = (scalars - graph.atomic_numbers[:, None] / 40).abs().mean()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-7)
    assert losses[0][-1] < 0.9 * losses[0][0]
    with torch.no_grad():
        graph = graph_of(records, 5.5)
        torch.testing.assert_close(ours.eval()(graph).scalars, usual.eval()(graph).scalars, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["2b_cgc", "2b_tc", "3b_tc"])
def test_single_precision_is_not_worse_than_that_of_the_usual_form(name: str) -> None:
    """Both against the usual form in double precision; over all values, and over all gradients, of three models."""
    graph, total = batch(torch.float32), torch.zeros(2, 2)
    for seed in range(3):
        ours = built(name, 32, seed)
        usual, exact = torch_geometric_form(ours), torch_geometric_form(ours).double()
        values, wanted = gradients(exact, batch())
        for row, (model, translate) in enumerate([(ours, of_usual), (usual, str)]):
            found_values, found = gradients(model, graph)
            errors = torch.stack([(found[key].double() - wanted[translate(key)]).norm() for key in found])
            total[row, 0] += (found_values.double() - values).norm() / values.norm()
            total[row, 1] += errors.norm() / torch.stack([g.norm() for g in wanted.values()]).norm()
    assert total[0, 0] <= total[1, 0]
    assert total[0, 1] <= 2 * total[1, 1]  # that of gradients scatters: it depends on single ReLUs near zero


@pytest.mark.parametrize("name", MODELS)
def test_half_precision_follows_single(name: str) -> None:
    ours, graph = built(name), batch(torch.float32)
    exact = gradients(ours, graph)[0]
    ours.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        values, found = gradients(ours, graph)
    assert values.dtype == torch.float32
    assert (values - exact).norm() < 0.05 * exact.norm()
    assert all(gradient.isfinite().all() for gradient in found.values())


@pytest.mark.usefixtures("float64")
def test_both_directions_share_a_row_of_their_length() -> None:
    graph = batch()
    shared = Undirected.from_edges(graph.edge_index, graph.edge_lengths, graph.num_atoms)
    torch.testing.assert_close(shared.lengths[shared.index], graph.edge_lengths)
    assert (shared.index.bincount() == 2).all()
    for row, edges in enumerate(shared.uses.T.tolist()):
        assert shared.index[edges].tolist() == [row, row]
        assert len({tuple(sorted(graph.edge_index[:, edge].tolist())) for edge in edges}) == 1


@pytest.mark.usefixtures("float64")
def test_angles_are_the_three_body_pairs_once() -> None:
    graph = batch()
    angles, triplets = FullGraphAngles.from_graph(graph, 4.0), Triplets.from_graph(graph, 4.0)
    numbers, slots = angles.neighbour_list.nodes, angles.slots_of_angle
    assert 2 * angles.cosines.shape[0] == triplets.cosines.shape[0] > 0
    found = {}
    for order in range(2):
        first, second = (
            numbers[angles.neighbour_list.receiver[slots[order]]],
            numbers[angles.neighbour_list.sender[slots[order]]],
        )
        found |= dict(zip(zip(first.tolist(), second.tolist(), strict=True), angles.cosines.tolist(), strict=True))
    expected = dict(zip(zip(*triplets.pairs.tolist(), strict=True), triplets.cosines.tolist(), strict=True))
    assert found == pytest.approx(expected)
    assert (angles.angle_of_slot[slots] == torch.arange(slots.shape[1])).all()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("rows", [1, 3, 9])
def test_hidden_layers_equal_the_plain_layers_with_every_row_repeated(rows: int) -> None:
    torch.manual_seed(0)
    ours, plain = MLP([3, 8, 8, 4]), MLP([3, 8, 8, 4])
    for parameter in ours.parameters():
        nn.init.normal_(parameter)  # equal rows leave a norm at its shift, where the ReLU must not have its kink
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(rows, 3) + 5
    plain.layers(x.repeat(2, 1)).square().sum().backward()
    (2 * ours.last(ours.hidden(x, 2)).square().sum()).backward()
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-8, atol=1e-8)
    for mine, theirs in zip(ours.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.usefixtures("float64")
def test_gradients_equal_finite_differences() -> None:
    torch.manual_seed(0)
    mlp, norm = MLP([3, 12, 3]), GraphLayerNorm(3)
    x = torch.randn(14, 3, requires_grad=True)
    segment = torch.tensor([0] * 5 + [2] * 8 + [1])
    assert torch.autograd.gradcheck(mlp.residual, (x,))
    assert torch.autograd.gradcheck(mlp.hidden, (x,))
    assert torch.autograd.gradcheck(lambda rows: norm(rows, segment, 4), (x,))
    order = segment.sort().values
    assert torch.autograd.gradcheck(lambda rows: second_moments(rows, order, 4), (x,))
    torch.testing.assert_close(padded_second_moments(x, order, 4), second_moments(x, order, 4))


@pytest.mark.usefixtures("float64")
def test_attention_equals_its_definition() -> None:
    """Nodes of 3, 0, 1 and 2 links, 2 heads: softmax of q · k + p · f, and the sums it weights."""
    torch.manual_seed(0)
    edge_index = torch.tensor([[0, 0, 0, 2, 3, 3], [1, 2, 2, 3, 0, 3]])
    neighbour_list, edge_of_slot, slot_of_edge = padded_neighbour_list(edge_index, 4)
    node, other = neighbour_list.receiver[slot_of_edge], neighbour_list.sender[slot_of_edge]
    torch.testing.assert_close(torch.stack([neighbour_list.nodes[node], neighbour_list.nodes[other]]), edge_index)
    query, key, value = (torch.randn(4, 2, 3, requires_grad=True) for _ in range(3))
    link_query, features = torch.randn(4, 2, 5, requires_grad=True), torch.randn(6, 5, requires_grad=True)
    inputs = (query, key, value, link_query, features)
    fast = attend(*inputs[:4], features[edge_of_slot], neighbour_list)
    logits = (query[node] * key[other]).sum(2) + (link_query[node] * features[:, None]).sum(2)
    slow = [torch.zeros(4, 2, 3), torch.zeros(4, 2, 5)]
    for number in range(4):
        links = (node == number).nonzero()[:, 0]
        weights = logits[links].softmax(0)[:, :, None]
        slow[0][number] = (weights * value[other[links]]).sum(0)
        slow[1][number] = (weights * features[links, None]).sum(0)
    probes = [torch.randn(part.shape) for part in slow]
    for mine, theirs in zip(fast, slow, strict=True):
        torch.testing.assert_close(mine, theirs)
    results = [
        torch.autograd.grad([(a * b).sum() for a, b in zip(o, probes, strict=True)], inputs) for o in (fast, slow)
    ]
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_blocks_hold_every_group_once() -> None:
    counts = torch.arange(200) % 97
    blocks = list(groups_of_equal_size(counts, 2, 16))
    assert len(blocks) <= 16
    assert sorted(group for _, groups in blocks for group in groups.tolist()) == (counts >= 2).nonzero()[:, 0].tolist()
    assert all(size - 8 < counts[group] <= size for size, groups in blocks for group in groups.tolist())


@pytest.mark.usefixtures("float64")
def test_edges_in_any_order_give_the_same() -> None:
    torch.manual_seed(0)
    graph, layer = batch(), TransformerConv(8, 3, heads=2)
    x, edges = torch.randn(graph.num_atoms, 8), torch.randn(graph.edge_index.shape[1], 3)
    order = torch.randperm(edges.shape[0])
    shuffled = layer(x, graph.edge_index[:, order], edges[order])
    torch.testing.assert_close(shuffled, layer(x, graph.edge_index, edges))
    factored = EdgeFeatures(SortedEdges(graph.edge_index, graph.num_atoms), edges)
    torch.testing.assert_close(shuffled, layer.forward_factored(x, factored))
