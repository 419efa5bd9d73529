"""Arrays of .npz files, with checks of their size before reading and of the checksums of the archive."""

from __future__ import annotations

import zipfile
import zlib
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.sources.compression import DECOMPRESSION_ERRORS
from dielectric_gnn.data.sources.zip_files import open_zip
from dielectric_gnn.utils.errors import RecordError, first_line
from dielectric_gnn.utils.limits import ARRAYS_MB, MB, Readable, TooLargeError, read_bounded

_MAX_MEMBERS = 10_000
_SUFFIX = ".npy"
# Exceptions of NumPy for headers, which it parses as Python literals, and of zipfile for archives.
_DAMAGE_ERRORS = (
    *DECOMPRESSION_ERRORS,
    *(ValueError, TypeError, KeyError, SyntaxError, ArithmeticError, MemoryError, RuntimeError, TokenError),
    *(zipfile.BadZipFile, NotImplementedError),
)


def read_npz(path: Path, max_mb: float = ARRAYS_MB) -> dict[str, NDArray[Any]]:
    """All arrays of a file, by name. Nothing is unpickled.

    Args:
        path: The file.
        max_mb: Largest total size (MB) of the arrays after decompression.

    Raises:
        RecordError: It cannot be read, a checksum is wrong, or it is too large.
    """
    try:
        with open_zip(path, _MAX_MEMBERS) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > max_mb * MB:
                raise TooLargeError(f"its arrays take more than {max_mb:g} MB")
            arrays = {}
            for member in members:
                with archive.open(member) as file:  # read to its end, where the checksum is compared
                    content = read_bounded(cast(Readable, file), max_mb)
                if zlib.crc32(content) != member.CRC:
                    raise ValueError(f"the checksum of {member.filename} is wrong")
                arrays[member.filename.removesuffix(_SUFFIX)] = _array(content)
            return arrays
    except _DAMAGE_ERRORS as error:
        raise RecordError(
            str(path), f"not readable as .npz, damaged? ({first_line(error)}); get the file again"
        ) from error


def _array(content: bytes) -> NDArray[Any]:
    """An array from the bytes of an .npy file, whose length must match its header."""
    file = BytesIO(content)
    version = np.lib.format.read_magic(file)
    reader = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, fortran_order, dtype = reader(file)
    if dtype.hasobject:
        raise ValueError("it contains objects, expected numbers or text")
    if int(np.prod((*shape, dtype.itemsize), dtype=object)) != len(content) - file.tell():
        raise ValueError(f"shape {shape} of {dtype} does not fit the length of the data")
    array = np.frombuffer(content, dtype, offset=file.tell()) if dtype.itemsize else np.zeros(shape, dtype)
    return array.reshape(shape, order="F" if fortran_order else "C").copy()
