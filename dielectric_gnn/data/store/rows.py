"""From materials to rows of a store, a few materials at a time, in any process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dielectric_gnn.data.graphs.graph import many_neighbour_edges
from dielectric_gnn.data.graphs.orbits import Symmetry, find_orbits
from dielectric_gnn.data.label_options import InsulatorRule, LabelOptions, LargestResamplingError
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.base import OnError, read_or_reject
from dielectric_gnn.data.store.descriptions import SetKind, graph_sizes
from dielectric_gnn.data.store.metadata import SpectraDtype
from dielectric_gnn.data.store.row_checksums import ROW_CHECKSUMS, MaterialBytes
from dielectric_gnn.data.store.stored_orbits import COLUMNS as ORBITS
from dielectric_gnn.data.store.stored_orbits import PARTS, orbit_rows, orbit_sizes
from dielectric_gnn.data.store.targets import anisotropy_rows, target_rows
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError, RecordError

_MAX_ATOMS = int(np.iinfo(np.uint16).max) + 1

_OWNERS = {
    "atom": ("sizes", 0),
    "edge": ("sizes", 1),
    **{f"orbit_{part}": ("orbit_sizes", column) for column, part in enumerate(PARTS)},
}
"""Array and column with the number of rows per crystal, for atoms, edges and orbits."""


@dataclass(frozen=True)
class Recipe:
    """Options that determine the rows of a material.

    Args:
        cutoff: Neighbour cutoff in Å.
        spectra_dtype: Precision of the spectra.
        tensors: Keep full tensors, from `frames.with_full_tensors`.
        symmetry: `orbit` adds the classes of symmetry-equivalent atoms and edges.
        grid: Photon energies of the spectra; None keeps those of the source.
        insulators: See `LabelOptions`.
    """

    cutoff: float
    spectra_dtype: SpectraDtype
    tensors: bool
    symmetry: Symmetry = "full"
    grid: EnergyGrid | None = None
    insulators: InsulatorRule | None = None

    @property
    def labels(self) -> LabelOptions:
        """What is done to the labels."""
        return LabelOptions(self.grid, self.tensors, self.insulators)


class Column(NamedTuple):
    """One array of a store: type and shape of its rows, and what a row belongs to: a crystal, or a key of `_OWNERS`."""

    dtype: DTypeLike
    row_shape: tuple[int, ...]
    owner: str


def columns(recipe: Recipe, num_energies: int | None) -> dict[str, Column]:
    """The arrays that grow with every material, by name; `num_energies` is None without spectra."""
    found = {
        ROW_CHECKSUMS: Column(np.uint32, (), "crystal"),
        "sizes": Column(np.int32, (3,), "crystal"),
        "volumes": Column(np.float32, (), "crystal"),
        "atomic_numbers": Column(np.uint8, (), "atom"),
        "edge_index": Column(np.uint16, (2,), "edge"),
        "edge_vectors": Column(np.float32, (3,), "edge"),
    }
    if num_energies is not None:
        found["eps_inter"] = Column(recipe.spectra_dtype, (num_energies, 2), "crystal")
        found["drude"] = Column(np.float32, (), "crystal")
        if recipe.tensors:
            found["eps_deviator"] = Column(recipe.spectra_dtype, (5, num_energies, 2), "crystal")
            found["drude_root"] = Column(np.float32, (6,), "crystal")
            found["known"] = Column(np.bool_, (5,), "crystal")
    if recipe.symmetry == "orbit":
        found["orbit_sizes"] = Column(np.int32, (3,), "crystal")
        found |= {f"orbit_{name}": Column(c.dtype, c.row_shape, f"orbit_{c.part}") for name, c in ORBITS.items()}
    return found


@dataclass
class Chunk:
    """The rows and rejects of a few materials, in their order; can be pickled.

    Args:
        num_items: Number of materials, usable or not.
        kind: Kind of the usable materials; None without any.
        ids: Ids of the usable materials; formulas and sources likewise.
        rejects: For every unusable material: number of usable ones before it, source and problem.
        arrays: Rows of every column, one after another.
        resampling: Largest error of resampling, and its material.
        failure: Source and problem of a material that is inconsistent with those before; the source is empty if the
            problem concerns all. As text, because exceptions with two arguments cannot be pickled.
    """

    num_items: int = 0
    kind: SetKind | None = None
    ids: list[str] = field(default_factory=list)
    formulas: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    rejects: list[tuple[int, str, str]] = field(default_factory=list)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    resampling: LargestResamplingError = field(default_factory=LargestResamplingError)
    failure: tuple[str, str] | None = None

    def without(self, bad: Sequence[tuple[int, str]], owners: dict[str, Column]) -> Chunk:
        """The same chunk, with the usable materials in the given rows turned into rejects for the given reason."""
        if not bad:
            return self
        keep = np.ones(len(self.ids), dtype=bool)
        keep[[row for row, _ in bad]] = False
        of_rows = {"crystal": keep}
        for owner, (sizes, column) in _OWNERS.items():
            if sizes in self.arrays:
                of_rows[owner] = np.repeat(keep, self.arrays[sizes][:, column])
        rejects = [*self.rejects, *((row, self.sources[row], problem) for row, problem in bad)]
        before = np.concatenate([[0], np.cumsum(keep)])

        def kept(names: list[str]) -> list[str]:
            return [name for name, good in zip(names, keep, strict=True) if good]

        return replace(
            self,
            ids=kept(self.ids),
            formulas=kept(self.formulas),
            sources=kept(self.sources),
            rejects=[(int(before[row]), source, problem) for row, source, problem in sorted(rejects)],
            arrays={name: rows[of_rows[owners[name].owner]] for name, rows in self.arrays.items()},
        )


def identity(record: CrystalRecord) -> CrystalRecord:
    """Returns the record; used where the items of a source are records."""
    return record


def read_chunk(recipe: Recipe, read: Callable[[Any], CrystalRecord], on_error: OnError, items: Iterable[Any]) -> Chunk:
    """Read and check materials, and build their graphs and targets.

    Args:
        recipe: Options of the rows.
        read: Reads the record of an item.
        on_error: With `raise`, nothing after the first unusable material is read.
        items: The materials.
    """
    chunk = Chunk()
    rows: list[dict[str, NDArray[Any]]] = []
    records: list[CrystalRecord] = []
    for item in items:
        chunk.num_items += 1
        outcome = read_or_reject(partial(_read_item, recipe, read), item)
        if isinstance(outcome, RecordError):
            chunk.rejects.append((len(rows), outcome.source, outcome.problem))
            if on_error == "raise":
                break
            continue
        record, made = outcome
        kind = SetKind.from_record(record)
        chunk.kind = chunk.kind or kind
        try:
            chunk.kind.check(kind)
        except InputError as error:
            chunk.failure = (error.source, error.problem) if isinstance(error, RecordError) else ("", str(error))
            break
        rows.append(made)
        records.append(record)
        chunk.resampling = chunk.resampling.including(record)
        chunk.ids.append(record.material_id)
        chunk.formulas.append(record.formula)
        chunk.sources.append(record.source)
    for made, record, graph in zip(rows, records, many_neighbour_edges(records, recipe.cutoff), strict=True):
        made |= _graph_rows(recipe, record, *graph)
    if rows:
        chunk.arrays = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        num_atoms, num_edges = ([len(row[name]) for row in rows] for name in ("atomic_numbers", "edge_index"))
        sources, vectors = chunk.arrays["edge_index"][:, 0], chunk.arrays["edge_vectors"]
        chunk.arrays["sizes"] = graph_sizes(num_atoms, num_edges, sources, vectors)
        content = MaterialBytes.from_chunk(chunk.arrays)
        chunk.arrays[ROW_CHECKSUMS] = content.checksums(np.arange(len(rows)))
    return chunk


def _read_item(
    recipe: Recipe, read: Callable[[Any], CrystalRecord], item: Any
) -> tuple[CrystalRecord, dict[str, NDArray[Any]]]:
    record = recipe.labels.apply(read(item))
    return record, _label_rows(recipe, record)


def _label_rows(recipe: Recipe, record: CrystalRecord) -> dict[str, NDArray[Any]]:
    """The rows of one material, without its graph."""
    num_atoms = record.atomic_numbers.size
    if num_atoms > _MAX_ATOMS:
        raise RecordError(_where(record), f"{num_atoms} atoms, expected at most {_MAX_ATOMS} in a store")
    rows: dict[str, NDArray[Any]] = {
        "volumes": np.array([record.volume], dtype=np.float32),
        "atomic_numbers": record.atomic_numbers.astype(np.uint8),
    }
    if record.labels is not None:
        eps, drude = target_rows(record.labels)
        rows["eps_inter"] = _in_store_precision(eps, recipe, record)[None]
        rows["drude"] = np.array([drude], dtype=np.float32)
        if recipe.tensors:
            deviator, root, known = anisotropy_rows(record.labels)
            rows["eps_deviator"] = _in_store_precision(deviator, recipe, record)[None]
            rows["drude_root"], rows["known"] = root[None], known[None]
    return rows


def _graph_rows(
    recipe: Recipe, record: CrystalRecord, index: NDArray[np.int32], vectors: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """The rows of the graph of one material."""
    rows: dict[str, NDArray[Any]] = {
        "edge_index": index.T.astype(np.uint16),
        "edge_vectors": vectors.astype(np.float32),
    }
    if recipe.symmetry == "orbit":
        orbits = find_orbits(record.atomic_numbers, index, vectors)
        rows["orbit_sizes"] = np.array([orbit_sizes(orbits)], dtype=np.int32)
        rows |= {f"orbit_{name}": part for name, part in orbit_rows(orbits).items()}
    return rows


def _in_store_precision(eps: NDArray[np.float32], recipe: Recipe, record: CrystalRecord) -> NDArray[np.floating]:
    """`eps` in the precision of the store; raises RecordError if a value is out of its range."""
    dtype = recipe.spectra_dtype
    largest, limit = float(np.nanmax(np.abs(eps))), float(np.finfo(dtype).max)
    if largest > limit:
        problem = f"|eps| reaches {largest:.3g}, but the largest {dtype} is {limit:.3g}; use float32 spectra"
        raise RecordError(_where(record), problem)
    return eps.astype(dtype)


def _where(record: CrystalRecord) -> str:
    return f"{record.source} ({record.material_id})".lstrip()
