"""How fast crystals become graphs: neighbours and three-body pairs against the usual way, and orbits.

The usual way is that of the published codes: pymatgen finds the neighbours, and NumPy makes the pairs of each atom's
edges in a loop over the atoms; a `Data` object of torch_geometric holds the result. Ours are the functions that
preparation and training call. Both make the same edges and pairs, which is checked, in turns (A B A B) in one process
of one thread.

    python tools/benchmark.py graphs
    python tools/benchmark.py graphs --crystals embedded --number 100
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.graph import DEFAULT_CUTOFF, neighbour_edges
from dielectric_gnn.data.orbits import find_orbits
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals, SyntheticMetals
from dielectric_gnn.data.store import CrystalStore
from dielectric_gnn.data.store_facts import THREE_BODY_CUTOFF
from dielectric_gnn.nn.triplets import triplets_of

_BATCH = 64


def usual_graphs(structures: Sequence[Any]) -> list[Any]:
    """A `Data` object of every pymatgen structure, with edges and three-body pairs."""
    from torch_geometric.data import Data

    graphs = []
    for structure in structures:
        source, target, images, lengths = structure.get_neighbor_list(DEFAULT_CUTOFF)
        vectors = structure.cart_coords[target] + images @ structure.lattice.matrix - structure.cart_coords[source]
        order = np.argsort(source, kind="stable")
        source, target, lengths, vectors = source[order], target[order], lengths[order], vectors[order]
        pairs = []
        for atom in range(len(structure)):
            edges = np.flatnonzero((source == atom) & (lengths <= THREE_BODY_CUTOFF))
            first, second = np.meshgrid(edges, edges, indexing="ij")
            distinct = first != second
            pairs.append(np.stack([first[distinct], second[distinct]]))
        index = np.concatenate(pairs, axis=1)
        cosines = (vectors[index[0]] * vectors[index[1]]).sum(1) / (lengths[index[0]] * lengths[index[1]])
        graphs.append(
            Data(
                z=torch.tensor(structure.atomic_numbers),
                edge_index=torch.from_numpy(np.stack([source, target])),
                edge_weight=torch.from_numpy(lengths).float(),
                pairs=torch.from_numpy(index),
                cosines=torch.from_numpy(cosines).float(),
            )
        )
    return graphs


def our_graphs(records: Sequence[CrystalRecord]) -> tuple[int, int]:
    """Edges as preparation makes them, then pairs as a training step does; how many of both."""
    edges = pairs = 0
    for start in range(0, len(records), _BATCH):
        part = records[start : start + _BATCH]
        graph = CrystalStore.from_records(part, DEFAULT_CUTOFF).gather(range(len(part)))
        edges += graph.edge_index.shape[1]
        pairs += triplets_of(graph, THREE_BODY_CUTOFF).pairs.shape[1]
    return edges, pairs


def our_orbits(graphs: Sequence[tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.float64]]]) -> int:
    """Orbits of graphs that are there; how many crystals have some."""
    return sum(find_orbits(*graph) is not None for graph in graphs)


def processor_time(work: Callable[[], object]) -> float:
    """Processor time (s) of the process while it works."""
    start = time.process_time()
    work()
    return time.process_time() - start


def run(options: argparse.Namespace) -> None:
    """Print milliseconds per crystal."""
    torch.set_num_threads(1)
    source = (
        ExampleMetals() if options.crystals == "embedded" else SyntheticMetals(options.number, rattle=options.rattle)
    )
    records = list(source.records())[: options.number]
    structures = [pymatgen_structure(record) for record in records]
    graphs = [(record.atomic_numbers, *neighbour_edges(record, DEFAULT_CUTOFF)) for record in records]
    usual = usual_graphs(structures)
    counts = sum(data.edge_index.shape[1] for data in usual), sum(data.pairs.shape[1] for data in usual)
    if counts != our_graphs(records):
        raise SystemExit(f"the usual way finds {counts} edges and pairs, ours {our_graphs(records)}")
    rows = []
    for _ in range(options.repeats):
        works = (lambda: usual_graphs(structures), lambda: our_graphs(records), lambda: our_orbits(graphs))
        rows.append([1000 * processor_time(work) / len(records) for work in works])
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    ratio = statistics.median(row[0] / row[1] for row in rows)
    print(f"{len(records)} {options.crystals} metals, {counts[0]:,} edges, {counts[1]:,} three-body pairs")
    print("| ms per crystal (processor time) | |\n| --- | --- |")
    print(f"| usual: neighbours and pairs | {medians[0]:.3f} |\n| ours: neighbours and pairs | {medians[1]:.3f} |")
    print(f"| ratio | {ratio:.1f} |\n| ours: orbits, beside | {medians[2]:.3f} |")


def pymatgen_structure(record: CrystalRecord) -> Any:
    """The crystal for pymatgen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymatgen.core import Structure

    numbers = record.atomic_numbers.tolist()
    return Structure(record.lattice, numbers, record.positions, coords_are_cartesian=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of `graphs`."""
    add = parser.add_argument
    add("--crystals", choices=["synthetic", "embedded"], default="synthetic", help="default: %(default)s")
    add("--number", type=int, default=500, metavar="N", help="crystals (default: %(default)s)")
    add("--rattle", type=float, default=0.02, metavar="A", help="of synthetic crystals in Å (default: %(default)s)")
    add("--repeats", type=int, default=5, metavar="N", help="turns (default: %(default)s)")
    parser.set_defaults(run=run)
