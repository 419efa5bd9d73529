"""Layers against formulas in loops over atoms, edges and pairs, in values and gradients (float64)."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.models.backbones import OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.fused.angle_features import AngleFeatures
from dielectric_gnn.models.fused.angles import FullGraphAngles
from dielectric_gnn.models.fused.edge_features import EdgeFeatures, SortedEdges
from dielectric_gnn.models.layers.interaction import InteractionBlock
from dielectric_gnn.models.layers.message_passing import (
    CGConv,
    GATv2Conv,
    MessagePassing,
    MessagePassingFactory,
    ResidualGATv2,
    TransformerConv,
)
from dielectric_gnn.models.layers.norm import GraphLayerNorm
from dielectric_gnn.models.layers.triplet_layer import AnglesOf, PairUpdate
from dielectric_gnn.models.layers.triplets import Triplets
from dielectric_gnn.testing import crystal, graph_of, sample_crystals

pytestmark = pytest.mark.usefixtures("float64")
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def assert_twins(module: nn.Module, fast: Tensor, slow: Tensor, inputs: Sequence[Tensor]) -> None:
    """Same values, and same gradients of a random probe with respect to inputs and parameters."""
    torch.testing.assert_close(fast, slow, **TOLERANCE)
    probe = torch.randn(fast.shape)
    wanted = [*inputs, *module.parameters()]
    pairs = zip(
        torch.autograd.grad((fast * probe).sum(), wanted, retain_graph=True),
        torch.autograd.grad((slow * probe).sum(), wanted, retain_graph=True),
        strict=True,
    )
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * max(1.0, float(a.abs().max())))


def collect(x: Tensor, links: Tensor, message: Callable[[int, int, int], Tensor], width: int) -> list[Tensor]:
    """For every node the sum of its messages, by loops."""
    out = [x.new_zeros(width) for _ in range(x.shape[0])]
    for place, (i, j) in enumerate(links.T.tolist()):
        out[i] = out[i] + message(i, j, place)
    return out


def naive_cgconv(layer: CGConv, x: Tensor, links: Tensor, edges: Tensor) -> Tensor:
    def message(i: int, j: int, e: int) -> Tensor:
        z = torch.cat([x[i], x[j], edges[e]])
        return torch.sigmoid(layer.filter(z)) * torch.nn.functional.softplus(layer.core(z))

    return x + torch.stack(collect(x, links, message, layer.dim))


def naive_attention(x: Tensor, links: Tensor, logits: list[Tensor], values: list[Tensor]) -> Tensor:
    """Softmax over the links of each node, head by head: logits (H,) and values (H, C) of each link."""
    rows = []
    for i in range(x.shape[0]):
        mine = [place for place, source in enumerate(links[0].tolist()) if source == i]
        if not mine:
            rows.append(x.new_zeros(values[0].numel() if values else x.shape[1]))
            continue
        weights = torch.softmax(torch.stack([logits[p] for p in mine]), dim=0)
        rows.append((weights[:, :, None] * torch.stack([values[p] for p in mine])).sum(0).flatten())
    return torch.stack(rows)


def naive_transformer(layer: TransformerConv, x: Tensor, links: Tensor, edges: Tensor) -> Tensor:
    head = (layer.heads, layer.dim // layer.heads)
    logits, values = [], []
    for e, (i, j) in enumerate(links.T.tolist()):
        key = (layer.key(x[j]) + layer.edge(edges[e])).view(head)
        logits.append((layer.query(x[i]).view(head) * key).sum(1) / math.sqrt(head[1]))
        values.append((layer.value(x[j]) + layer.edge(edges[e])).view(head))
    collected = naive_attention(x, links, logits, values)
    skip = layer.skip(x)
    beta = torch.sigmoid(layer.gate(torch.cat([collected, skip, collected - skip], dim=1)))
    return beta * skip + (1 - beta) * collected


def naive_gatv2(layer: GATv2Conv, x: Tensor, links: Tensor, edges: Tensor) -> Tensor:
    shape = layer.attention.shape
    logits, values = [], []
    for e, (i, j) in enumerate(links.T.tolist()):
        key = layer.center(x[i]) + layer.neighbour(x[j]) + layer.edge(edges[e])
        logits.append((torch.nn.functional.leaky_relu(key, 0.2).view(shape) * layer.attention).sum(1))
        values.append(layer.neighbour(x[j]).view(shape))
    return naive_attention(x, links, logits, values) + layer.bias


def naive_message_passing(layer: MessagePassing, x: Tensor, links: Tensor, edges: Tensor) -> Tensor:
    if isinstance(layer, CGConv):
        return naive_cgconv(layer, x, links, edges)
    if isinstance(layer, TransformerConv):
        return naive_transformer(layer, x, links, edges)
    assert isinstance(layer, ResidualGATv2)
    return naive_gatv2(layer.attention, x, links, edges) + layer.residual(x)


def naive_norm(layer: GraphLayerNorm, x: Tensor, batch: Tensor) -> Tensor:
    rows = [x.new_zeros(0)] * x.shape[0]
    for c in batch.unique().tolist():
        mine = x[batch == c]
        normal = (mine - mine.mean()) / torch.sqrt(mine.var(unbiased=False) + 1e-5)
        for row, place in zip(normal, (batch == c).nonzero().squeeze(1).tolist(), strict=True):
            rows[place] = row * layer.weight + layer.bias
    return torch.stack(rows)


def naive_block(block: InteractionBlock, x: Tensor, links: Tensor, edges: Tensor, batch: Tensor) -> Tensor:
    x = naive_message_passing(block.conv, x, links, edges)
    first, norm, _, last = block.mlp.layers
    hidden = first(x)
    normal = (hidden - hidden.mean(0)) / torch.sqrt(hidden.var(0, unbiased=False) + norm.eps)
    return naive_norm(block.norm, x + last(torch.relu(normal * norm.weight + norm.bias)), batch)


def naive_pair_update(layer: PairUpdate, features: Tensor, members: Tensor, pairs: Tensor, batch: Tensor) -> Tensor:
    rows = [
        feature + layer.linear(torch.cat([members[a], members[b], feature]))
        for feature, (a, b) in zip(features, pairs.T.tolist(), strict=True)
    ]
    return naive_norm(layer.norm, torch.stack(rows), batch)


@pytest.fixture
def graph() -> CrystalGraph:
    """Three small crystals, one of whose atoms neighbours only its own images, and one without short edges."""
    sparse = crystal("sparse", [[5.0, 0, 0], [0, 5.1, 0], [0, 0, 5.2]], [19], [[0, 0, 0]])
    tiny = crystal("tiny", [[2.9, 0, 0], [0.3, 3.0, 0], [0, 0.2, 3.1]], [29], [[0, 0, 0]])
    torch.manual_seed(0)
    return graph_of([tiny, sample_crystals()[1], sparse], 3.4)


FACTORIES: dict[str, MessagePassingFactory] = {
    "CGConv": CGConv,
    "TransformerConv": lambda dim, edge_dim: TransformerConv(dim, edge_dim, heads=2),
    "ResidualGATv2": lambda dim, edge_dim: ResidualGATv2(dim, edge_dim, heads=2),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_interaction_block_and_its_layer(graph: CrystalGraph, name: str) -> None:
    block = InteractionBlock(4, FACTORIES[name], expansion=2)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)
    x = torch.randn(graph.num_atoms, 4, requires_grad=True)
    edges = torch.randn(graph.edge_index.shape[1], 4, requires_grad=True)
    fast = block.conv(x, graph.edge_index, edges)
    slow = naive_message_passing(block.conv, x, graph.edge_index, edges)
    assert_twins(block.conv, fast, slow, [x, edges])
    fast = block(x, graph.edge_index, edges, graph.batch, graph.num_crystals)
    slow = naive_block(block, x, graph.edge_index, edges, graph.batch)
    assert_twins(block, fast, slow, [x, edges])


def test_pair_update(graph: CrystalGraph) -> None:
    layer = PairUpdate(4)
    x = torch.randn(graph.num_atoms, 4, requires_grad=True)
    edges = torch.randn(graph.edge_index.shape[1], 4, requires_grad=True)
    batch = graph.batch[graph.edge_index[0]]
    fast = layer(edges, x, graph.edge_index, batch, graph.num_crystals)
    assert_twins(layer, fast, naive_pair_update(layer, edges, x, graph.edge_index, batch), [x, edges])


@pytest.mark.parametrize("angles_of", ["at_sender", "at_receiver"])
@pytest.mark.parametrize("name", FACTORIES)
def test_triplet_layer(graph: CrystalGraph, name: str, angles_of: AnglesOf) -> None:
    """As published, a pair (a, b) carries a message from a to b, and an edge i → j one from i to j."""
    sizes = {"num_layers": 1, "cutoff": 3.4, "three_body_cutoff": 3.2}
    layer = OptiMetal3B(4, message_passing=FACTORIES[name], angles=angles_of, **sizes).layers[0]
    triplets = Triplets.from_graph(graph, 3.2)
    pairs = triplets.pairs
    assert pairs.shape[1] > 100
    x = torch.randn(graph.num_atoms, 4, requires_grad=True)
    edges = torch.randn(graph.edge_index.shape[1], 4, requires_grad=True)
    # Both orders of an angle share its features, which are W h + b.
    numbers = {pair: number for number, pair in enumerate((a, b) for a, b in pairs.T.tolist() if a < b)}
    angle_of_pair = torch.tensor([numbers[min(a, b), max(a, b)] for a, b in pairs.T.tolist()])
    rows, last = torch.randn(len(numbers), 5, requires_grad=True), nn.Linear(5, 4)
    angles = AngleFeatures.from_rows(FullGraphAngles.from_graph(graph, 3.2), rows, last)
    fast_x, fast_edges, fast_angles = layer.forward_factored(
        x, EdgeFeatures(SortedEdges(graph.edge_index, x.shape[0]), edges), angles, graph
    )
    batch = graph.batch[graph.edge_index[0]]
    slow_edges = naive_pair_update(layer.edge_update, edges, x, graph.edge_index, batch)
    slow_angles = naive_pair_update(layer.angle_update, last(rows)[angle_of_pair], slow_edges, pairs, triplets.batch)
    # The naive layers collect at the first row of the links.
    links = (pairs, graph.edge_index) if angles_of == "at_receiver" else (pairs.flip(0), graph.edge_index.flip(0))
    slow_edges = naive_block(layer.edge_block, slow_edges, links[0], slow_angles, batch)
    slow_x = naive_block(layer.atom_block, x, links[1], slow_edges, graph.batch)
    fast_pairs, fast_features, _ = fast_angles.to_dense()
    place = {pair: number for number, pair in enumerate(map(tuple, links[0].T.tolist()))}
    places = [place[a, b] for a, b in fast_pairs.T.tolist()]
    assert sorted(places) == list(range(pairs.shape[1]))
    for quick, naive in zip((fast_edges.rows, fast_features), (slow_edges, slow_angles[places]), strict=True):
        torch.testing.assert_close(quick, naive, **TOLERANCE)
    assert_twins(layer, fast_x, slow_x, [x, edges, rows, last.weight, last.bias])


def test_whole_two_body_model(graph: CrystalGraph) -> None:
    """The model is its parts in the published order."""
    model = OptiMetal2B(4, cutoff=3.4)
    fast = model(graph).scalars
    x = model.node_mlp(model.node_embedding(graph.atomic_numbers))
    edges = model.edge_mlp(model.edge_embedding(graph.edge_vectors.norm(dim=1)))
    for block in model.blocks:
        assert isinstance(block, InteractionBlock)
        x = naive_block(block, x, graph.edge_index, edges, graph.batch)
    torch.testing.assert_close(fast, x, **TOLERANCE)
