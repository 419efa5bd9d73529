"""Renaming the study's weights to the parameter names of this toolkit."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from dielectric_gnn.utils.errors import InputError

_CONSTANTS = re.compile(
    r"angle_embedding\.c\d|edge_embedding\.(bessel_weights|offset)|\w+\.group_mapping|\w+\.row_mapping"
)
"""Buffers of constants, which this toolkit computes itself."""

_WAVE_NUMBERS = "edge_embedding.bessel_weights"

_MODULES = (
    (r"^node_embedding\.embeddings\.", "backbone.node_embedding.vectors."),
    (r"^edge_embedding\.bessel_weights$", "backbone.edge_embedding.wave_numbers"),
    (r"^(node|edge|angle)_mlp\.", r"backbone.\1_mlp."),
    (r"^gat_mp_1\.", "backbone.first."),
    (r"^gat_mp_2\.", "backbone.second."),
    (r"^mp_block\.layers\.(\d+)\.", r"backbone.blocks.\1."),
    (r"^mp_block\.(\d+)\.", r"backbone.blocks.\1.conv."),
    (r"^triplet_block\.layers\.(\d+)\.node_edge_mlp\.lins\.0\.", r"backbone.layers.\1.edge_update.linear."),
    (r"^triplet_block\.layers\.(\d+)\.edge_angle_mlp\.lins\.0\.", r"backbone.layers.\1.angle_update.linear."),
    (r"^triplet_block\.layers\.(\d+)\.(edge|angle)_norm\.", r"backbone.layers.\1.\2_update.norm."),
    (r"^triplet_block\.layers\.(\d+)\.edge_graph_mp\.layers\.0\.", r"backbone.layers.\1.edge_block."),
    (r"^triplet_block\.layers\.(\d+)\.node_graph_mp\.layers\.0\.", r"backbone.layers.\1.atom_block."),
    (r"^pooling\.(mlp|gate_nn|gate_mlp)\.lins\.0\.", "pooling.attention."),
    (r"^pooling\.pooling\.lstm\.(\w+)_l0$", r"pooling.cell.\1"),
    (r"^pooling\.proj\.", "pooling.projection."),
    (r"^(spectra_mlp|mlp_eps_imag)\.", "head.spectrum_mlp."),
    (r"^drude_mlp\.", "head.drude_mlp."),
)
"""Patterns of module names and their replacements; the first match is applied."""

_LAYERS = {
    "lin_f": "filter",
    "lin_s": "core",
    "lin_query": "query",
    "lin_key": "key",
    "lin_value": "value",
    "lin_edge": "edge",
    "lin_skip": "skip",
    "lin_beta": "gate",
    "lin_l": "neighbour",
    "lin_r": "center",
    "att": "attention",
}
"""Layers of torch_geometric: CGConv, TransformerConv and GATv2Conv."""

_ATTENTION = re.compile(r"(.*\.conv)\.((lin_l|lin_r|lin_edge|att|bias)(\..*)?)")


def rename_weights(weights: Mapping[str, Tensor], trainable_basis: bool = False) -> dict[str, Tensor]:
    """The study's weights under the names of `DielectricModule`.

    Args:
        weights: The state dictionary.
        trainable_basis: Whether the wave numbers of a Bessel basis were trained; otherwise they are constants.

    Raises:
        InputError: A name matches no module of the study.
    """
    placed = {}
    for name, value in weights.items():
        if not _CONSTANTS.fullmatch(name) or (trainable_basis and name == _WAVE_NUMBERS):
            placed[_place(name)] = value
    # ResidualGATv2 has its attention as a submodule.
    residual = {name.removesuffix(".att") for name in placed if name.endswith(".conv.att")}
    found = {}
    for name, value in placed.items():
        match = _ATTENTION.fullmatch(name)
        if match and match[1] in residual:
            name = f"{match[1]}.attention.{match[2]}"
        name = ".".join(_LAYERS.get(part, part) for part in name.split("."))
        # GATv2Conv keeps its attention vectors as (1, heads, channels).
        found[name] = value[0] if name.endswith(".attention") and value.dim() == 3 else value
    return found


def _place(name: str) -> str:
    """A name with renamed modules, but with the layer names of torch_geometric."""
    for pattern, replacement in _MODULES:
        ours, number = re.subn(pattern, replacement, name)
        if number:
            break
    else:
        raise InputError(f"the weights contain {name!r}, which no model of the published study has")
    ours = re.sub(r"\.res\.weight$", ".residual.weight", ours)
    ours = re.sub(r"\.lins\.(\d+)\.", lambda layer: f".layers.{3 * int(layer[1])}.", ours)
    return re.sub(r"\.norms\.(\d+)\.module\.", lambda layer: f".layers.{3 * int(layer[1]) + 1}.", ours)
