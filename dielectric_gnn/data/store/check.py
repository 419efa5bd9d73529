"""Verification of every byte and every value of a store on disk, as `dielectric-gnn prepare verify` does."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dielectric_gnn.data.graphs.reverse import reverse_edges
from dielectric_gnn.data.record import MAX_ATOMIC_NUMBER, NEGATIVE_LOSS_TOLERANCE
from dielectric_gnn.data.splits import SPLIT_NAMES
from dielectric_gnn.data.store.appendable import array_checksum
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.descriptions import graph_sizes, names_array
from dielectric_gnn.data.store.files import map_array, open_store
from dielectric_gnn.data.store.metadata import checksum_text, read_metadata
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.progress import ProgressReporter

_CRYSTALS_PER_BLOCK = 256
_LENGTH_TOLERANCE = 1e-4
"""Edges in single precision may exceed the cutoff by this much (Å)."""


def verify_store(folder: Path) -> list[str]:
    """Check the sizes, checksums and values of a store.

    Returns:
        A summary line, and remarks on unusual but undamaged content.

    Raises:
        InputError: As `open_store`; or files are damaged; the message names them and the cure.
    """
    folder = folder.expanduser()
    store, split = open_store(folder)
    checksums = read_metadata(folder).checksums
    damaged = _wrong_checksums(folder, checksums)
    if damaged:
        names = ", ".join(damaged)
        raise InputError(f"{folder}: damaged: {names} (wrong checksum); build the store anew, or copy it again")
    store.check()
    problems = [*_name_problems(store), *_split_problems(split), *_value_problems(store)]
    if problems:
        raise InputError(
            f"{folder}: {problems[0]}"
            + (f", and {len(problems) - 1} problems more" if len(problems) > 1 else "")
            + "; the checksums are correct, so it was written like this: build the store anew; report it if it recurs"
        )
    return [f"{folder}: sound ({len(store)} materials, {len(checksums)} arrays)", *_remarks(store, split)]


def _wrong_checksums(folder: Path, checksums: dict[str, str]) -> list[str]:
    arrays = {name: map_array(folder / f"{name}.npy") for name in checksums}
    total = sum(array.nbytes for array in arrays.values()) // 1_000_000
    damaged, done = [], 0
    with ProgressReporter("checksums", total, "{} MB".format) as progress:

        def advance(num_bytes: int) -> None:
            nonlocal done
            done += num_bytes
            progress.advance(done // 1_000_000 - progress.done)

        for name, array in arrays.items():
            if checksum_text(array_checksum(array, advance)) != checksums[name]:
                damaged.append(f"{name}.npy")
    return damaged


def _name_problems(store: CrystalStore) -> Iterator[str]:
    ids = names_array(store.material_ids)
    if np.unique(ids).size < ids.size:
        yield "material_ids.npy names a material twice"
    if (ids == "").any() or (names_array(store.formulas) == "").any():
        yield "material_ids.npy or formulas.npy has an empty name"


def _split_problems(split: dict[str, NDArray[np.int64]]) -> Iterator[str]:
    together = np.concatenate([split[name] for name in SPLIT_NAMES])
    if np.unique(together).size < together.size:
        yield "split_train.npy, split_val.npy and split_test.npy share a material"


def _value_problems(store: CrystalStore) -> Iterator[str]:
    """Problems in arrays, one per array and block of crystals at most."""
    bounds = [*range(0, len(store), _CRYSTALS_PER_BLOCK), len(store)]
    with ProgressReporter("values", len(store), "{} materials".format) as progress:
        for start, stop in pairwise(bounds):
            yield from _graph_problems(store, start, stop)
            yield from _orbit_problems(store, start, stop)
            yield from _target_problems(store, start, stop)
            progress.advance(stop - start)


def _graph_problems(store: CrystalStore, start: int, stop: int) -> Iterator[str]:
    where = f"of materials {start} to {stop - 1}"
    atoms = slice(*store.atom_offsets[[start, stop]])
    edges = slice(*store.edge_offsets[[start, stop]])
    numbers, vectors = store.atomic_numbers[atoms], store.edge_vectors[edges]
    if ((numbers < 1) | (numbers > MAX_ATOMIC_NUMBER)).any():
        yield f"atomic_numbers.npy {where} goes beyond 1 to {MAX_ATOMIC_NUMBER}"
    if not (np.isfinite(store.volumes[start:stop]) & (store.volumes[start:stop] > 0)).all():
        yield f"volumes.npy {where} has values that are not finite and positive"
    num_atoms, num_edges = (np.diff(offsets[start : stop + 1]) for offsets in (store.atom_offsets, store.edge_offsets))
    index = store.edge_index[:, edges].astype(np.int64)
    if (index >= np.repeat(num_atoms, num_edges)).any():
        yield f"edge_index.npy {where} points beyond the atoms of its crystal"
        return
    sources = index[0] + np.repeat(np.cumsum(num_atoms) - num_atoms, num_edges)
    if (np.diff(sources) < 0).any():
        yield f"edge_index.npy {where} is not sorted by source"
    lengths = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1))
    if not ((lengths > 0) & (lengths <= store.cutoff + _LENGTH_TOLERANCE)).all():  # NaN fails too
        yield f"edge_vectors.npy {where} has lengths beyond 0 to {store.cutoff:g} Å"
    stated, found = store.sizes[start:stop], graph_sizes(num_atoms, num_edges, index[0], vectors)
    for row in np.flatnonzero((stated != found).any(axis=1)).tolist():
        yield f"sizes.npy has {stated[row].tolist()} for material {start + row}, which is inconsistent with its graph"
    targets = index[1] + sources - index[0]
    if not _are_reversed(np.stack([sources, targets]), vectors):
        yield f"edge_vectors.npy {where} contains an edge without its reverse"


def _are_reversed(edge_index: NDArray[np.int64], vectors: NDArray[np.floating]) -> bool:
    """Whether every edge has its reverse."""
    try:
        reverse_edges(torch.from_numpy(edge_index), torch.from_numpy(np.array(vectors)))
    except InputError:
        return False
    return True


def _orbit_problems(store: CrystalStore, start: int, stop: int) -> Iterator[str]:
    """Problems of orbits: classes must add up to all atoms and edges, and indices must be within range."""
    for row in range(start, stop):
        orbits = None if store.orbits is None else store.orbits.crystal_orbits(row)
        if orbits is None:
            continue
        atoms, edges = orbits.atom_counts.astype(np.int64), orbits.edge_counts.astype(np.int64)
        places = (orbits.edge_index, atoms.size), (orbits.pairs, edges.size), (orbits.reverse, edges.size)
        inside = all((values < size).all() for values, size in places)
        inside = inside and np.array_equal(orbits.reverse[orbits.reverse], np.arange(edges.size))
        if not inside or [atoms.sum(), (atoms[orbits.edge_index[0]] * edges).sum()] != store.sizes[row, :2].tolist():
            yield f"the orbits of material {row} (orbit_*.npy) are inconsistent with its atoms and edges"


def _target_problems(store: CrystalStore, start: int, stop: int) -> Iterator[str]:
    where = f"of materials {start} to {stop - 1}"
    if store.eps_inter is not None and store.drude is not None:
        eps, drude = store.eps_inter[start:stop], store.drude[start:stop]
        if not _all_known(eps) or eps[..., 1].min() < -NEGATIVE_LOSS_TOLERANCE:
            yield f"eps_inter.npy {where} has values that are not finite, or a negative imaginary part"
        if not (np.isnan(drude) | (np.isfinite(drude) & (drude >= 0))).all():
            yield f"drude.npy {where} has values that are infinite or negative"
    if store.anisotropy is not None and store.drude is not None:
        if not _all_known(store.anisotropy.eps_deviator[start:stop].swapaxes(1, 2)):
            yield f"eps_deviator.npy {where} has values that are not finite"
        has_drude = ~np.isnan(store.drude[start:stop])
        if not np.isfinite(store.anisotropy.drude_root[start:stop][has_drude]).all():
            yield f"drude_root.npy {where} has values that are not finite"


def _all_known(eps: NDArray[np.floating]) -> bool:
    """Whether spectra (M, W, ..., 2) are finite, but for real parts that are NaN throughout: Re ε is not known."""
    no_real = np.isnan(eps[..., 0]).reshape(len(eps), -1).all(axis=1)
    return bool(np.isfinite(eps[..., 1]).all() and np.isfinite(eps[~no_real, ..., 0]).all())


def _remarks(store: CrystalStore, split: dict[str, NDArray[np.int64]]) -> Iterator[str]:
    formulas = names_array(store.formulas)
    sides = [np.unique(formulas[split[name]]) for name in SPLIT_NAMES]
    crossing = sum(np.intersect1d(sides[a], sides[b]).size for a, b in ((0, 1), (0, 2), (1, 2)))
    if crossing:
        yield f"remark: {crossing} formulas are in two parts of the split, so test errors are too optimistic"
    unused = len(store) - sum(rows.size for rows in split.values())
    if unused:
        yield f"remark: {unused} materials are in no part of the split"
