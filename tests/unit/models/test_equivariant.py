"""Equivariant backbones: poles, the cutoff, empty batches, the reference product, compilation, and what is refused."""

import os
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from e3nn import o3

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.models.backbones import ESCN, ClebschGordan, Goten
from dielectric_gnn.models.backbones.cg import TensorProduct, paths_to
from dielectric_gnn.models.backbones.equivariant import EquivariantBackbone
from dielectric_gnn.models.backbones.escn import components_by_order
from dielectric_gnn.models.backbones.goten import LOGIT_CAP, smooth_cutoff_softmax
from dielectric_gnn.models.fused.padded_segments import PaddedSegments
from dielectric_gnn.models.fused.paired_frames import PairedFrames
from dielectric_gnn.models.layers.embedding import AtomEmbedding
from dielectric_gnn.models.layers.equivariant_edges import MESSAGE_SCALE, Edges
from dielectric_gnn.models.layers.radial import BesselBasis, GaussianBasis
from dielectric_gnn.models.layers.so3 import spherical_harmonics
from dielectric_gnn.models.layers.wigner import WignerD, edge_frames
from dielectric_gnn.testing import crystal, graph_of, sample_crystals
from dielectric_gnn.utils.errors import InputError

BUILDERS = {
    "goten": partial(Goten, width=16),
    "escn": partial(ESCN, width=8),
    "escn-chiral": partial(ESCN, width=8, chiral=True),
    "cg": partial(ClebschGordan, width=8),
}


@pytest.fixture(params=BUILDERS)
def backbone(request: pytest.FixtureRequest, float64: None) -> EquivariantBackbone:
    torch.manual_seed(0)
    return BUILDERS[request.param](tensors=True, l_max=3).eval()


def flat(backbone: EquivariantBackbone, graph: CrystalGraph) -> torch.Tensor:
    features = backbone(graph)
    assert features.tensors is not None
    return torch.cat([features.scalars.flatten(), features.tensors.flatten()])


def test_edges_along_the_axes(backbone: EquivariantBackbone) -> None:
    """Simple cubic polonium, here bismuth: six neighbours exactly along ±x, ±y, ±z."""
    graph = graph_of([crystal("cubic", (3.35 * np.eye(3)).tolist(), [83], [[0, 0, 0]])], 5.5)
    axial = (graph.edge_vectors == 0).sum(dim=1) == 2
    assert axial.sum() == 6
    vectors = graph.edge_vectors.clone().requires_grad_()
    out = flat(backbone, replace(graph, edge_vectors=vectors))
    (out * torch.linspace(0.5, 1.5, out.numel())).sum().backward()
    assert out.isfinite().all()
    assert vectors.grad is not None and vectors.grad[axial].isfinite().all() and vectors.grad[axial].abs().min() < 1e3
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())


def dimer(distance: float) -> CrystalRecord:
    return crystal(
        "dimer", (40 * np.eye(3)).tolist(), [29, 47], [[0, 0, 0], [0.6 * distance / 40, 0, 0.8 * distance / 40]]
    )


def shells(distance: float) -> CrystalRecord:
    """fcc copper whose third shell, 24 of 42 neighbours, is at this distance."""
    half = distance / 6**0.5
    return crystal("fcc", [[0, half, half], [half, 0, half], [half, half, 0]], [29], [[0, 0, 0]])


@pytest.mark.parametrize("build", [dimer, shells])
def test_nothing_jumps_when_neighbours_cross_the_cutoff(backbone: EquivariantBackbone, build) -> None:
    distances = [5.5 - 1e-9, 5.5 + 1e-9, *np.arange(5.3, 5.7, 0.005)]
    with torch.no_grad():
        features = backbone(graph_of([build(r) for r in distances], 5.5))
    both = torch.cat([features.scalars[:, None], features.tensors], dim=1)
    inside, outside, *steps = both.view(len(distances), -1)
    scale = both.abs().max()
    assert (inside - outside).abs().max() < 1e-8 * scale
    slopes = torch.stack(steps).diff(dim=0).abs() / 0.005
    assert slopes.max() < 5 * scale
    if build is dimer:
        assert slopes[45:].max() < 1e-9, "two lonely atoms do not change"


def test_derivative_vanishes_towards_the_cutoff(backbone: EquivariantBackbone) -> None:
    gradients = []
    for distance in (4.5, 5.5 - 1e-4):
        graph = graph_of([dimer(distance)], 5.5)
        vectors = graph.edge_vectors.clone().requires_grad_()
        backbone(replace(graph, edge_vectors=vectors)).scalars.square().cumsum(1).sum().backward()
        assert vectors.grad is not None
        gradients.append(vectors.grad.abs().max())
    assert 0 < gradients[1] < 1e-5 * gradients[0]


def test_batch_without_edges(backbone: EquivariantBackbone) -> None:
    lonely = [crystal(str(z), (20 * np.eye(3)).tolist(), [z], [[0, 0, 0]]) for z in (1, 83)]
    graph = graph_of(lonely, 5.5)
    assert graph.edge_index.shape == (2, 0)
    features = backbone(graph)
    features.scalars.sum().backward()
    assert features.scalars.isfinite().all() and features.tensors is not None
    assert torch.equal(features.tensors, torch.zeros_like(features.tensors))


@pytest.mark.parametrize("tensors", [False, True])
@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.usefixtures("float64")
def test_every_parameter_matters(name: str, tensors: bool) -> None:
    """The gradient of no parameter is zero, and the state holds parameters only."""
    backbone = BUILDERS[name](l_max=3, tensors=tensors)
    features = backbone(graph_of(sample_crystals(), 5.5))
    loss = features.scalars.square().cumsum(1).sum()
    if features.tensors is not None:
        loss = loss + features.tensors.square().cumsum(2).sum()
    loss.backward()
    idle = [n for n, p in backbone.named_parameters() if p.grad is None or p.grad.abs().max() == 0]
    assert not idle
    assert set(backbone.state_dict()) == {n for n, _ in backbone.named_parameters()}


@pytest.mark.parametrize("l_max", [1, 2, 3])
@pytest.mark.usefixtures("float64")
def test_product_equals_e3nn(l_max: int) -> None:
    width, edges = 5, 7
    paths = [(l1, l2, l3) for l3 in range(l_max + 1) for l1, l2 in paths_to(l3, l_max)]
    parity = {degree: "eo"[degree % 2] for degree in range(l_max + 1)}
    reference = o3.TensorProduct(
        [(width, (degree, (-1) ** degree)) for degree in range(l_max + 1)],
        [(1, (degree, (-1) ** degree)) for degree in range(l_max + 1)],
        "+".join(f"{width}x{l3}{parity[l3]}" for _, _, l3 in paths),
        [(l1, l2, place, "uvu", True) for place, (l1, l2, _) in enumerate(paths)],
        shared_weights=False,
    )
    torch.manual_seed(0)
    x, weights = torch.randn(edges, (l_max + 1) ** 2, width), torch.randn(edges, len(paths) * width)
    harmonics = spherical_harmonics(torch.nn.functional.normalize(torch.randn(edges, 3)), l_max)
    # e3nn keeps the components of a degree together for each channel; here channels come last.
    blocks = [x[:, degree**2 : (degree + 1) ** 2].mT.flatten(1) for degree in range(l_max + 1)]
    expected = torch.zeros_like(x)
    flat_out = reference(torch.cat(blocks, dim=1), harmonics, weights)
    for (_, _, l3), part in zip(paths, flat_out.split([width * (2 * l3 + 1) for *_, l3 in paths], dim=1), strict=True):
        count = len(paths_to(l3, l_max))
        expected[:, l3**2 : (l3 + 1) ** 2] += part.view(edges, width, 2 * l3 + 1).mT / count**0.5
    product = TensorProduct(l_max)
    weight_of = dict(zip(paths, weights.view(edges, len(paths), width).unbind(1), strict=True))
    factors = [
        torch.cat(
            [
                harmonics[:, l2**2 : (l2 + 1) ** 2, None] * weight_of[l1, l2, l3][:, None]
                for l1, l3 in product.paths[l2]
            ],
            dim=2,
        )
        for l2 in range(l_max + 1)
    ]
    value = product(x, factors)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.usefixtures("float64")
def test_blocks_sum_like_the_rows(size: int) -> None:
    torch.manual_seed(0)
    segment = torch.tensor([1] * 9 + [2] * 3 + [5])
    blocks = PaddedSegments.from_segment(segment, 7, size)
    weights, values = torch.randn(13, 4), torch.randn(13, 5)
    assert torch.equal(blocks.unpad(blocks.pad(values).flatten(0, 1)), values)
    expected = torch.zeros(7, 4, 5).index_add(0, segment, weights[:, :, None] * values[:, None])
    torch.testing.assert_close(blocks.weighted_sum(blocks.pad(weights), values), expected)


def layer_and_edges(name: str) -> tuple[torch.nn.Module, torch.Tensor, Edges]:
    """The first layer of a backbone, random features and the edges of four crystals."""
    torch.manual_seed(0)
    backbone = BUILDERS[name]()
    graph = graph_of(sample_crystals(), 5.5)
    with torch.no_grad():
        edges = backbone.edge_encoder(graph, torch.randn(graph.num_atoms, backbone.scalar_dim))
    return backbone.layers[0], torch.randn(graph.num_atoms, 9, backbone.scalar_dim), edges


@pytest.mark.usefixtures("float64")
def test_edges_of_a_pair_share_their_atoms() -> None:
    _, _, edges = layer_and_edges("goten")
    pairs = edges.pairs
    assert torch.equal(pairs.source[pairs.of_edge], edges.source) and pairs.of_edge.diff().min() >= 0
    assert torch.equal(pairs.target[pairs.of_edge], edges.target)
    assert pairs.count == len({*zip(edges.source.tolist(), edges.target.tolist(), strict=True)}) < len(edges.source) / 5


@torch.no_grad()
@pytest.mark.usefixtures("float64")
def test_attention_equals_its_formula() -> None:
    """Edge by edge, without blocks and pairs."""
    layer, x, edges = layer_and_edges("goten")
    attention = layer.attention
    normed = attention.norm(x)
    scalars = attention.edge_scalars(normed[:, 0], edges)
    first = torch.zeros_like(x).index_add(0, edges.source, edges.harmonics[:, :, None] * scalars[:, None])
    weights = (attention.tensor(scalars) * edges.envelope).unflatten(1, (2, -1))[:, [0, 0, 0, 1, 1, 1, 1, 1]]
    second = torch.zeros_like(x[:, 1:]).index_add(0, edges.source, weights * normed[edges.target, 1:])
    expected = x + attention.harmonic(first) + torch.nn.functional.pad(second, (0, 0, 1, 0))
    torch.testing.assert_close(attention(x, edges), expected, rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("name", ["escn", "escn-chiral"])
@pytest.mark.usefixtures("float64")
def test_so2_convolution_equals_its_formula(name: str) -> None:
    """Edge by edge, in e3nn's order but for the maps in the frame."""
    layer, x, edges = layer_and_edges(name)
    convolution, rotations, width = layer.convolution, WignerD(2)(edge_frames(edges.directions)), x.shape[2] // 2
    order = torch.tensor([degree * (degree + 1) + m for degree, m in components_by_order(2)])
    both = convolution.of_source(convolution.norm(x))[edges.source]
    both = both + convolution.of_target(convolution.norm(x))[edges.target]
    turned = (rotations @ both)[:, order]
    zero = turned[:, :3].flatten(1) * convolution.radial(edges.state)
    gates = (convolution.gates(zero).sigmoid() * convolution.gate_radial(edges.state)).unflatten(1, (3, width))
    hidden = convolution.first([zero[:, None], turned[:, 3:7].reshape(-1, 2, 2 * width), turned[:, 7:]])
    hidden = [torch.nn.functional.silu(hidden[0]), hidden[1] * gates[:, None, :2].flatten(2), hidden[2] * gates[:, 2:]]
    messages = torch.cat([block.reshape(len(both), -1, width) for block in convolution.second(hidden)], dim=1)
    back = (rotations.mT @ messages[:, order.argsort()]) * edges.envelope[:, :, None]
    sums = torch.zeros(len(x), 9, width).index_add(0, edges.source, back)
    frames = PairedFrames(edges, rotations, order, [3, 4, 2])
    expected = x + convolution.out(sums * MESSAGE_SCALE)
    torch.testing.assert_close(convolution(x, edges, frames), expected, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_smooth_cutoff_softmax() -> None:
    logits = torch.tensor([[0.3], [-1.0], [2.0], [900.0]])
    envelope, segment = torch.tensor([[1.0], [0.5], [0.0], [0.1]]), torch.tensor([0, 0, 0, 2])
    weights = smooth_cutoff_softmax(logits, envelope, segment, 3)
    capped = (LOGIT_CAP * (logits / LOGIT_CAP).tanh()).exp()
    raw = envelope[:3] * capped[:3]
    torch.testing.assert_close(weights[:3], capped[:3] / (1 + raw.sum()))
    torch.testing.assert_close(weights[3], capped[3] / (1 + 0.1 * capped[3]))


@pytest.mark.parametrize("name", BUILDERS)
def test_one_graph_for_the_compiler(name: str) -> None:
    """No graph break, and the same trace serves batches of other sizes."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    backbone = BUILDERS[name](tensors=True)
    compiled = torch.compile(backbone, dynamic=True, fullgraph=True, backend="eager")
    for records, stance in ((sample_crystals(), "default"), (sample_crystals()[1:], "fail_on_recompile")):
        graph = graph_of(records, 5.5, torch.float32)
        with torch.compiler.set_stance(stance):
            torch.testing.assert_close(compiled(graph).tensors, backbone(graph).tensors, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="needs a C++ compiler")
def test_compiled_code_computes_the_same() -> None:
    """The default network alone, as small as possible: each takes tens of seconds to compile."""
    torch._dynamo.reset()
    torch.manual_seed(0)
    backbone = Goten(width=16, l_max=1, num_layers=1)
    compiled = torch.compile(backbone, dynamic=True, fullgraph=True, backend="inductor")
    graph = graph_of(sample_crystals(), 5.5, torch.float32)
    with torch.no_grad():
        torch.testing.assert_close(compiled(graph).scalars, backbone(graph).scalars, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BUILDERS)
def test_half_precision_stays_close(name: str) -> None:
    torch.manual_seed(0)
    backbone = BUILDERS[name](tensors=True)
    graph = graph_of(sample_crystals(), 5.5, torch.float32)
    exact = backbone(graph)
    with torch.autocast("cpu", torch.bfloat16):
        rough = backbone(graph)
    for value, expected in ((rough.scalars, exact.scalars), (rough.tensors, exact.tensors)):
        assert value.dtype == torch.float32
        assert (value - expected).abs().max() < 0.05 * expected.abs().max()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (partial(ESCN, l_max=1, tensors=True), "ESCN.*tensors.*l_max is 1"),
        (partial(Goten, l_max=4), "Goten: l_max is 4, expected 1 to 3"),
        (
            partial(Goten, width=20),
            "Goten has 8 heads, which do not divide its width 20; give heads that do, such as 4",
        ),
        (partial(ClebschGordan, num_layers=0), "ClebschGordan has num_layers 0, expected at least 1"),
        (partial(Goten, edge_embedding=partial(GaussianBasis, envelope_exponent=None)), "GaussianBasis has envelope"),
        (partial(ESCN, width=0), "width 0"),
        (partial(ESCN, edge_width=0), "ESCN has edge_width 0, expected at least 1"),
    ],
)
def test_what_cannot_work_is_refused(build: partial[EquivariantBackbone], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()


def test_other_bases_fit() -> None:
    backbone = Goten(width=16, edge_embedding=partial(BesselBasis, num_basis=4))
    assert backbone(graph_of(sample_crystals(), 5.5, torch.float32)).scalars.isfinite().all()


@pytest.mark.parametrize("name", BUILDERS)
def test_elements_may_be_embedded_otherwise(name: str) -> None:
    backbone = BUILDERS[name](node_embedding=partial(AtomEmbedding, 5))
    assert backbone.node_embedding.vectors.weight.shape == (83, 5)
    assert backbone(graph_of(sample_crystals(), 5.5, torch.float32)).scalars.isfinite().all()
