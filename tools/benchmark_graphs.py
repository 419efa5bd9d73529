"""How fast crystals become graphs: neighbours and three-body pairs against the usual way, and orbits.

The usual way is that of many published codes: a list of neighbour objects of every atom from pymatgen, read in Python
loops, which make the pairs as well; a `Data` object of torch_geometric holds the result. A better one has pymatgen's
arrays of neighbours and makes the pairs of each atom by NumPy. Ours are the functions that preparation and training
call. All make the same edges and pairs, which is checked, in turns in one process of one thread.

    python tools/benchmark.py graphs
    python tools/benchmark.py graphs --crystals embedded --number 100
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import permutations
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


def usual_graphs(structures: Sequence[Any]) -> tuple[int, int]:
    """Edges and pairs of pymatgen structures by loops; how many of both."""
    from torch_geometric.data import Data

    graphs = []
    for structure in structures:
        ends: list[tuple[int, int]] = []
        vectors: list[NDArray[np.float64]] = []
        short: list[list[int]] = [[] for _ in structure]
        for atom, neighbours in enumerate(structure.get_all_neighbors(DEFAULT_CUTOFF)):
            for neighbour in neighbours:
                if neighbour.nn_distance <= THREE_BODY_CUTOFF:
                    short[atom].append(len(ends))
                ends.append((atom, neighbour.index))
                vectors.append(neighbour.coords - structure[atom].coords)
        pairs = torch.tensor([pair for edges in short for pair in permutations(edges, 2)], dtype=torch.long)
        graphs.append(as_data(Data, torch.tensor(ends).T, np.array(vectors), pairs.reshape(-1, 2).T))
    return sum(data.edge_index.shape[1] for data in graphs), sum(data.pairs.shape[1] for data in graphs)


def better_graphs(structures: Sequence[Any]) -> tuple[int, int]:
    """The same by arrays."""
    from torch_geometric.data import Data

    graphs = []
    for structure in structures:
        source, target, images, lengths = structure.get_neighbor_list(DEFAULT_CUTOFF)
        vectors = structure.cart_coords[target] + images @ structure.lattice.matrix - structure.cart_coords[source]
        pairs = []
        for atom in range(len(structure)):
            edges = np.flatnonzero((source == atom) & (lengths <= THREE_BODY_CUTOFF))
            first, second = np.meshgrid(edges, edges, indexing="ij")
            distinct = first != second
            pairs.append(np.stack([first[distinct], second[distinct]]))
        index = torch.from_numpy(np.concatenate(pairs, axis=1))
        graphs.append(as_data(Data, torch.from_numpy(np.stack([source, target])), vectors, index))
    return sum(data.edge_index.shape[1] for data in graphs), sum(data.pairs.shape[1] for data in graphs)


def as_data(kind: Any, ends: torch.Tensor, vectors: NDArray[np.float64], pairs: torch.Tensor) -> Any:
    """A graph with lengths and cosines."""
    edges = torch.from_numpy(vectors).float()
    lengths = edges.norm(dim=1)
    directions = edges / lengths[:, None]
    cosines = (directions[pairs[0]] * directions[pairs[1]]).sum(dim=1)
    return kind(edge_index=ends, edge_weight=lengths, pairs=pairs, cosines=cosines)


def our_graphs(records: Sequence[CrystalRecord], store: CrystalStore) -> tuple[int, int]:
    """Edges as preparation finds them; pairs as a training step makes them, per batch of the store."""
    edges = sum(neighbour_edges(record, DEFAULT_CUTOFF)[0].shape[1] for record in records)
    pairs = 0
    for start in range(0, len(records), _BATCH):
        graph = store.gather(range(start, min(start + _BATCH, len(records))))
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
    store = CrystalStore.from_records(records, DEFAULT_CUTOFF)
    counts = our_graphs(records, store)
    for other in (usual_graphs, better_graphs):
        if other(structures) != counts:
            raise SystemExit(f"{other.__name__} finds {other(structures)} edges and pairs, ours {counts}")
    works = {
        "usual: lists of neighbours, loops": lambda: usual_graphs(structures),
        "better: arrays of neighbours, NumPy": lambda: better_graphs(structures),
        "ours: neighbours and pairs": lambda: our_graphs(records, store),
        "ours: orbits, beside": lambda: our_orbits(graphs),
    }
    rows = []
    for _ in range(options.repeats):
        rows.append([1000 * processor_time(work) / len(records) for work in works.values()])
    print(f"{len(records)} {options.crystals} metals, {counts[0]:,} edges, {counts[1]:,} three-body pairs\n")
    print("| | ms per crystal (processor time) | over ours |\n| --- | --- | --- |")
    for column, name in enumerate(works):
        median = statistics.median(row[column] for row in rows)
        print(f"| {name} | {median:.3f} | {statistics.median(row[column] / row[2] for row in rows):.1f} |")


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
