r"""Measure how fast this machine does a piece of work, and print a Markdown table.

    dielectric-gnn benchmark cost
    dielectric-gnn benchmark training --models optimetal3b_tc --crystals strained --symmetry orbit
    dielectric-gnn benchmark loading --number 20000
    dielectric-gnn benchmark gpu --out runs/gpu

Every benchmark has options of its own; `dielectric-gnn benchmark cost --help` explains them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from dielectric_gnn.cli.function_parser import FunctionParser, command_parser, parse_words
from dielectric_gnn.utils.entry import command

_PROG = "dielectric-gnn benchmark"

BENCHMARKS = {
    "cost": "forward pass and training step of every backbone",
    "training": "training steps of the published models against those of torch_geometric",
    "forms": "the fused layers against the plain ones (`fused: auto` and `off`)",
    "graphs": "building graphs and orbits",
    "entries": "reading raw files of the published layout",
    "launches": "operations and synchronisations of a training step on a GPU",
    "gpu": "all models on this machine's GPU: equal results, speed, memory, compilation, DDP",
    "loading": "preparing, opening and loading a store",
    "predict": "predictions per second of every model",
    "screening": "`predict` on a folder of files, complete, and killed and continued",
    "startup": "how long commands take to start",
}
"""Modules of this package, each with a typed function `run`, and what they measure."""


def main(words: Sequence[str]) -> None:
    """Run the benchmark that the command line names.

    Args:
        words: Name of the benchmark and its options.
    """
    command(lambda: run(words))


def run(words: Sequence[str]) -> None:
    """Parse the command line and measure; only the module of the named benchmark is imported."""
    name = words[0] if words and words[0] in BENCHMARKS else None
    if name is None:
        parsers = {name: FunctionParser(summary) for name, summary in BENCHMARKS.items()}
        command_parser(_PROG, __doc__, parsers).parse_args(list(words))
        return
    module = import_module(f"dielectric_gnn.cli.benchmark.{name}")
    module.run(**parse_words(module.run, words[1:], f"{_PROG} {name}", module.__doc__))
