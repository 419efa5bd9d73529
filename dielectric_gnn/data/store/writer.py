"""Writing a `CrystalStore` to disk as a stream, with only a few materials in memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.graphs.orbits import Symmetry
from dielectric_gnn.data.record import CrystalRecord, element_symbol
from dielectric_gnn.data.sources.base import OnError
from dielectric_gnn.data.sources.parallel import chunks
from dielectric_gnn.data.splits import split_positions
from dielectric_gnn.data.store.appendable import array_checksum
from dielectric_gnn.data.store.builder import StoreBuilder, disk_full_as_input_error, partial_folder
from dielectric_gnn.data.store.descriptions import THREE_BODY_CUTOFF
from dielectric_gnn.data.store.files import map_array
from dielectric_gnn.data.store.flat import offsets
from dielectric_gnn.data.store.metadata import (
    METADATA,
    SCHEMA,
    SpectraDtype,
    StoreMetadata,
    checksum_text,
    write_metadata,
)
from dielectric_gnn.data.store.rows import Chunk, Recipe, identity, read_chunk
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError, RecordError
from dielectric_gnn.utils.files import sync

SplitRule = Callable[[Sequence[str], Sequence[str]], Mapping[str, Sequence[str]]]
"""Maps all material ids and their reduced formulas to the ids of `train`, `val` and `test`."""

MATERIALS_PER_CHUNK = 64
"""Number of materials that are read by one task and appended together."""


def write_store(
    folder: Path,
    records: Iterable[CrystalRecord],
    cutoff: float,
    split: SplitRule,
    spectra_dtype: SpectraDtype = "float32",
    source: str = "",
    overwrite: bool = False,
    tensors: bool = False,
    symmetry: Symmetry = "full",
) -> None:
    """Build the graphs of `records` and write them as a store, in this process, without resuming.

    Everything goes into a temporary folder beside `folder`, which is renamed when it is complete.

    Args:
        folder: Folder of the new store.
        records: The crystals, all labelled or all unlabelled.
        cutoff: Neighbour cutoff in Å.
        split: Function that draws the split, called once at the end.
        spectra_dtype: float16 halves the store and keeps three digits.
        source: Description of the source, for the metadata.
        overwrite: Replace an existing store.
        tensors: Keep full tensors, as `frames.with_full_tensors` returns them.
        symmetry: `orbit` adds the classes of symmetry-equivalent atoms and edges.

    Raises:
        InputError: The folder exists, there are no records, they are inconsistent (`SetKind`), a value is out of the
            range of float16, or the split names an unknown material or one twice.
    """
    folder = folder.expanduser().resolve()
    check_target(folder, overwrite)
    recipe = Recipe(cutoff, spectra_dtype, tensors, symmetry)
    with StoreBuilder(folder, recipe, {}, restart=True) as unfinished:
        try:
            for chunk in map(partial(read_chunk, recipe, identity, "raise"), chunks(records, MATERIALS_PER_CHUNK)):
                add_chunk(unfinished, chunk, "raise")
            finish_store(unfinished, split, source)
        finally:
            unfinished.discard()


def add_chunk(unfinished: StoreBuilder, chunk: Chunk, on_error: OnError) -> None:
    """Append a chunk to an unfinished store.

    Raises:
        RecordError: It has an unusable material, and `on_error` is `raise`; nothing of the chunk is kept.
        InputError: As `StoreBuilder.add`.
    """
    if chunk.failure is not None:
        source, problem = chunk.failure
        raise RecordError(source, problem) if source else InputError(problem)
    if on_error == "raise" and chunk.rejects:
        raise RecordError(*chunk.rejects[0][1:])
    unfinished.add(chunk)
    if on_error == "raise" and unfinished.rejects:
        raise unfinished.rejects[0]


def finish_store(unfinished: StoreBuilder, split: SplitRule, source: str) -> None:
    """Write offsets, names, split and metadata, which are known at the end, and move the store to its place.

    Raises:
        InputError: There are no materials, or the split does not match them.
    """
    if unfinished.kind is None or not unfinished.ids:
        raise InputError("the source holds no usable materials")
    positions = split_positions(split(unfinished.ids, unfinished.formulas), unfinished.ids)
    with disk_full_as_input_error(unfinished.folder, len(unfinished.ids)):
        for array in unfinished.arrays.values():
            array.close()
        folder = unfinished.arrays_folder
        sums = {name: checksum_text(array.checksum) for name, array in unfinished.arrays.items()}
        sizes = map_array(folder / "sizes.npy")
        atom_offsets = offsets(sizes[:, 0])
        plain: dict[str, NDArray[Any]] = {f"split_{name}": rows for name, rows in positions.items()}
        plain |= {"material_ids": np.array(unfinished.ids), "formulas": np.array(unfinished.formulas)}
        plain |= {"atom_offsets": atom_offsets, "edge_offsets": offsets(sizes[:, 1])}
        if "orbit_sizes" in sums:
            plain["orbit_offsets"] = np.stack([offsets(column) for column in map_array(folder / "orbit_sizes.npy").T])
        for name, values in plain.items():
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
            sums[name] = checksum_text(array_checksum(values))
        elements = _coverage(map_array(folder / "atomic_numbers.npy"), atom_offsets)
        num_orbits = plain["orbit_offsets"][:, -1] if "orbit_offsets" in plain else None
        write_metadata(folder, _metadata(unfinished, source, sizes, elements, sums, num_orbits))
        for path in (*folder.iterdir(), folder):
            sync(path)
    _put_in_place(folder, unfinished.target)


def check_target(folder: Path, overwrite: bool) -> None:
    """Raise InputError unless a store may be written to `folder`; remove remains of a build killed at its end."""
    partial, old = partial_folder(folder), _replaced(folder)
    if folder.exists() and (partial / "plan.json").is_file() and not (partial / "store").exists():
        shutil.rmtree(partial, ignore_errors=True)
    if folder.exists() and old.exists():
        shutil.rmtree(old, ignore_errors=True)
    if not folder.exists() and not folder.is_symlink():
        return
    if not overwrite:
        raise InputError(f"{folder}: exists already; choose another name, or replace it with --overwrite")
    if not (folder / METADATA).is_file():
        raise InputError(f"{folder}: exists and is not a store, so it is not overwritten")


def _put_in_place(complete: Path, folder: Path) -> None:
    """Rename the complete store, synchronise the disk, and only then delete the store that it replaces."""
    old = _replaced(folder)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    complete.rename(folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _replaced(folder: Path) -> Path:
    """Temporary name of a store while another replaces it."""
    return folder.with_name(f".{folder.name}.replaced")


def _metadata(
    unfinished: StoreBuilder,
    source: str,
    sizes: NDArray[np.int32],
    elements: dict[str, int],
    sums: dict[str, str],
    num_orbits: NDArray[np.int64] | None,
) -> StoreMetadata:
    kind, recipe = unfinished.kind, unfinished.recipe
    labelled = kind is not None and kind.grid is not None
    default = EnergyGrid()
    num_atoms, num_edges, num_pairs = sizes.sum(axis=0, dtype=np.int64).tolist()
    return StoreMetadata(
        schema=SCHEMA,
        source=source,
        cutoff=recipe.cutoff,
        three_body_cutoff=min(THREE_BODY_CUTOFF, recipe.cutoff),
        grid=kind.grid if kind and kind.grid else (default.start, default.stop, default.num),
        broadening=kind.broadening if kind else None,
        spectra_dtype=recipe.spectra_dtype if labelled else None,
        tensors=recipe.tensors and labelled,
        num_materials=len(unfinished.ids),
        num_atoms=num_atoms,
        num_edges=num_edges,
        num_pairs=num_pairs,
        elements=elements,
        checksums=sums,
        num_orbits=None if num_orbits is None else tuple(num_orbits.tolist()),
    )


def _coverage(atomic_numbers: NDArray[np.uint8], atom_offsets: NDArray[np.int64]) -> dict[str, int]:
    """Number of crystals that contain each element, by symbol, in the order of Z."""
    crystals = np.repeat(np.arange(atom_offsets.size - 1), np.diff(atom_offsets))
    pairs = np.unique(crystals * 256 + atomic_numbers)
    found, counts = np.unique(pairs % 256, return_counts=True)
    return {element_symbol(int(z)): int(count) for z, count in zip(found, counts, strict=True)}
