"""`CrystalStore` on disk: one folder of flat .npy arrays, read as memory maps.

`metadata.json` states the schema, the options of the build, and the sizes and checksums of the arrays. The arrays are
those of `CrystalStore`, except that edges are stored as (E, 2), so that the file can grow; `split_train.npy` and so on
contain positions. `writer` writes a store, `check` verifies every value. Opening it checks the headers and sizes of all
arrays, and the checksums of those with a few bytes per material; the others are verified by `row_checksums`.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.splits import SPLIT_NAMES
from dielectric_gnn.data.store.appendable import array_checksum
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.descriptions import StoredNames
from dielectric_gnn.data.store.metadata import CURE, METADATA, checksum_text, read_metadata
from dielectric_gnn.data.store.row_checksums import LARGE_ARRAYS, ROW_CHECKSUMS, MaterialBytes, RowChecks
from dielectric_gnn.data.store.stored_orbits import COLUMNS as ORBITS
from dielectric_gnn.data.store.stored_orbits import PARTS, StoredOrbits
from dielectric_gnn.data.store.targets import StoredAnisotropy
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError

log = logging.getLogger(__name__)

# Exceptions of NumPy for damaged headers, which it parses as Python literals.
_DAMAGE_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    TypeError,
    KeyError,
    SyntaxError,
    ArithmeticError,
    MemoryError,
    TokenError,
    Warning,
)


def open_store(folder: Path) -> tuple[CrystalStore, dict[str, NDArray[np.int64]]]:
    """Open a store; arrays are memory-mapped, and only tables of a few bytes per crystal are read.

    Returns:
        The store, and the positions of `train`, `val` and `test` in it.

    Raises:
        InputError: As `read_metadata`; or an array is missing, damaged, or inconsistent with the metadata.
    """
    folder = folder.expanduser()
    metadata = read_metadata(folder)
    materials, atoms, edges = metadata.num_materials, metadata.num_atoms, metadata.num_edges
    grid = EnergyGrid(*metadata.grid)

    arrays: dict[str, NDArray[Any]] = {}

    def load(name: str, kind: str, *shape: int) -> NDArray[Any]:
        arrays[name] = _load(folder / f"{name}.npy", kind, shape)
        return arrays[name]

    def load_offsets(name: str, num_rows: int) -> NDArray[np.int64]:
        found = load(name, "int64", materials + 1)
        _check_offsets(folder / f"{name}.npy", found, num_rows)
        return found

    labelled = metadata.spectra_dtype is not None
    dtype = str(metadata.spectra_dtype)
    anisotropy = None
    if metadata.tensors:
        anisotropy = StoredAnisotropy(
            load("eps_deviator", dtype, materials, 5, grid.num, 2),
            load("drude_root", "float32", materials, 6),
            load("known", "bool", materials, 5),
        )
    orbits = None
    if metadata.num_orbits is not None:
        rows = dict(zip(PARTS, metadata.num_orbits, strict=True))
        classes = {
            name: load(f"orbit_{name}", np.dtype(column.dtype).name, rows[column.part], *column.row_shape)
            for name, column in ORBITS.items()
        }
        orbits = StoredOrbits(load("orbit_offsets", "int64", 3, materials + 1), classes)
    store = CrystalStore(
        material_ids=StoredNames(load("material_ids", "U", materials)),
        formulas=StoredNames(load("formulas", "U", materials)),
        atom_offsets=load_offsets("atom_offsets", atoms),
        edge_offsets=load_offsets("edge_offsets", edges),
        sizes=load("sizes", "int32", materials, 3),
        volumes=load("volumes", "float32", materials),
        atomic_numbers=load("atomic_numbers", "uint8", atoms),
        edge_index=load("edge_index", "uint16", edges, 2).T,
        edge_vectors=load("edge_vectors", "float32", edges, 3),
        eps_inter=load("eps_inter", dtype, materials, grid.num, 2) if labelled else None,
        drude=load("drude", "float32", materials) if labelled else None,
        cutoff=metadata.cutoff,
        grid=grid,
        broadening=metadata.broadening,
        anisotropy=anisotropy,
        orbits=orbits,
    )
    split = {name: _split(folder / f"split_{name}.npy", materials) for name in SPLIT_NAMES}
    arrays |= {f"split_{name}": positions for name, positions in split.items()}
    expected = load(ROW_CHECKSUMS, "uint32", materials) if ROW_CHECKSUMS in metadata.checksums else None
    others = metadata.checksums.keys() - arrays.keys()
    if wrong := sorted(others & set(LARGE_ARRAYS)):
        raise InputError(f"{folder / wrong[0]}.npy: not an array of a store as {METADATA} describes it; {CURE}")
    arrays |= {name: map_array(folder / f"{name}.npy") for name in others}
    for name in sorted(arrays.keys() - set(LARGE_ARRAYS)):
        if checksum_text(array_checksum(arrays[name])) != metadata.checksums.get(name):
            raise InputError(f"{folder / name}.npy: damaged (wrong checksum); {CURE}")
    for row, last in zip(arrays.get("orbit_offsets", ()), metadata.num_orbits or (), strict=True):
        _check_offsets(folder / "orbit_offsets.npy", row, last)
    if expected is None:
        log.warning(
            "%s was built by an earlier version: it has no checksums of its materials, so only `dielectric-gnn prepare "
            "verify` detects damage to them; `dielectric-gnn prepare upgrade` adds them",
            folder,
        )
        return store, split
    content = MaterialBytes(arrays, store.atom_offsets, store.edge_offsets, arrays.get("orbit_offsets"))
    return replace(store, checks=RowChecks(content, expected, store.material_ids, folder)), split


def map_array(path: Path) -> NDArray[Any]:
    """Map a .npy file, whose length must match its header.

    Raises:
        InputError: It is missing, truncated, too long or damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns of headers as Python 2 wrote them
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        excess = path.stat().st_size - array.offset - array.nbytes if isinstance(array, np.memmap) else 0
        if excess:
            raise ValueError(f"{excess} bytes too long")
        _check_header(path, array)
    except _DAMAGE_ERRORS as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{path}: missing, truncated or damaged ({reason}); {CURE}") from error
    # As a plain array, because indexing the memmap class costs time on every access.
    return np.asarray(array)


def _check_header(path: Path, array: NDArray[Any]) -> None:
    """Compare the header with the one that NumPy writes, except for its padding with spaces.

    This detects damage that NumPy ignores.
    """
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        length = int.from_bytes(file.read(2), "little")
        text = file.read(length)
    header = np.lib.format.header_data_from_array_1_0(array)
    expected = "{" + "".join(f"{key!r}: {header[key]!r}, " for key in sorted(header)) + "}"
    if text.rstrip(b" \n") != expected.encode() or text[len(expected) :].strip(b" ") != b"\n":
        raise ValueError("the header is not as it was written")


def _load(path: Path, kind: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Map an array; `kind` is the name of its dtype, or `U` for text."""
    array = map_array(path)
    wrong = kind not in (array.dtype.name, array.dtype.kind) or not array.dtype.isnative
    if wrong or array.shape != shape or not array.flags.c_contiguous:
        raise InputError(f"{path}: {array.dtype.str} of shape {array.shape}, expected {kind} of shape {shape}; {CURE}")
    return array


def _check_offsets(path: Path, offsets: NDArray[np.int64], num_rows: int) -> None:
    if offsets[0] != 0 or offsets[-1] != num_rows or (np.diff(offsets) < 0).any():
        raise InputError(f"{path}: damaged, expected increasing numbers from 0 to {num_rows}; {CURE}")


def _split(path: Path, num_materials: int) -> NDArray[np.int64]:
    positions = map_array(path)
    if positions.dtype != np.int64 or positions.ndim != 1 or not ((positions >= 0) & (positions < num_materials)).all():
        raise InputError(f"{path}: damaged, expected positions below {num_materials}; {CURE}")
    return positions
