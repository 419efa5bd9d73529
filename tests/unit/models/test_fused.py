"""Every backbone with `fused: auto` against the same weights with `fused: off`, in values, gradients and buffers."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.backbones import ESCN, Backbone, ClebschGordan, Goten, OptiMate, OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.fused import gatv2
from dielectric_gnn.models.fused.edge_features import FactoredFeatures, factored_edge_features
from dielectric_gnn.models.layers.fusable import Fusable
from dielectric_gnn.models.layers.message_passing import CGConv, MessagePassing, ResidualGATv2, TransformerConv
from dielectric_gnn.testing import crystal, graph_of, sample_crystals, supercell
from dielectric_gnn.utils.errors import InputError

pytestmark = pytest.mark.usefixtures("float64")
LONE = crystal("lone", [[9.0, 0, 0], [0, 9.1, 0], [0, 0, 9.2]], [19], [[0, 0, 0]])
SPARSE = crystal("sparse", [[5.0, 0, 0], [0, 5.1, 0], [0, 0, 5.2]], [19], [[0, 0, 0]])

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "optimate": OptiMate,
    "2b_cgc": partial(OptiMetal2B, 16),
    "2b_tc": partial(OptiMetal2B, 16, message_passing=TransformerConv),
    "2b_gat": partial(OptiMetal2B, 16, message_passing=ResidualGATv2),
    "2b_silu": partial(OptiMetal2B, 16, activation="silu"),
    "2b_no_residual": partial(OptiMetal2B, 16, residual_blocks=False),
    "3b_tc": partial(OptiMetal3B, 16),
    "3b_cgc": partial(OptiMetal3B, 16, message_passing=CGConv),
    "3b_mixed": partial(OptiMetal3B, 16, edge_message_passing=CGConv),
    "3b_gat": partial(OptiMetal3B, 16, message_passing=ResidualGATv2),
    "3b_at_receiver": partial(OptiMetal3B, 16, angles="at_receiver", three_body_cutoff=3.3),
    "goten": partial(Goten, 16, l_max=3, tensors=True),
    "escn": partial(ESCN, 8, l_max=3, tensors=True),
    "escn_chiral": partial(ESCN, 8, tensors=True, chiral=True),
    "cg": partial(ClebschGordan, 8, l_max=3, tensors=True),
}


@pytest.fixture(autouse=True)
def attention_by_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fused attention of OptiMate for graphs of any size."""
    monkeypatch.setattr(gatv2, "MIN_EDGES", 0)


def full_graph() -> CrystalGraph:
    """Structures of one to four atoms; one without three-body pairs, and one without edges."""
    return graph_of([*sample_crystals(), SPARSE, LONE], 5.5)


def orbit_graph() -> CrystalGraph:
    """Symmetric metals, a supercell, a structure without symmetry, and one without edges."""
    metals = [replace(record, labels=None) for record in list(ExampleMetals(parts=1).records())[::30]]
    records = [*metals, supercell(sample_crystals()[1], (1, 2, 1)), sample_crystals()[3], LONE]
    store = CrystalStore.from_records(records, 5.5, edge_dtype=np.float64, symmetry="orbit")
    return store.gather(range(len(records))).to(dtype=torch.float64)


def both_forms(name: str) -> tuple[Backbone, Backbone]:
    """The fused and the plain form with equal weights; norms have random scales and shifts."""
    torch.manual_seed(0)
    fused = BACKBONES[name]()
    for parameter in fused.parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, 0.7, 0.3)
    plain = BACKBONES[name](fused="off")
    plain.load_state_dict(fused.state_dict())
    return fused, plain


def outputs(backbone: Backbone, graph: CrystalGraph) -> Tensor:
    features = backbone(graph)
    parts = [features.scalars.flatten(), *([] if features.tensors is None else [features.tensors.flatten()])]
    return torch.cat(parts)


def assert_equal_forms(name: str, graph: CrystalGraph) -> None:
    """To 1e-10 of the largest value: outputs and gradients in training, then buffers, then outputs in evaluation."""
    results = []
    for backbone in both_forms(name):
        values = outputs(backbone.train(), graph)
        probe = torch.randn(values.shape, generator=torch.Generator().manual_seed(1))
        gradients = torch.autograd.grad((values * probe).sum(), list(backbone.parameters()))
        buffers = [buffer.detach().clone().double().flatten() for buffer in backbone.buffers()]
        with torch.no_grad():
            evaluated = outputs(backbone.eval(), graph)
        results.append([values.detach(), evaluated, torch.cat([g.flatten() for g in gradients]), *buffers])
    for fused, plain in zip(*results, strict=True):
        scale = float(plain.abs().max()) if plain.numel() else 0.0
        torch.testing.assert_close(fused, plain, rtol=0, atol=1e-10 * max(scale, 1.0))


@pytest.mark.parametrize("name", BACKBONES)
def test_fused_equals_plain_on_full_graphs(name: str) -> None:
    assert_equal_forms(name, full_graph())


@pytest.mark.parametrize("name", [name for name, build in BACKBONES.items() if build().supports_orbits])
def test_fused_equals_plain_on_orbit_graphs(name: str) -> None:
    graph = orbit_graph()
    assert graph.orbits is not None
    assert_equal_forms(name, graph)


@pytest.mark.parametrize("name", BACKBONES)
def test_off_uses_no_fused_form(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No module keeps the fused form, and no features in factors and no custom autograd function are used."""

    def refuse(*_: object) -> None:
        raise AssertionError("a fused form was used")

    monkeypatch.setattr(torch.autograd.Function, "apply", classmethod(refuse))
    monkeypatch.setattr(MessagePassing, "forward_factored", refuse)
    fused, plain = both_forms(name)
    assert all(not part.fused for part in plain.modules() if isinstance(part, Fusable))
    outputs(plain.train(), full_graph())
    if isinstance(fused, OptiMate | OptiMetal2B | OptiMetal3B):  # the check itself fails for the fused form
        with pytest.raises(AssertionError, match="fused form"):
            outputs(fused.train(), full_graph())


def test_form_of_a_loaded_backbone_can_be_changed() -> None:
    backbone = OptiMetal2B(16)
    backbone.set_fused("off")
    assert not backbone.edge_mlp.fused
    backbone.set_fused("auto")
    assert backbone.edge_mlp.fused
    assert backbone.blocks[0].norm.fused


def test_off_in_yaml_may_be_unquoted() -> None:
    """YAML reads `off` as false."""
    parser = ArgumentParser()
    parser.add_subclass_arguments(Backbone, "backbone")
    parser.add_argument("--config", action="config")
    text = "backbone:\n  class_path: dielectric_gnn.models.backbones.OptiMetal2B\n  init_args:\n    fused: {}\n"
    for word, expected in {"off": False, "'off'": False, "auto": True}.items():
        settings = parser.parse_string(text.format(word))
        assert parser.instantiate_classes(settings).backbone.fused is expected


def test_other_options_are_errors() -> None:
    with pytest.raises(InputError, match=r"fused.*'on'.*auto or off"):
        OptiMetal2B(16, fused="on")


class MeanConv(MessagePassing):
    """A layer of a user, which has a plain form only."""

    def forward(self, x: Tensor, edge_index: Tensor, edges: Tensor) -> Tensor:
        receiver, sender = edge_index
        return x + torch.zeros_like(x).index_add(0, receiver, x[sender] * edges)


@pytest.mark.parametrize("build", [OptiMetal2B, OptiMetal3B])
def test_layers_of_users_need_no_fused_form(build: Callable[..., Backbone]) -> None:
    torch.manual_seed(0)
    fused = build(16, message_passing=MeanConv)
    plain = build(16, message_passing=MeanConv, fused="off")
    plain.load_state_dict(fused.state_dict())
    assert not fused.supports_orbits
    graph = full_graph()
    torch.testing.assert_close(outputs(fused, graph), outputs(plain, graph), rtol=1e-10, atol=1e-10)
    for backbone in (fused, plain):
        with pytest.raises(InputError, match=r"MeanConv.*orbit"):
            backbone(orbit_graph())


def test_features_in_factors_are_features() -> None:
    """`to_dense` of the factors is what the plain form computes."""
    backbone, graph = OptiMetal2B(16).eval(), full_graph()
    edges = factored_edge_features(graph, backbone.edge_embedding, backbone.edge_mlp)
    assert isinstance(edges, FactoredFeatures)
    edge_index, features, counts = edges.to_dense()
    assert torch.equal(edge_index, graph.edge_index)
    assert counts is None
    torch.testing.assert_close(features, backbone.edge_mlp(backbone.edge_embedding(graph.edge_lengths)))
