"""The published models built from stock layers of torch_geometric, with the weights of a backbone of this package.

Written from the description of the study: links are rows of source and target, and PyG collects at the target. Only
the embeddings, the head and the list of three-body pairs are those of the package. Tests and benchmarks compare with
it.
"""

from __future__ import annotations

import warnings
from copy import deepcopy

import torch
from torch import Tensor, nn

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.models.backbones import AtomFeatures, Backbone, OptiMate, OptiMetal2B, OptiMetal3B
from dielectric_gnn.models.layers.interaction import InteractionBlock
from dielectric_gnn.models.layers.message_passing import CGConv, GATv2Conv, MessagePassing, TransformerConv
from dielectric_gnn.models.layers.mlp import MLP
from dielectric_gnn.models.layers.norm import GraphLayerNorm
from dielectric_gnn.models.layers.triplet_layer import PairUpdate, TripletLayer
from dielectric_gnn.models.layers.triplets import Triplets

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch_geometric compiles with TorchScript when imported
    import torch_geometric.nn as pyg

PYG_NAMES = {
    "filter": "lin_f",
    "core": "lin_s",
    "query": "lin_query",
    "key": "lin_key",
    "value": "lin_value",
    "edge": "lin_edge",
    "skip": "lin_skip",
    "gate": "lin_beta",
}
"""Names of our linear layers in the stock layers."""


def pyg_linear(source: nn.Linear) -> nn.Linear:
    """The same linear layer, with its own copy of the weights."""
    linear = nn.Linear(source.in_features, source.out_features, bias=source.bias is not None)
    linear.load_state_dict(source.state_dict())
    return linear.to(source.weight)


def pyg_mlp(source: MLP) -> nn.Module:
    """`torch_geometric.nn.MLP` with the weights and running statistics of ours."""
    linears = [layer for layer in source.layers if isinstance(layer, nn.Linear)]
    norms = [layer for layer in source.layers if isinstance(layer, nn.BatchNorm1d)]
    mlp = pyg.MLP([linears[0].in_features, *(linear.out_features for linear in linears)])
    for ours, theirs in zip(linears, mlp.lins, strict=True):
        theirs.load_state_dict(ours.state_dict())
    for norm, theirs in zip(norms, mlp.norms, strict=True):
        theirs.module.load_state_dict(norm.state_dict())
    return mlp.to(linears[0].weight)


def pyg_norm(source: GraphLayerNorm) -> nn.Module:
    """`torch_geometric.nn.LayerNorm(mode="graph")`."""
    norm = pyg.LayerNorm(source.weight.shape[0], eps=source.eps, mode="graph")
    norm.load_state_dict(source.state_dict())
    return norm.to(source.weight)


def pyg_conv(source: MessagePassing) -> nn.Module:
    """The stock layer of PyG."""
    if isinstance(source, CGConv):
        conv = pyg.CGConv(source.dim, source.edge_dim, aggr="add")
    else:
        if not isinstance(source, TransformerConv):
            raise TypeError(f"{type(source).__name__} has no counterpart here, expected CGConv or TransformerConv")
        width = source.dim // source.heads
        conv = pyg.TransformerConv(source.dim, width, heads=source.heads, edge_dim=source.edge_dim, beta=True)
    for name, linear in source.named_children():
        getattr(conv, PYG_NAMES[name]).load_state_dict(linear.state_dict())
    return conv.to(next(source.parameters()))


class PyGBlock(nn.Module):
    """Message passing, residual MLP, graph layer norm."""

    def __init__(self, source: InteractionBlock) -> None:
        super().__init__()
        self.conv = pyg_conv(source.conv)
        self.mlp = pyg_mlp(source.mlp)
        self.norm = pyg_norm(source.norm)

    def forward(self, x: Tensor, links: Tensor, edges: Tensor, batch: Tensor, num_crystals: int) -> Tensor:
        """Atom features of the next block."""
        x = self.conv(x, links, edges)
        x = x + self.mlp(x)
        return self.norm(x, batch, num_crystals)


class PyGPairUpdate(nn.Module):
    """f ← LayerNorm(f + W [x_a, x_b, f] + b), from the concatenation."""

    def __init__(self, source: PairUpdate) -> None:
        super().__init__()
        self.linear = pyg_linear(source.linear)
        self.norm = pyg_norm(source.norm)

    def forward(self, features: Tensor, members: Tensor, pairs: Tensor, batch: Tensor, num_crystals: int) -> Tensor:
        """Updated features of the pairs."""
        joined = torch.cat([members[pairs[0]], members[pairs[1]], features], dim=1)
        return self.norm(features + self.linear(joined), batch, num_crystals)


class PyGTripletLayer(nn.Module):
    """One layer of the three-body model."""

    def __init__(self, source: TripletLayer) -> None:
        super().__init__()
        self.edge_update = PyGPairUpdate(source.edge_update)
        self.angle_update = PyGPairUpdate(source.angle_update)
        self.edge_block = PyGBlock(source.edge_block)
        self.atom_block = PyGBlock(source.atom_block)
        self.angles_at_sender = source.angles_at_sender

    def forward(
        self, x: Tensor, edges: Tensor, angles: Tensor, graph: CrystalGraph, triplets: Triplets
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Features of atoms, edges and angles after the layer."""
        num = graph.num_crystals
        edge_batch = graph.batch[graph.edge_index[0]]
        edges = self.edge_update(edges, x, graph.edge_index, edge_batch, num)
        angles = self.angle_update(angles, edges, triplets.pairs, triplets.batch, num)
        pairs, edge_index = triplets.pairs, graph.edge_index
        if not self.angles_at_sender:
            pairs, edge_index = pairs.flip(0), edge_index.flip(0)
        edges = self.edge_block(edges, pairs, angles, edge_batch, num)
        x = self.atom_block(x, edge_index, edges, graph.batch, num)
        return x, edges, angles


def pyg_gatv2(source: GATv2Conv) -> nn.Module:
    """`torch_geometric.nn.GATv2Conv` without self loops."""
    (heads, width), edge_dim = source.attention.shape, source.edge.in_features
    conv = pyg.GATv2Conv(source.center.in_features, width, heads, edge_dim=edge_dim, add_self_loops=False)
    conv.negative_slope = source.slope
    conv.load_state_dict(
        {
            "att": source.attention[None],
            "bias": source.bias,
            "lin_l.weight": source.neighbour.weight,
            "lin_l.bias": source.neighbour.bias,
            "lin_r.weight": source.center.weight,
            "lin_r.bias": source.center.bias,
            "lin_edge.weight": source.edge.weight,
        }
    )
    return conv.to(source.bias)


class PyGOptiMate(Backbone):
    """`OptiMate` from stock layers, with its own copy of the weights."""

    def __init__(self, source: OptiMate) -> None:
        super().__init__(source.scalar_dim, source.cutoff)
        self.node_embedding, self.edge_embedding = deepcopy(source.node_embedding), deepcopy(source.edge_embedding)
        self.node_mlp = pyg_mlp(source.node_mlp)
        self.first, self.second = pyg_gatv2(source.first), pyg_gatv2(source.second)

    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom."""
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers))
        edges, links = self.edge_embedding(graph.edge_lengths), graph.edge_index.flip(0)
        return AtomFeatures(self.second(self.first(x, links, edges), links, edges))


class PyGOptiMetal2B(Backbone):
    """`OptiMetal2B` from stock layers, with its own copy of the weights."""

    def __init__(self, source: OptiMetal2B) -> None:
        super().__init__(source.scalar_dim, source.cutoff)
        self.node_embedding, self.edge_embedding = deepcopy(source.node_embedding), deepcopy(source.edge_embedding)
        self.node_mlp, self.edge_mlp = pyg_mlp(source.node_mlp), pyg_mlp(source.edge_mlp)
        self.blocks = nn.ModuleList(PyGBlock(block) for block in source.blocks)  # type: ignore[arg-type]

    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom."""
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers))
        edges = self.edge_mlp(self.edge_embedding(graph.edge_lengths))
        for block in self.blocks:
            x = block(x, graph.edge_index, edges, graph.batch, graph.num_crystals)
        return AtomFeatures(x)


class PyGOptiMetal3B(Backbone):
    """`OptiMetal3B` from stock layers, with its own copy of the weights."""

    def __init__(self, source: OptiMetal3B) -> None:
        super().__init__(source.scalar_dim, source.cutoff)
        self.node_embedding, self.edge_embedding = deepcopy(source.node_embedding), deepcopy(source.edge_embedding)
        self.angle_embedding, self.three_body_cutoff = deepcopy(source.angle_embedding), source.three_body_cutoff
        self.node_mlp, self.edge_mlp = pyg_mlp(source.node_mlp), pyg_mlp(source.edge_mlp)
        self.angle_mlp = pyg_mlp(source.angle_mlp)
        self.layers = nn.ModuleList(PyGTripletLayer(layer) for layer in source.layers)  # type: ignore[arg-type]

    def forward(self, graph: CrystalGraph) -> AtomFeatures:
        """Features of every atom."""
        triplets = Triplets.from_graph(graph, self.three_body_cutoff)
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers))
        edges = self.edge_mlp(self.edge_embedding(graph.edge_lengths))
        angles = self.angle_mlp(self.angle_embedding(triplets.cosines))
        for layer in self.layers:
            x, edges, angles = layer(x, edges, angles, graph, triplets)
        return AtomFeatures(x)


def torch_geometric_form(model: OptiMate | OptiMetal2B | OptiMetal3B) -> Backbone:
    """The same model from stock layers."""
    if isinstance(model, OptiMate):
        return PyGOptiMate(model)
    return PyGOptiMetal3B(model) if isinstance(model, OptiMetal3B) else PyGOptiMetal2B(model)
