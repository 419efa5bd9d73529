"""A checksum for every material of a store, verified when the material is first used in a process.

Training reads materials one by one from files that may be larger than the memory. The checksum of a complete file would
have to be computed before the first step; that of a material takes a few microseconds when the material is first read.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.store.flat import offsets
from dielectric_gnn.data.store.stored_orbits import COLUMNS, PARTS
from dielectric_gnn.utils.errors import InputError

ROW_CHECKSUMS = "row_checksums"
"""Name of the array, (M,) uint32."""

_ATOMS, _EDGES, _MATERIALS = "atoms", "edges", "materials"
_OWNERS = {
    "atomic_numbers": _ATOMS,
    "edge_index": _EDGES,
    "edge_vectors": _EDGES,
    "eps_inter": _MATERIALS,
    "eps_deviator": _MATERIALS,
    **{f"orbit_{name}": column.part for name, column in COLUMNS.items()},
}
"""The arrays in the checksum, in their order, and what their rows belong to. The other arrays of a store are tables of
a few bytes per material, whose checksums are verified when the store is opened."""

LARGE_ARRAYS = tuple(_OWNERS)


class MaterialBytes:
    """Byte ranges of each material in the large arrays of a store.

    Args:
        arrays: Arrays as on disk, by name; only those in `LARGE_ARRAYS` are used.
        atom_offsets: (M + 1,), first row of the atoms of each material.
        edge_offsets: (M + 1,), likewise for edges.
        orbit_offsets: (3, M + 1), likewise for classes of atoms, edges and pairs; None without orbits.
    """

    def __init__(
        self,
        arrays: Mapping[str, NDArray[Any]],
        atom_offsets: NDArray[np.int64],
        edge_offsets: NDArray[np.int64],
        orbit_offsets: NDArray[np.int64] | None,
    ) -> None:
        bounds = {_ATOMS: atom_offsets, _EDGES: edge_offsets, _MATERIALS: np.arange(atom_offsets.size)}
        if orbit_offsets is not None:
            bounds |= dict(zip(PARTS, orbit_offsets, strict=True))
        self._parts: list[tuple[memoryview, int, NDArray[np.int64]]] = []
        for name, owner in _OWNERS.items():
            if name in arrays and arrays[name].size:
                array = arrays[name]
                row_bytes = array.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
                self._parts.append((array.reshape(-1).view(np.uint8).data, row_bytes, bounds[owner]))

    @classmethod
    def from_chunk(cls, arrays: Mapping[str, NDArray[Any]]) -> MaterialBytes:
        """Construct from arrays of a few materials with their `sizes` and, with orbits, `orbit_sizes`."""
        sizes, orbit_sizes = arrays["sizes"], arrays.get("orbit_sizes")
        orbits = None if orbit_sizes is None else np.stack([offsets(column) for column in orbit_sizes.T])
        return cls(arrays, offsets(sizes[:, 0]), offsets(sizes[:, 1]), orbits)

    def checksums(self, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """CRC-32 of the rows of the materials at the given positions (B,), array after array."""
        found = [0] * rows.size
        for view, row_bytes, bounds in self._parts:
            starts, stops = (bounds[rows] * row_bytes).tolist(), (bounds[rows + 1] * row_bytes).tolist()
            found = [
                zlib.crc32(view[start:stop], checksum)
                for start, stop, checksum in zip(starts, stops, found, strict=True)
            ]
        return np.array(found, dtype=np.uint32)


class RowChecks:
    """Verifies the checksums of materials of a store on disk, each once per process.

    Args:
        content: Byte ranges of the materials.
        expected: Stored checksums, (M,) uint32.
        names: Material ids.
        folder: Folder of the store, for messages.
    """

    def __init__(
        self, content: MaterialBytes, expected: NDArray[np.uint32], names: Sequence[str], folder: Path
    ) -> None:
        self._content = content
        self._expected = expected
        self._names = names
        self._folder = folder
        self._sound = np.zeros(expected.size, dtype=bool)

    def check(self, rows: NDArray[np.int64]) -> None:
        """Verify the materials at the given positions, except those verified before.

        Raises:
            InputError: A checksum is wrong.
        """
        fresh = rows[~self._sound[rows]]
        if not fresh.size:
            return
        bad = fresh[self._content.checksums(fresh) != self._expected[fresh]]
        if bad.size:
            raise InputError(
                f"{self._folder}: damaged: material {self._names[int(bad[0])]!r} (number {int(bad[0])}) has a "
                "wrong checksum; `dielectric-gnn prepare verify` names the file; build the store anew, or copy it again"
            )
        self._sound[fresh] = True
