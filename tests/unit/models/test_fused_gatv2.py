"""GATv2 by pairs of atoms against its plain form and against torch_geometric, and when it is used."""

import pytest
import torch
from torch import Tensor

from dielectric_gnn.cli.benchmark.torch_geometric_form import torch_geometric_form
from dielectric_gnn.models.backbones import OptiMate
from dielectric_gnn.models.fused import gatv2
from dielectric_gnn.models.fused.atom_pairs import AtomPairs
from dielectric_gnn.models.layers.message_passing import GATv2Conv
from dielectric_gnn.testing import graph_of, sample_crystals

NODES, EDGES = 6, 40
Case = tuple[GATv2Conv, Tensor, Tensor, Tensor, Tensor]


def random_case(dtype: torch.dtype = torch.float64) -> Case:
    """A layer, nodes of which the last two have no edges, edges of which many share a pair, and counts of edges."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    layer = GATv2Conv(5, 3, 4, heads=2).to(dtype)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(NODES, 5, generator=generator, dtype=dtype).requires_grad_()
    edges = torch.randn(EDGES, 4, generator=generator, dtype=dtype).requires_grad_()
    edge_index = torch.randint(NODES - 2, (2, EDGES), generator=generator)
    return layer, x, edge_index, edges, torch.randint(1, 4, (EDGES,), generator=generator).to(dtype)


def by_pairs(layer: GATv2Conv, x: Tensor, edge_index: Tensor, edges: Tensor, counts: Tensor | None) -> Tensor:
    pairs = AtomPairs.from_edge_index(edge_index, x.shape[0])
    return layer.forward_by_pairs(x, pairs, edges[pairs.order], None if counts is None else counts[pairs.order])


@pytest.mark.parametrize("numbers", [1, 42, 2**18], ids=["one edge", "seven edges", "all edges"])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_plain_form_in_blocks_of_any_size(numbers: int, weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients with respect to nodes, edges and parameters."""
    monkeypatch.setattr(gatv2, "_BLOCK_NUMBERS", numbers)
    layer, x, edge_index, edges, counts = random_case()
    wanted = [x, edges, *layer.parameters()]
    results = []
    for form in (layer, lambda *inputs: by_pairs(layer, *inputs)):
        out = form(x, edge_index, edges, counts if weighted else None)
        probe = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
        results.append([out, *torch.autograd.grad((out * probe).sum(), wanted)])
    for plain, fused in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-10)


def test_gradients_are_those_of_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gatv2, "_BLOCK_NUMBERS", 42)
    layer, x, edge_index, edges, counts = random_case()
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def form(x: Tensor, edges: Tensor, *values: Tensor) -> Tensor:
        with torch.nn.utils.stateless._reparametrize_module(layer, dict(zip(names, values, strict=True))):
            return by_pairs(layer, x, edge_index, edges, counts)

    assert torch.autograd.gradcheck(form, (x, edges, *parameters))


def test_graph_without_edges_gives_the_bias() -> None:
    layer, x, edge_index, edges, _ = random_case()
    out = by_pairs(layer, x, edge_index[:, :0], edges[:0], None)
    assert torch.equal(out, layer.bias.expand_as(out))
    out.sum().backward()
    assert layer.edge.weight.grad is None or not layer.edge.weight.grad.any()


def test_half_precision_follows_single() -> None:
    layer, x, edge_index, edges, counts = random_case(torch.float32)
    exact = layer(x, edge_index, edges, counts)
    with torch.autocast("cpu", torch.bfloat16):
        out = by_pairs(layer, x, edge_index, edges, counts)
    assert out.dtype == torch.float32
    assert (out - exact).norm() < 0.02 * exact.norm()
    out.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


@pytest.mark.parametrize("fused", [False, True])
def test_no_array_of_edges_times_channels_is_kept(fused: bool) -> None:
    """The plain form keeps several, as the same count shows."""
    layer, x, edge_index, edges, _ = random_case()
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        (by_pairs(layer, x, edge_index, edges, None) if fused else layer(x, edge_index, edges))
    assert sizes
    assert (EDGES * layer.bias.shape[0] in sizes) != fused


def test_is_used_for_many_edges_only(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    plain = GATv2Conv.forward_by_pairs
    monkeypatch.setattr(GATv2Conv, "forward_by_pairs", lambda *args: calls.append(1) or plain(*args))
    graph, model = graph_of(sample_crystals(), 5.5, torch.float32), OptiMate()
    for limit, expected in ((graph.edge_index.shape[1], 2), (graph.edge_index.shape[1] + 1, 0)):
        monkeypatch.setattr(gatv2, "MIN_EDGES", limit)
        calls.clear()
        model(graph)
        assert len(calls) == expected


@pytest.mark.usefixtures("float64")
def test_optimate_equals_its_form_in_torch_geometric(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values, gradients of all that precedes the layers, and gradients of the layers by their names there."""
    monkeypatch.setattr(gatv2, "MIN_EDGES", 0)
    torch.manual_seed(0)
    ours, graph = OptiMate().train(), graph_of(sample_crystals(), 5.5)
    for layer in (ours.first, ours.second):
        torch.nn.init.normal_(layer.bias)
    usual = torch_geometric_form(ours).train()
    values = []
    for model in (ours, usual):
        scalars = model(graph).scalars
        scalars.square().sum().backward()
        values.append(scalars.detach())
    torch.testing.assert_close(*values, rtol=1e-10, atol=1e-10)
    pairs = [(ours.node_mlp.layers[0].weight, usual.node_mlp.lins[0].weight)]
    for mine, theirs in ((ours.first, usual.first), (ours.second, usual.second)):
        pairs += [(mine.neighbour.weight, theirs.lin_l.weight), (mine.center.weight, theirs.lin_r.weight)]
        pairs += [(mine.edge.weight, theirs.lin_edge.weight), (mine.bias, theirs.bias)]
        torch.testing.assert_close(mine.attention.grad, theirs.att.grad[0], rtol=1e-9, atol=1e-9)
    for mine, theirs in pairs:
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-9 * float(theirs.grad.abs().max()))
