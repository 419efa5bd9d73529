"""How fast crystals become graphs: neighbours and three-body pairs against the usual way, and orbits.

The usual way has three forms. `published` is that of the code of arXiv:2602.05702: arrays of neighbours from pymatgen,
and a Python list of the pairs of all edges of each atom, from which long ones are dropped afterwards. `objects`:
pymatgen's lists of neighbour objects, read in Python loops, and pairs of short edges alone. `arrays`, as fast as loops
over atoms get: arrays of neighbours, and pairs of short edges by NumPy. A `Data` object of torch_geometric holds the
result.

Ours are the edges as preparation makes them, and the list of pairs of a whole batch (`models.layers.triplets`).
OptiMetal3B arranges its pairs otherwise within its step (`models.fused.angles`), which `training` times. All start
from crystals without labels that were read and checked, and make the same edges, pairs and angles, which is checked one
by one; they take turns in one process of one thread.

    dielectric-gnn benchmark graphs
    dielectric-gnn benchmark graphs --crystals embedded --number 100
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from typing import Any, Literal

import numpy as np
import torch
from jsonargparse.typing import PositiveInt
from numpy.typing import NDArray

from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF, CrystalGraph, many_neighbour_edges
from dielectric_gnn.data.graphs.orbits import find_orbits
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals, SyntheticMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.descriptions import THREE_BODY_CUTOFF
from dielectric_gnn.models.layers.triplets import Triplets
from dielectric_gnn.utils.errors import InputError

_BATCH = 64


def published_graphs(structures: Sequence[Any]) -> list[Any]:
    """Arrays of neighbours, pairs appended to one Python list."""
    graphs = []
    for structure in structures:
        source, target, vectors, lengths = neighbour_arrays(structure)
        edges_of: dict[int, list[int]] = {}
        for edge, atom in enumerate(source):
            edges_of.setdefault(atom, []).append(edge)
        pairs: list[tuple[np.int64, np.int64]] = []
        for edges in edges_of.values():
            first, second = np.meshgrid(edges, edges, indexing="ij")
            distinct = first != second
            pairs.extend(zip(first[distinct], second[distinct], strict=True))
        index = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        index = index[:, (lengths[index] <= THREE_BODY_CUTOFF).all(axis=0)]
        graphs.append(as_data(structure, np.stack([source, target]), vectors, index))
    return graphs


def object_graphs(structures: Sequence[Any]) -> list[Any]:
    """Lists of neighbour objects, everything in Python loops."""
    graphs = []
    for structure in structures:
        ends: list[tuple[int, int]] = []
        vectors: list[NDArray[np.float64]] = []
        pairs: list[tuple[int, ...]] = []
        for atom, neighbours in enumerate(structure.get_all_neighbors(DEFAULT_CUTOFF)):
            short = [len(ends) + n for n, one in enumerate(neighbours) if one.nn_distance <= THREE_BODY_CUTOFF]
            pairs += permutations(short, 2)
            ends += [(atom, one.index) for one in neighbours]
            vectors += [one.coords - structure[atom].coords for one in neighbours]
        index = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        graphs.append(as_data(structure, np.array(ends).reshape(-1, 2).T, np.array(vectors).reshape(-1, 3), index))
    return graphs


def array_graphs(structures: Sequence[Any]) -> list[Any]:
    """Arrays of neighbours, pairs by NumPy in a loop over the atoms."""
    graphs = []
    for structure in structures:
        source, target, vectors, lengths = neighbour_arrays(structure)
        pairs = [np.empty((2, 0), dtype=np.int64)]
        for atom in range(len(structure)):
            edges = np.flatnonzero((source == atom) & (lengths <= THREE_BODY_CUTOFF))
            first, second = np.meshgrid(edges, edges, indexing="ij")
            distinct = first != second
            pairs.append(np.stack([first[distinct], second[distinct]]))
        graphs.append(as_data(structure, np.stack([source, target]), vectors, np.concatenate(pairs, axis=1)))
    return graphs


def neighbour_arrays(structure: Any) -> tuple[Any, Any, Any, Any]:
    """Source, target, vector and length of every edge from pymatgen."""
    source, target, images, lengths = structure.get_neighbor_list(DEFAULT_CUTOFF)
    places = structure.cart_coords
    return source, target, places[target] + images @ structure.lattice.matrix - places[source], lengths


def as_data(structure: Any, ends: NDArray[np.int64], vectors: NDArray[np.float64], pairs: NDArray[np.int64]) -> Any:
    """The graph with angles for torch_geometric."""
    from torch_geometric.data import Data

    directions = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    cosines = (directions[pairs[0]] * directions[pairs[1]]).sum(axis=1)
    return Data(
        z=torch.tensor(structure.atomic_numbers),
        edge_index=torch.from_numpy(ends),
        edge_vec=torch.from_numpy(vectors).float(),
        pairs=torch.from_numpy(pairs),
        cosines=torch.from_numpy(cosines).float(),
    )


USUAL: dict[str, Callable[[Sequence[Any]], list[Any]]] = {
    "published": published_graphs,
    "objects": object_graphs,
    "arrays": array_graphs,
}


def our_graphs(records: Sequence[CrystalRecord], batch_size: int = _BATCH) -> list[tuple[CrystalGraph, Triplets]]:
    """Edges as preparation makes them, then the list of pairs, batch by batch."""
    batches = []
    for start in range(0, len(records), batch_size):
        part = records[start : start + batch_size]
        graph = CrystalStore.from_records(part, DEFAULT_CUTOFF).gather(range(len(part)))
        batches.append((graph, Triplets.from_graph(graph, THREE_BODY_CUTOFF)))
    return batches


def check_equal(records: Sequence[CrystalRecord], structures: Sequence[Any]) -> tuple[int, int]:
    """How many edges and pairs there are in all; ends the benchmark if the ways do not agree on every single one."""
    edges = pairs = 0
    ours = our_graphs(records, batch_size=1)
    usual = (build(structures) for build in USUAL.values())
    for record, (graph, triplets), *others in zip(records, ours, *usual, strict=True):
        expected = canonical(record, graph.edge_index, graph.edge_vectors, triplets.pairs, triplets.cosines)
        for form, data in zip(USUAL, others, strict=True):
            found = canonical(record, data.edge_index, data.edge_vec, data.pairs, data.cosines)
            same = all(np.array_equal(a, b) for a, b in zip(found[:2], expected[:2], strict=True))
            if not same or not np.allclose(found[2], expected[2], atol=1e-5):
                raise InputError(f"{record.material_id}: {form} and ours make different graphs")
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


def run(
    crystals: Literal["synthetic", "embedded"] = "synthetic",
    number: PositiveInt = 500,
    rattle: float = 0.02,
    repeats: PositiveInt = 5,
) -> None:
    """Print milliseconds per crystal.

    Args:
        crystals: Materials whose graphs are built.
        number: How many materials.
        rattle: Standard deviation (Å) of the displacements of synthetic atoms.
        repeats: Turns that every way takes.
    """
    torch.set_num_threads(1)
    source = ExampleMetals(parts=1) if crystals == "embedded" else SyntheticMetals(number, rattle=rattle)
    records = [replace(record, labels=None) for record in source.records()][:number]
    structures = [pymatgen_structure(record) for record in records]
    edges_of = many_neighbour_edges(records, DEFAULT_CUTOFF)
    graphs = [(record.atomic_numbers, *ours) for record, ours in zip(records, edges_of, strict=True)]
    edges, pairs = check_equal(records, structures)
    works: dict[str, Callable[[], object]] = {
        **{f"usual: {form}": partial(build, structures) for form, build in USUAL.items()},
        "ours: neighbours and pairs": lambda: our_graphs(records),
        "ours: neighbours alone": lambda: many_neighbour_edges(records, DEFAULT_CUTOFF),
        "usual: neighbours alone": lambda: [structure.get_neighbor_list(DEFAULT_CUTOFF) for structure in structures],
        "ours: orbits, beside": lambda: our_orbits(graphs),
    }
    rows = [[1000 * processor_time(work) / len(records) for work in works.values()] for _ in range(repeats)]
    print(f"{len(records)} {crystals} metals, {edges:,} edges, {pairs:,} three-body pairs, equal in all ways\n")
    ours = len(USUAL)
    print("| | ms per crystal (processor time) | over ours |\n| --- | --- | --- |")
    for place, name in enumerate(works):
        ratio = f"{statistics.median(row[place] / row[ours] for row in rows):.1f}" if place < ours else ""
        print(f"| {name} | {statistics.median(row[place] for row in rows):.3f} | {ratio} |")


def pymatgen_structure(record: CrystalRecord) -> Any:
    """The crystal for pymatgen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymatgen.core import Structure

    numbers = record.atomic_numbers.tolist()
    return Structure(record.lattice, numbers, record.positions, coords_are_cartesian=True)
