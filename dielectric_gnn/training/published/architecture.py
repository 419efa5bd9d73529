"""Conversion of the study's model options to the model section of a configuration of this toolkit.

Options, and the defaults of missing ones, are those of the study's public code
(repository MaxGrossmann/optimetal).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dielectric_gnn.utils.errors import InputError

_NN = "dielectric_gnn.models.layers"
_CUTOFF = 5.5

Options = Mapping[str, Any]


class _Reader:
    """Reads options from a dictionary and refuses those that remain unread."""

    def __init__(self, options: Any, where: str) -> None:
        if not isinstance(options, Mapping):
            raise InputError(f"{where} is {options!r}, expected a dictionary of options")
        self.options = dict(options)
        self.where = where

    def take(self, name: str, default: Any = None) -> Any:
        """One option; without a default, it is required."""
        if name not in self.options and default is None:
            raise InputError(f"{self.where} has no option {name!r}")
        return self.options.pop(name, default)

    def choose(self, choices: Mapping[str, Callable[[_Reader], Any]]) -> Any:
        """The result of the function that the option `type` selects."""
        kind = self.take("type")
        if kind not in choices:
            raise InputError(f"{self.where} is of type {kind!r}, expected one of {', '.join(choices)}")
        built = choices[kind](self)
        self.finish()
        return built

    def finish(self) -> None:
        """Raise InputError if an option has not been read."""
        if self.options:
            raise InputError(f"{self.where} has the unknown option {next(iter(self.options))!r}")


def model_configuration(architecture: Options) -> dict[str, Any]:
    """Backbone, pooling and head (class paths and arguments) of a model of the study.

    Args:
        architecture: The study's options, with `type` one of `optimate`, `optimetal_2b_no_residual`, `optimetal_2b` and
            `optimetal_3b`.

    Raises:
        InputError: A type or an option is unknown.
    """
    found: dict[str, Any] = _Reader(architecture, "the architecture").choose(
        {
            "optimate": _optimate,
            "optimetal_2b": lambda options: _two_body(options, residual_blocks=True),
            "optimetal_2b_no_residual": lambda options: _two_body(options, residual_blocks=False),
            "optimetal_3b": _three_body,
        }
    )
    return found


def _optimate(options: _Reader) -> dict[str, Any]:
    head = {"hidden_dims": [1024, 1024, 1024], "components": ["im"], "leaky_output": True, "drude": False}
    return {
        "backbone": _part("dielectric_gnn.models.backbones.OptiMate", cutoff=options.take("twobody_cutoff", _CUTOFF)),
        "pooling": f"{_NN}.pooling.VectorAttentionPooling",
        "head": _part("dielectric_gnn.models.heads.FreeFormHead", **head),
        "objective": _part(
            "dielectric_gnn.training.objective.MaeObjective", eps_weight=1.0, drude_weight=0.0, components=["im"]
        ),
    }


def _two_body(options: _Reader, residual_blocks: bool) -> dict[str, Any]:
    default = {"num_layers": 2, "type": "transformer" if residual_blocks else "gatv2", "heads": 4}
    layer, num_layers, expansion = _message_passing(options.take("message_passing_dict", default))
    edges = {"type": "gaussian", "num_basis": 64, "basis_width": 2.0, "apply_envelope": True}
    arguments = _common(options, edges) | {
        "num_layers": num_layers,
        "message_passing": layer,
        "expansion": expansion,
        "residual_blocks": residual_blocks,
    }
    return _with_heads(options, "dielectric_gnn.models.backbones.OptiMetal2B", arguments)


def _three_body(options: _Reader) -> dict[str, Any]:
    layer = {"type": "transformer", "heads": 4}
    blocks = {"num_layers": 2, "edge_graph_mp_dict": layer, "node_graph_mp_dict": layer}
    triplets = _Reader(options.take("triplet_block_dict", blocks), "triplet_block_dict")
    on_edges, _, edge_expansion = _message_passing({"num_layers": 1} | dict(triplets.take("edge_graph_mp_dict")))
    on_atoms, _, expansion = _message_passing({"num_layers": 1} | dict(triplets.take("node_graph_mp_dict")))
    angles = _Reader(options.take("angle_embedding_dict", {"l_max": 3}), "angle_embedding_dict")
    edges = {"type": "gaussian", "num_basis": 64, "basis_width": 2.0, "apply_envelope": False}
    arguments = _common(options, edges) | {
        "num_layers": triplets.take("num_layers"),
        "message_passing": on_atoms,
        "edge_message_passing": on_edges,
        "expansion": expansion,
        "edge_expansion": edge_expansion,
        "l_max": angles.take("l_max"),
        "angles": "at_sender",
        "three_body_cutoff": 4.0,  # of the published graphs; no option of the model
    }
    triplets.finish()
    angles.finish()
    return _with_heads(options, "dielectric_gnn.models.backbones.OptiMetal3B", arguments)


def _common(options: _Reader, edges: Options) -> dict[str, Any]:
    """Arguments of both backbones; the others stay in `options`."""
    nodes = _Reader(options.take("node_embedding_dict", {"type": "atom", "embedding_dim": 64}), "node_embedding_dict")
    basis = _Reader(options.take("edge_embedding_dict", edges), "edge_embedding_dict")
    return {
        "width": options.take("hidden_dim", 256),
        "depth": options.take("depth", 2),
        "activation": options.take("activation", "relu"),
        "cutoff": options.take("twobody_cutoff", _CUTOFF),
        "node_embedding": nodes.choose({"atom": _atom_embedding, "group_period": _group_period}),
        "edge_embedding": basis.choose({"gaussian": _gaussian, "bessel": _bessel}),
    }


def _with_heads(options: _Reader, backbone: str, arguments: dict[str, Any]) -> dict[str, Any]:
    width, depth, activation = (arguments[key] for key in ("width", "depth", "activation"))
    spectra = [options.take("spectra_dim", 2048)] * depth
    pooling = _Reader(options.take("pooling_dict", {"type": "vector_attention"}), "pooling_dict")
    head = {"hidden_dims": spectra, "drude_hidden_dims": [width] * depth, "activation": activation}
    return {
        "backbone": _part(backbone, **arguments),
        "pooling": pooling.choose(_POOLINGS),
        "head": _part("dielectric_gnn.models.heads.FreeFormHead", **head),
    }


def _message_passing(options: Options) -> tuple[dict[str, Any], int, int]:
    """The layer, how many there are, and the hidden width of the MLP behind each in units of the width."""
    reader = _Reader(options, "the message passing")
    num_layers, expansion = reader.take("num_layers"), reader.take("hidden_multiplier", 4)
    reader.options.pop("activation", None)  # always that of the whole model
    choices = {
        "cgconv": lambda reader: _part(f"{_NN}.message_passing.CGConv"),
        "gatv2": lambda reader: _part(f"{_NN}.message_passing.ResidualGATv2", heads=reader.take("heads")),
        "transformer": lambda reader: _part(f"{_NN}.message_passing.TransformerConv", heads=reader.take("heads")),
    }
    return reader.choose(choices), num_layers, expansion


def _atom_embedding(options: _Reader) -> dict[str, Any]:
    num_elements = options.take("num_elements", 83)
    if num_elements != 83:
        raise InputError(f"node_embedding_dict has num_elements {num_elements}, expected 83 (H to Bi)")
    return _part(f"{_NN}.embedding.AtomEmbedding", dim=options.take("embedding_dim"))


def _group_period(options: _Reader) -> dict[str, Any]:
    return _part(f"{_NN}.embedding.GroupPeriodEmbedding")


def _gaussian(options: _Reader) -> dict[str, Any]:
    return _part(
        f"{_NN}.radial.GaussianBasis",
        num_basis=options.take("num_basis"),
        width=options.take("basis_width", 2.0),
        envelope_exponent=_envelope(options),
    )


def _bessel(options: _Reader) -> dict[str, Any]:
    return _part(
        f"{_NN}.radial.BesselBasis",
        num_basis=options.take("num_basis"),
        trainable=options.take("trainable", False),
        envelope_exponent=_envelope(options),
    )


def _envelope(options: _Reader) -> int | None:
    exponent: int = options.take("envelope_exp", 4)
    return exponent if options.take("apply_envelope", False) else None


def _attention(name: str) -> Callable[[_Reader], dict[str, Any]]:
    def build(options: _Reader) -> dict[str, Any]:
        options.options.pop("activation", None)  # of an MLP without a hidden layer
        return _part(f"{_NN}.pooling.{name}")

    return build


_POOLINGS: dict[str, Callable[[_Reader], dict[str, Any]]] = {
    "mean": lambda options: _part(f"{_NN}.pooling.MeanPooling"),
    "scalar_attention": _attention("ScalarAttentionPooling"),
    "vector_attention": _attention("VectorAttentionPooling"),
    "set2set": lambda options: _part(f"{_NN}.pooling.Set2SetPooling", steps=options.take("processing_steps", 3)),
}


def _part(class_path: str, **arguments: Any) -> dict[str, Any]:
    """A component of a configuration."""
    return {"class_path": class_path, "init_args": arguments}
