r"""Measure how fast this machine does a piece of work, and print a Markdown table.

    dielectric-gnn benchmark cost
    dielectric-gnn benchmark training --models optimetal3b_tc --crystals strained --symmetry orbit
    dielectric-gnn benchmark loading --number 20000

Every kind of measurement has its own options; `dielectric-gnn benchmark cost --help` explains them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

from dielectric_gnn.utils.entry import command

BENCHMARKS = {
    "cost": "forward pass and training step of every backbone",
    "training": "training steps of the published models against those of torch_geometric",
    "forms": "the fused layers against the plain ones (`fused: auto` and `off`)",
    "graphs": "building graphs and orbits",
    "entries": "reading raw files of the published layout",
    "launches": "operations and synchronisations of a training step on a GPU",
    "loading": "preparing, opening and loading a store",
    "predict": "predictions per second of every model",
    "screening": "`predict` on a folder of files, complete, and killed and continued",
    "startup": "how long commands take to start",
}
"""Modules of this package and what they measure."""


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
        _names().parse_args(words)
        return
    module = import_module(f"dielectric_gnn.cli.benchmark.{name}")
    parser = argparse.ArgumentParser(
        prog=f"dielectric-gnn benchmark {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_options(parser)
    module.run(parser.parse_args(words[1:]))


def _names() -> argparse.ArgumentParser:
    """The parser of the first page of help."""
    parser = argparse.ArgumentParser(
        prog="dielectric-gnn benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    benchmarks = parser.add_subparsers(required=True, metavar="BENCHMARK")
    for name, summary in BENCHMARKS.items():
        benchmarks.add_parser(name, help=summary)
    return parser
