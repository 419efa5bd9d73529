"""Datasets of HDF5 files, read up to a size limit: a few bytes can declare, or decompress to, gigabytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dielectric_gnn.utils.limits import MB, TooLargeError

if TYPE_CHECKING:
    import h5py

_ALLOWED_DTYPE_KINDS = "fciuSUO"
"""Dtype kinds that are read: numbers, and text of fixed (S, U) or variable (O) length."""

_MAX_COMPRESSION_RATIO = 1032
"""Largest compression ratio of gzip; those of LZF and SZIP are far smaller."""


def read_datasets(file: h5py.File, group_name: str, keys: Sequence[str], max_mb: float) -> dict[str, Any]:
    """Read the datasets `keys` that exist in a group.

    Links to other files, and datasets whose values lie in other files, are not followed: what a file names is not
    opened. Only the filters of the HDF5 library itself are used.

    Args:
        file: File open for reading.
        group_name: Name of the group.
        keys: Names of datasets; others are ignored.
        max_mb: Largest total size in memory, and of each while it is decompressed, in MB.

    Raises:
        TooLargeError: They are larger; nothing was read.
        ValueError: A dataset is a link, is stored in another file, or has an unsupported filter.
        AttributeError, KeyError, OSError, RuntimeError, TypeError: It is damaged or not a dataset.
    """
    import h5py

    def hard(parent: h5py.Group, name: str) -> Any:
        if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} is a link to another place, expected a dataset")
        return parent[name]

    group = hard(file, group_name)
    found = {key: hard(group, key) for key in keys if key in group}
    sizes = {key: _num_bytes(key, dataset) for key, dataset in found.items()}
    if sum(sizes.values()) > max_mb * MB:
        raise TooLargeError(f"its datasets take {sum(sizes.values()) / MB:.4g} MB, expected at most {max_mb:g} MB")
    for key, dataset in found.items():
        if (most := _decompressed_bytes(key, dataset)) > max(max_mb, 1) * MB:
            raise TooLargeError(
                f"{key} may become {most / MB:.4g} MB when decompressed, expected at most {max_mb:g} MB"
            )
    return {key: dataset[()] for key, dataset in found.items()}


def _num_bytes(key: str, dataset: h5py.Dataset) -> int:
    """Size of a dataset in memory, in bytes."""
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"the values of {key!r} lie in other files")
    # The HDF5 library reads beyond its memory where the parts of a value overlap: one flipped bit ended the process.
    if dataset.dtype.kind not in _ALLOWED_DTYPE_KINDS:
        raise ValueError(f"{key!r} is of type {dataset.dtype}, expected numbers or text")
    # Texts of any length lie elsewhere in the file, where many elements may share one.
    if dataset.dtype.hasobject and dataset.shape != ():
        raise ValueError(f"{key!r} is an array of texts or objects, expected numbers or one text")
    return int(np.prod((*dataset.shape, dataset.dtype.itemsize), dtype=object))


def _decompressed_bytes(key: str, dataset: h5py.Dataset) -> int:
    """Largest size in bytes of the chunks of a dataset while they are read; 0 without chunks.

    A chunk that decompresses to more than it declares is taken into memory before the library notices.
    """
    import h5py

    if dataset.chunks is None:
        return 0
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(place)[0] for place in range(properties.get_nfilters())]
    known = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32, h5py.h5z.FILTER_LZF}
    if unknown := set(filters) - known:
        raise ValueError(f"{key!r} is compressed by filter number {min(unknown)}; gzip and LZF are read")
    declared = int(np.prod((*dataset.chunks, dataset.dtype.itemsize), dtype=object))
    times = filters.count(h5py.h5z.FILTER_DEFLATE) + filters.count(h5py.h5z.FILTER_LZF)
    return max(declared, int(dataset.id.get_storage_size()) * _MAX_COMPRESSION_RATIO**times if times else 0)
