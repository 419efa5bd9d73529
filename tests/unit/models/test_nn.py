"""Bricks against the stock PyG layers they restate and against naive loops."""

import warnings

import numpy as np
import pytest
import torch
from scipy.special import spherical_jn
from torch import Tensor, nn

from dielectric_gnn.models.backbones import OptiMetal2B
from dielectric_gnn.models.layers.embedding import AtomEmbedding, GroupPeriodEmbedding, group_and_period
from dielectric_gnn.models.layers.message_passing import CGConv, GATv2Conv, ResidualGATv2, TransformerConv
from dielectric_gnn.models.layers.mlp import MLP
from dielectric_gnn.models.layers.norm import GraphLayerNorm
from dielectric_gnn.models.layers.pooling import (
    MeanPooling,
    Pooling,
    ScalarAttentionPooling,
    Set2SetPooling,
    VectorAttentionPooling,
)
from dielectric_gnn.models.layers.radial import BesselBasis, GaussianBasis, polynomial_envelope
from dielectric_gnn.models.layers.segment import segment_softmax, segment_sum
from dielectric_gnn.testing import graph_of, sample_crystals
from dielectric_gnn.utils.errors import InputError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch_geometric compiles with TorchScript when imported
    import torch_geometric.nn as pyg

pytestmark = pytest.mark.usefixtures("float64")


def same_gradients(first: Tensor, second: Tensor, inputs: list[tuple[Tensor, Tensor]]) -> None:
    probe = torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
    a = torch.autograd.grad((first * probe).sum(), [pair[0] for pair in inputs])
    b = torch.autograd.grad((second * probe).sum(), [pair[1] for pair in inputs])
    for left, right in zip(a, b, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


def random_graph() -> tuple[Tensor, Tensor, Tensor]:
    """Atoms, symmetric edges sorted by source, edge features that are the same in both directions."""
    graph = graph_of(sample_crystals(), 4.0)
    torch.manual_seed(0)
    return (
        torch.randn(graph.num_atoms, 8),
        graph.edge_index,
        torch.stack([graph.edge_lengths**p for p in (0, 1, 2)], 1),
    )


def test_segments_equal_loops() -> None:
    values, segment = torch.randn(7, 3), torch.tensor([0, 2, 0, 2, 2, 4, 0])
    total, soft = segment_sum(values, segment, 5), segment_softmax(values * 50, segment, 5)
    for s in range(5):
        rows = segment == s
        torch.testing.assert_close(total[s], values[rows].sum(0))
        if rows.any():
            torch.testing.assert_close(soft[rows], torch.softmax(values[rows] * 50, dim=0))


def test_mlp_equals_pyg_parameter_for_parameter() -> None:
    dims = [5, 7, 6, 4]
    ours, theirs = MLP(dims), pyg.MLP(dims)
    linears = [layer for layer in ours.layers if isinstance(layer, nn.Linear)]
    norms = [layer for layer in ours.layers if isinstance(layer, nn.BatchNorm1d)]
    for a, b in zip(linears, theirs.lins, strict=True):
        b.load_state_dict(a.state_dict())
    for a, b in zip(norms, theirs.norms, strict=True):
        nn.init.normal_(a.weight)
        b.module.load_state_dict(a.state_dict())
    x = torch.randn(9, 5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-12, atol=1e-12)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_cgconv_equals_pyg_in_values_and_gradients() -> None:
    x, edge_index, edges = random_graph()
    ours, theirs = CGConv(8, 3), pyg.CGConv(8, 3, aggr="add")
    theirs.lin_f.load_state_dict(ours.filter.state_dict())
    theirs.lin_s.load_state_dict(ours.core.state_dict())
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    first, second = ours(a, edge_index, edges), theirs(b, edge_index, edges)
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-10)
    same_gradients(
        first,
        second,
        [(a, b), (ours.filter.weight, theirs.lin_f.weight), (ours.core.bias, theirs.lin_s.bias)],
    )


def test_gatv2_equals_pyg_in_values_and_gradients() -> None:
    x, edge_index, edges = random_graph()
    ours = GATv2Conv(8, 5, 3, heads=4)
    theirs = pyg.GATv2Conv(8, 5, heads=4, edge_dim=3, add_self_loops=False)
    theirs.lin_l.load_state_dict(ours.neighbour.state_dict())
    theirs.lin_r.load_state_dict(ours.center.state_dict())
    theirs.lin_edge.load_state_dict(ours.edge.state_dict())
    nn.init.normal_(ours.bias)
    with torch.no_grad():
        theirs.att.copy_(ours.attention[None])
        theirs.bias.copy_(ours.bias)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    first, second = ours(a, edge_index, edges), theirs(b, edge_index, edges)
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-10)
    same_gradients(first, second, [(a, b), (ours.center.weight, theirs.lin_r.weight)])


def test_gatv2_gives_an_atom_without_neighbours_the_bias() -> None:
    layer = GATv2Conv(8, 5, 3, heads=4)
    nn.init.normal_(layer.bias)
    out = layer(torch.randn(2, 8), torch.zeros(2, 0, dtype=torch.long), torch.zeros(0, 3))
    torch.testing.assert_close(out, layer.bias.expand(2, -1))


def test_transformer_equals_pyg_in_values_and_gradients() -> None:
    x, edge_index, edges = random_graph()
    ours = TransformerConv(8, 3, heads=4)
    theirs = pyg.TransformerConv(8, 2, heads=4, edge_dim=3, beta=True)
    names = {"query": "lin_query", "key": "lin_key", "value": "lin_value", "edge": "lin_edge", "skip": "lin_skip"}
    for mine, other in {**names, "gate": "lin_beta"}.items():
        getattr(theirs, other).load_state_dict(getattr(ours, mine).state_dict())
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    first, second = ours(a, edge_index, edges), theirs(b, edge_index, edges)
    torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-10)
    pairs = [(getattr(ours, mine).weight, getattr(theirs, other).weight) for mine, other in names.items()]
    same_gradients(first, second, [(a, b), (ours.gate.weight, theirs.lin_beta.weight), *pairs])


def test_residual_gatv2_equals_pyg() -> None:
    x, edge_index, edges = random_graph()
    ours = ResidualGATv2(8, 3, heads=4)
    theirs = pyg.GATv2Conv(8, 2, heads=4, edge_dim=3, add_self_loops=False, residual=True)
    theirs.lin_l.load_state_dict(ours.attention.neighbour.state_dict())
    theirs.lin_r.load_state_dict(ours.attention.center.state_dict())
    theirs.lin_edge.load_state_dict(ours.attention.edge.state_dict())
    theirs.res.load_state_dict(ours.residual.state_dict())
    with torch.no_grad():
        theirs.att.copy_(ours.attention.attention[None])
    torch.testing.assert_close(ours(x, edge_index, edges), theirs(x, edge_index, edges), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layer", [TransformerConv, ResidualGATv2])
def test_heads_must_divide_the_width(layer: type[nn.Module]) -> None:
    with pytest.raises(InputError, match=rf"{layer.__name__} has 8 heads, which do not divide the width 12"):
        OptiMetal2B(12, message_passing=layer)  # type: ignore[arg-type]


def test_graph_layer_norm_equals_pyg() -> None:
    x, batch = torch.randn(7, 4) * 3 + 1, torch.tensor([0, 0, 0, 1, 2, 2, 2])
    ours, theirs = GraphLayerNorm(4), pyg.LayerNorm(4, mode="graph")
    nn.init.normal_(ours.weight)
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(x, batch, 3), theirs(x, batch), rtol=1e-10, atol=1e-10)


def test_poolings_equal_loops() -> None:
    x, batch = torch.randn(6, 4), torch.tensor([0, 0, 0, 1, 1, 2])
    mean, attention, scalar = MeanPooling(4), VectorAttentionPooling(4), ScalarAttentionPooling(4)
    for crystal in range(3):
        rows = x[batch == crystal]
        torch.testing.assert_close(mean(x, batch, 3)[crystal], rows.mean(0))
        weights = torch.softmax(attention.attention(rows), dim=0)
        torch.testing.assert_close(attention(x, batch, 3)[crystal], (weights * rows).sum(0))
        weights = torch.softmax(scalar.attention(rows), dim=0)
        torch.testing.assert_close(scalar(x, batch, 3)[crystal], (weights * rows).sum(0))


def test_set2set_equals_pyg() -> None:
    x, batch = torch.randn(6, 4), torch.tensor([0, 0, 0, 1, 1, 2])
    ours, theirs = Set2SetPooling(4, steps=3), pyg.aggr.Set2Set(4, processing_steps=3)
    with torch.no_grad():
        for name, parameter in ours.cell.named_parameters():
            getattr(theirs.lstm, f"{name}_l0").copy_(parameter)
    torch.testing.assert_close(ours(x, batch, 3), ours.projection(theirs(x, batch)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("pooling", [MeanPooling, ScalarAttentionPooling, VectorAttentionPooling, Set2SetPooling])
def test_pooling_is_intensive_and_blind_to_order_and_batch(pooling: type[Pooling]) -> None:
    layer, x = pooling(4), torch.randn(5, 4, requires_grad=True)
    alone = layer(x, torch.zeros(5, dtype=torch.long), 1)
    tripled = layer(x.repeat(3, 1), torch.zeros(15, dtype=torch.long), 1)
    shuffled = layer(x[[3, 1, 4, 0, 2]], torch.zeros(5, dtype=torch.long), 1)
    batched = layer(torch.cat([torch.randn(2, 4), x]), torch.tensor([0] * 2 + [1] * 5), 2)[1:]
    for other in (tripled, shuffled, batched):
        torch.testing.assert_close(other, alone, rtol=1e-10, atol=1e-10)
    alone.sum().backward()
    assert x.grad is not None
    assert all(p.grad is not None for p in layer.parameters())


def test_gaussians_and_envelope_are_their_closed_forms() -> None:
    r = torch.tensor([0.7, 2.0, 5.4, 5.5, 6.0])
    basis = GaussianBasis(5.5, 32, width=4.0, envelope_exponent=None)(r)
    spacing = 5.5 / 31
    expected = np.exp(-0.5 * ((r.numpy()[:, None] - np.arange(32) * spacing) / (4 * spacing)) ** 2)
    np.testing.assert_allclose(basis.numpy(), expected, rtol=1e-12)
    u = r / 5.5
    envelope = 1 - 15 * u**4 + 24 * u**5 - 10 * u**6
    expected_envelope = torch.where(u < 1, envelope, 0.0)
    torch.testing.assert_close(polynomial_envelope(u, 4), expected_envelope, rtol=1e-10, atol=1e-13)
    faded = GaussianBasis(5.5, 32, width=4.0, envelope_exponent=4)(r)
    torch.testing.assert_close(faded, basis * expected_envelope[:, None], rtol=1e-10, atol=1e-13)
    assert (faded[3:] == 0).all()


def test_bessel_basis_is_the_spherical_bessel_function_of_scipy() -> None:
    r = torch.linspace(0.3, 5.4, 40)
    features = BesselBasis(5.5, 6, envelope_exponent=None)(r).detach().numpy()
    for n in range(1, 7):
        k = n * np.pi / 5.5
        np.testing.assert_allclose(
            features[:, n - 1], np.sqrt(2 / 5.5) * k * spherical_jn(0, k * r.numpy()), rtol=1e-10, atol=1e-12
        )
    assert not list(BesselBasis(5.5).parameters()) and len(list(BesselBasis(5.5, trainable=True).parameters())) == 1


def test_atom_embedding_has_a_vector_per_element() -> None:
    embedding = AtomEmbedding(7)
    torch.testing.assert_close(embedding(torch.tensor([1, 83])), embedding.vectors.weight[[0, 82]])


def test_envelope_is_smooth_at_the_cutoff() -> None:
    u = torch.tensor([1 - 1e-6], requires_grad=True)
    (slope,) = torch.autograd.grad(polynomial_envelope(u, 4).sum(), u, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), u)
    assert abs(slope.item()) < 1e-9 and abs(curvature.item()) < 1e-3


def test_groups_and_periods_equal_pymatgen() -> None:
    from pymatgen.core import Element

    for number in range(1, 84):
        element = Element.from_Z(number)
        group = 3 if 57 <= number <= 71 else element.group
        assert group_and_period(number) == (group, element.row if number < 57 or number > 71 else 6)
    features = GroupPeriodEmbedding()(torch.tensor([29]))
    assert features.nonzero()[:, 1].tolist() == [10, 18 + 3]


def test_impossible_basis_is_refused() -> None:
    with pytest.raises(InputError, match="num_basis is 1"):
        GaussianBasis(5.5, 1)
