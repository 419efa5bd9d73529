"""How fast crystals become graphs: neighbours and three-body pairs against the usual way, and orbits.

The usual way is that of the published codes: pymatgen finds the neighbours, a loop over the atoms lists the pairs of
edges in Python, those beyond the three-body cutoff are dropped afterwards, and a `Data` object of torch_geometric holds
the result. A careful form of it drops long edges first and keeps the pairs of each atom in NumPy. Ours are the
functions that preparation and training call. All start from crystals without labels that were read and checked, and
make the same edges, pairs and angles, which is checked; they take turns (A B A B) in one process of one thread.

    python tools/benchmark.py graphs
    python tools/benchmark.py graphs --crystals embedded --number 100
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.graph import DEFAULT_CUTOFF, CrystalGraph, neighbour_edges
from dielectric_gnn.data.orbits import find_orbits
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals, SyntheticMetals
from dielectric_gnn.data.store import CrystalStore
from dielectric_gnn.data.store_facts import THREE_BODY_CUTOFF
from dielectric_gnn.nn.triplets import Triplets, triplets_of

_BATCH = 64

Pairs = Callable[[NDArray[np.integer], NDArray[np.float64]], NDArray[np.int64]]
"""From the source and the length of every edge to the three-body pairs (2, T)."""


def listed_pairs(source: NDArray[np.integer], lengths: NDArray[np.float64]) -> NDArray[np.int64]:
    """Pairs of all edges of each atom, appended to one Python list; then those whose edges are both short.

    This is how the code of arXiv:2602.05702 makes them.
    """
    edges_of: dict[int, list[int]] = {}
    for edge, atom in enumerate(source):
        edges_of.setdefault(atom, []).append(edge)
    pairs: list[tuple[np.int64, np.int64]] = []
    for edges in edges_of.values():
        first, second = np.meshgrid(edges, edges, indexing="ij")
        distinct = first != second
        pairs.extend(zip(first[distinct], second[distinct], strict=True))
    index = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return index[:, (lengths[index] <= THREE_BODY_CUTOFF).all(axis=0)]


def array_pairs(source: NDArray[np.integer], lengths: NDArray[np.float64]) -> NDArray[np.int64]:
    """Pairs of the short edges of each atom, made by NumPy, atom by atom."""
    pairs = [np.empty((2, 0), dtype=np.int64)]
    for atom in np.unique(source):
        edges = np.flatnonzero((source == atom) & (lengths <= THREE_BODY_CUTOFF))
        first, second = np.meshgrid(edges, edges, indexing="ij")
        distinct = first != second
        pairs.append(np.stack([first[distinct], second[distinct]]))
    return np.concatenate(pairs, axis=1)


def usual_graphs(structures: Sequence[Any], pairs_of: Pairs) -> list[Any]:
    """A `Data` object of every pymatgen structure, with edges and three-body pairs."""
    from torch_geometric.data import Data

    graphs = []
    for structure in structures:
        source, target, images, lengths = structure.get_neighbor_list(DEFAULT_CUTOFF)
        vectors = structure.cart_coords[target] + images @ structure.lattice.matrix - structure.cart_coords[source]
        order = np.argsort(source, kind="stable")
        source, target, lengths, vectors = source[order], target[order], lengths[order], vectors[order]
        index = pairs_of(source, lengths)
        cosines = (vectors[index[0]] * vectors[index[1]]).sum(1) / (lengths[index[0]] * lengths[index[1]])
        graphs.append(
            Data(
                z=torch.tensor(structure.atomic_numbers),
                edge_index=torch.from_numpy(np.stack([source, target])),
                edge_vec=torch.from_numpy(vectors).float(),
                pairs=torch.from_numpy(index),
                cosines=torch.from_numpy(cosines).float(),
            )
        )
    return graphs


def our_graphs(records: Sequence[CrystalRecord], batch_size: int = _BATCH) -> list[tuple[CrystalGraph, Triplets]]:
    """Edges as preparation makes them, then pairs as a training step does, batch by batch."""
    batches = []
    for start in range(0, len(records), batch_size):
        part = records[start : start + batch_size]
        graph = CrystalStore.from_records(part, DEFAULT_CUTOFF).gather(range(len(part)))
        batches.append((graph, triplets_of(graph, THREE_BODY_CUTOFF)))
    return batches


def check_equal(records: Sequence[CrystalRecord], structures: Sequence[Any]) -> tuple[int, int]:
    """How many edges and pairs there are in all; ends the benchmark if the ways do not agree on every single one."""
    edges = pairs = 0
    ours = our_graphs(records, batch_size=1)
    usual = (usual_graphs(structures, pairs_of) for pairs_of in (listed_pairs, array_pairs))
    for record, (graph, triplets), *others in zip(records, ours, *usual, strict=True):
        expected = canonical(record, graph.edge_index, graph.edge_vectors, triplets.pairs, triplets.cosines)
        for data in others:
            found = canonical(record, data.edge_index, data.edge_vec, data.pairs, data.cosines)
            same = all(np.array_equal(a, b) for a, b in zip(found[:2], expected[:2], strict=True))
            if not same or not np.allclose(found[2], expected[2], atol=1e-5):
                raise SystemExit(f"{record.material_id}: the usual way and ours make different graphs")
        edges, pairs = edges + graph.edge_index.shape[1], pairs + triplets.pairs.shape[1]
    return edges, pairs


def canonical(
    record: CrystalRecord, edge_index: torch.Tensor, vectors: torch.Tensor, pairs: torch.Tensor, cosines: torch.Tensor
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Edges (E, 5) as source, target and image cell, pairs (T, 2) and their cosines, in an order of their own."""
    source, target = edge_index.numpy()
    images = (vectors.numpy() - record.positions[target] + record.positions[source]) @ np.linalg.inv(record.lattice)
    edges = np.column_stack([source, target, np.rint(images)]).astype(np.int64)
    order = np.lexsort(edges.T)
    ranks = np.argsort(order)[pairs.numpy()].T
    sequence = np.lexsort(ranks.T)
    return edges[order], ranks[sequence], cosines.numpy()[sequence]


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
    records = [replace(record, labels=None) for record in source.records()][: options.number]
    structures = [pymatgen_structure(record) for record in records]
    graphs = [(record.atomic_numbers, *neighbour_edges(record, DEFAULT_CUTOFF)) for record in records]
    edges, pairs = check_equal(records, structures)
    works: dict[str, Callable[[], object]] = {
        "usual: neighbours, pairs listed in Python": lambda: usual_graphs(structures, listed_pairs),
        "usual: neighbours, pairs by NumPy": lambda: usual_graphs(structures, array_pairs),
        "ours: neighbours and pairs": lambda: our_graphs(records),
        "ours: orbits, beside": lambda: our_orbits(graphs),
    }
    rows = [[1000 * processor_time(work) / len(records) for work in works.values()] for _ in range(options.repeats)]
    print(f"{len(records)} {options.crystals} metals, {edges:,} edges, {pairs:,} three-body pairs, equal in all ways\n")
    print("| | ms per crystal (processor time) | over ours |\n| --- | --- | --- |")
    for place, name in enumerate(works):
        ratio = "" if name.startswith("ours") else f"{statistics.median(row[place] / row[2] for row in rows):.1f}"
        print(f"| {name} | {statistics.median(row[place] for row in rows):.3f} | {ratio} |")


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
