"""Adding checksums of materials to a store of an earlier version, as `dielectric-gnn prepare upgrade` does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from dielectric_gnn.data.store.appendable import array_checksum
from dielectric_gnn.data.store.check import verify_store
from dielectric_gnn.data.store.files import map_array
from dielectric_gnn.data.store.metadata import checksum_text, read_metadata, write_metadata
from dielectric_gnn.data.store.row_checksums import LARGE_ARRAYS, ROW_CHECKSUMS, MaterialBytes
from dielectric_gnn.utils.files import write_atomically


def upgrade_store(folder: Path) -> list[str]:
    """Verify a store, and add the checksums of its materials if it has none.

    Metadata are written last, so that an interruption leaves either the old or the new store.

    Returns:
        Lines that describe what was done.

    Raises:
        InputError: The store is damaged; see `verify_store`.
    """
    folder = folder.expanduser()
    found = verify_store(folder)
    metadata = read_metadata(folder)
    if ROW_CHECKSUMS in metadata.checksums:
        return [*found, f"{folder}: nothing to add, every material has a checksum"]
    arrays = {name: map_array(folder / f"{name}.npy") for name in metadata.checksums}
    content = MaterialBytes(
        {name: arrays[name] for name in LARGE_ARRAYS if name in arrays},
        arrays["atom_offsets"],
        arrays["edge_offsets"],
        arrays.get("orbit_offsets"),
    )
    sums = content.checksums(np.arange(metadata.num_materials))
    path = folder / f"{ROW_CHECKSUMS}.npy"
    write_atomically(path, lambda temporary: np.save(temporary, sums, allow_pickle=False), durable=True)
    checksums = {**metadata.checksums, ROW_CHECKSUMS: checksum_text(array_checksum(sums))}
    write_metadata(folder, replace(metadata, checksums=checksums))
    return [*found, f"{folder}: added the checksums of {metadata.num_materials} materials"]
