"""Models under the names of the study's modules, from torch_geometric layers: what its trained weights are saved from.

Written from the names and options of the study's files. Parameters are random; only names, shapes and what each layer
computes matter.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.models.layers.angle_basis import AngleBasis
from dielectric_gnn.models.layers.embedding import GroupPeriodEmbedding
from dielectric_gnn.models.layers.radial import BesselBasis, GaussianBasis
from dielectric_gnn.models.layers.triplets import Triplets

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch_geometric compiles with TorchScript when imported
    import torch_geometric.nn as pyg
    from torch_geometric.utils import softmax

NUM_ENERGIES = 2001


def mlp(dims: list[int], activation: str) -> nn.Module:
    return pyg.MLP(dims, act=activation, plain_last=True)


def layer(options: dict[str, Any], width: int) -> nn.Module:
    if options["type"] == "cgconv":
        return pyg.CGConv(width, width, aggr="add")
    heads = options["heads"]
    if options["type"] == "transformer":
        return pyg.TransformerConv(width, width // heads, heads=heads, edge_dim=width, beta=True)
    return pyg.GATv2Conv(width, width // heads, heads=heads, add_self_loops=False, edge_dim=width, residual=True)


class Block(nn.Module):
    """Layers of message passing, MLP and norm; alone with `plain`."""

    def __init__(self, options: dict[str, Any], width: int, activation: str) -> None:
        super().__init__()
        expansion = options.get("hidden_multiplier", 4)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "conv": layer(options, width),
                    "mlp": mlp([width, expansion * width, width], activation),
                    "norm": pyg.LayerNorm(width, mode="graph"),
                }
            )
            for _ in range(options.get("num_layers", 1))
        )

    def forward(self, x: Tensor, batch: Tensor, links: Tensor, features: Tensor) -> Tensor:
        for parts in self.layers:
            x = parts["conv"](x, links, features)
            x = parts["norm"](x + parts["mlp"](x), batch)
        return x


class VectorAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = mlp([width, width], "relu")

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        return pyg.global_add_pool(x * softmax(self.mlp(x), index=index), index)


class Set2Set(nn.Module):
    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        self.pooling = pyg.Set2Set(width, processing_steps=steps)
        self.proj = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        return self.proj(self.pooling(x, index))


def pooling(options: dict[str, Any], width: int) -> nn.Module:
    kind = options["type"]
    if kind == "mean":
        return pyg.MeanAggregation()
    if kind == "scalar_attention":
        return pyg.AttentionalAggregation(gate_nn=mlp([width, 1], "relu"))
    return VectorAttention(width) if kind == "vector_attention" else Set2Set(width, options["processing_steps"])


class Embeddings(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(83, dim)
        self.dim = dim

    def forward(self, numbers: Tensor) -> Tensor:
        return self.embeddings(numbers - 1)


class Bessel(nn.Module):
    def __init__(self, options: dict[str, Any], cutoff: float) -> None:
        super().__init__()
        exponent = options.get("envelope_exp", 4) if options.get("apply_envelope") else None
        basis = BesselBasis(cutoff, options["num_basis"], bool(options.get("trainable")), exponent)
        self.dim = basis.dim
        if options.get("trainable"):
            self.bessel_weights = nn.Parameter(basis.wave_numbers.detach() * 1.05)
        else:
            self.register_buffer("bessel_weights", basis.wave_numbers)
        self._basis = [basis]

    def forward(self, lengths: Tensor) -> Tensor:
        (basis,) = self._basis
        if isinstance(self.bessel_weights, nn.Parameter):
            basis.wave_numbers = self.bessel_weights
        return basis.to(lengths)(lengths)


def edge_basis(options: dict[str, Any], cutoff: float) -> nn.Module:
    if options["type"] == "bessel":
        return Bessel(options, cutoff)
    exponent = options.get("envelope_exp", 4) if options.get("apply_envelope") else None
    return GaussianBasis(cutoff, options["num_basis"], options.get("basis_width", 2.0), exponent)


class Angles(nn.Module):
    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.basis = AngleBasis(l_max)
        for degree in range(5):
            self.register_buffer(f"c{degree}", torch.tensor(0.0))


class PublishedModel(nn.Module):
    """A model of the study's options, all given."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        width, depth, act = options["hidden_dim"], options["depth"], options["activation"]
        nodes, hidden = options["node_embedding_dict"], [width] * (depth + 1)
        self.kind = options["type"]
        self.node_embedding = Embeddings(nodes["embedding_dim"]) if nodes["type"] == "atom" else GroupPeriodEmbedding()
        self.edge_embedding = edge_basis(options["edge_embedding_dict"], 5.5)
        self.node_mlp = mlp([self.node_embedding.dim, *hidden], act)
        self.edge_mlp = mlp([self.edge_embedding.dim, *hidden], act)
        if self.kind == "optimetal_3b":
            triplets = options["triplet_block_dict"]
            self.angle_embedding = Angles(options["angle_embedding_dict"]["l_max"])
            self.angle_mlp = mlp([self.angle_embedding.basis.dim, *hidden], act)
            self.triplet_block = nn.ModuleDict(
                {"layers": nn.ModuleList(triplet_layer(triplets, width, act) for _ in range(triplets["num_layers"]))}
            )
        elif self.kind == "optimetal_2b":
            self.mp_block = Block(options["message_passing_dict"], width, act)
        else:
            passing = options["message_passing_dict"]
            self.mp_block = nn.ModuleList(layer(passing, width) for _ in range(passing["num_layers"]))
        self.pooling = pooling(options["pooling_dict"], width)
        self.spectra_mlp = mlp([width, *[options["spectra_dim"]] * depth, 2 * NUM_ENERGIES], act)
        self.drude_mlp = mlp([width, *[width] * depth, 1], act)

    def forward(self, graph: CrystalGraph) -> tuple[Tensor, Tensor]:
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers))
        edges = self.edge_mlp(self.edge_embedding(graph.edge_lengths))
        if self.kind == "optimetal_3b":
            x = self.triplets(x, edges, graph)
        elif self.kind == "optimetal_2b":
            x = self.mp_block(x, graph.batch, graph.edge_index, edges)
        else:
            for conv in self.mp_block:
                x = conv(x, graph.edge_index, edges)
        x = self.pooling(x, graph.batch)
        return self.spectra_mlp(x).view(-1, NUM_ENERGIES, 2), self.drude_mlp(x).relu().squeeze(1)

    def triplets(self, x: Tensor, edges: Tensor, graph: CrystalGraph) -> Tensor:
        found = Triplets.from_graph(graph, 4.0)
        angles = self.angle_mlp(self.angle_embedding.basis(found.cosines))
        of_edge = graph.batch[graph.edge_index[0]]
        for parts in self.triplet_block["layers"]:
            ends = torch.cat([x[graph.edge_index[0]], x[graph.edge_index[1]], edges], dim=1)
            edges = parts["edge_norm"](edges + parts["node_edge_mlp"](ends), of_edge)
            members = torch.cat([edges[found.pairs[0]], edges[found.pairs[1]], angles], dim=1)
            angles = parts["angle_norm"](angles + parts["edge_angle_mlp"](members), found.batch)
            edges = parts["edge_graph_mp"](edges, of_edge, found.pairs, angles)
            x = parts["node_graph_mp"](x, graph.batch, graph.edge_index, edges)
        return x


def triplet_layer(options: dict[str, Any], width: int, activation: str) -> nn.ModuleDict:
    return nn.ModuleDict(
        {
            "node_edge_mlp": mlp([3 * width, width], activation),
            "edge_norm": pyg.LayerNorm(width, mode="graph"),
            "edge_angle_mlp": mlp([3 * width, width], activation),
            "angle_norm": pyg.LayerNorm(width, mode="graph"),
            "edge_graph_mp": Block(options["edge_graph_mp_dict"], width, activation),
            "node_graph_mp": Block(options["node_graph_mp_dict"], width, activation),
        }
    )


class PublishedOptiMate(nn.Module):
    """The first model of the family."""

    def __init__(self) -> None:
        super().__init__()
        self.node_embedding = GroupPeriodEmbedding()
        self.edge_embedding = GaussianBasis(5.5, 56, 2.0, None)
        self.node_mlp = mlp([24, 48, 48], "relu")
        self.gat_mp_1 = pyg.GATv2Conv(48, 48, heads=4, add_self_loops=False, edge_dim=56)
        self.gat_mp_2 = pyg.GATv2Conv(192, 96, heads=4, add_self_loops=False, edge_dim=56)
        self.pooling = VectorAttention(384)
        self.mlp_eps_imag = mlp([384, 1024, 1024, 1024, NUM_ENERGIES], "relu")

    def forward(self, graph: CrystalGraph) -> Tensor:
        edges = self.edge_embedding(graph.edge_lengths)
        x = self.node_mlp(self.node_embedding(graph.atomic_numbers))
        x = self.gat_mp_2(self.gat_mp_1(x, graph.edge_index, edges), graph.edge_index, edges)
        return nn.functional.leaky_relu(self.mlp_eps_imag(self.pooling(x, graph.batch)))


def save(model: nn.Module, architecture: dict[str, Any], path: Path, **options: Any) -> None:
    """As the study's trainer does, with its options as a plain dictionary in place of the instance of its class."""
    configuration = {"architecture": architecture, "seed": 1, "batch_size": 256, "num_train_data": 20000, **options}
    content = {"epoch": 3, "model_state_dict": model.state_dict(), "config_dict": configuration, "precision": None}
    torch.save(content, path)
