"""Arrays on disk that are written by appending rows, and their checksums."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

_BLOCK_BYTES = 1 << 24


class AppendableArray:
    """A .npy file to which rows are appended; the header is rewritten with the number of rows at the end.

    `checksum` is the CRC-32 of all rows so far, computed before they are written. It is the checksum of the standard
    library whose state can be stored and continued (hashlib's functions hide theirs), and runs at several GB/s. It
    detects damage, not forgery.

    Args:
        path: The file.
        dtype: Type of the elements.
        row_shape: Shape of a row.
        num_rows: Rows of an existing file to keep; the rest is truncated. 0 starts a new file.
        checksum: Checksum of these rows.
    """

    def __init__(
        self, path: Path, dtype: DTypeLike, row_shape: Sequence[int] = (), num_rows: int = 0, checksum: int = 0
    ) -> None:
        self._dtype = np.dtype(dtype)
        self._row_shape = tuple(row_shape)
        self.num_rows = num_rows
        self.checksum = checksum
        self._file = path.open("r+b" if num_rows else "wb")
        self._write_header()
        self._file.seek(self._file.tell() + num_rows * self.size_of_rows(self._dtype, self._row_shape))
        self._file.truncate()

    @staticmethod
    def size_of_rows(dtype: DTypeLike, row_shape: Sequence[int]) -> int:
        """Size of a row in bytes."""
        return np.dtype(dtype).itemsize * int(np.prod(row_shape, dtype=np.int64))

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows (n, *row_shape)."""
        content = rows.astype(self._dtype).tobytes()
        self._file.write(content)
        self.checksum = zlib.crc32(content, self.checksum)
        self.num_rows += len(rows)

    def flush(self) -> None:
        """Pass all data to the operating system, so that they survive the end of this process."""
        self._file.flush()

    def close(self) -> None:
        """Write the number of rows into the header, and close the file."""
        with self._file:
            self._file.seek(0)
            self._write_header()

    def abandon(self) -> None:
        """Close the file without updating the header; errors, for example of a full disk, are ignored."""
        with suppress(OSError):
            self._file.close()

    def _write_header(self) -> None:
        # NumPy pads the header so that the length of the first axis can grow to any size in place.
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.num_rows, *self._row_shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


def array_checksum(array: NDArray[Any], advance: Any = None) -> int:
    """CRC-32 of the elements of a contiguous array, read block by block.

    Args:
        array: The array, possibly on disk.
        advance: Callback with the number of bytes, after every block.
    """
    checksum = 0
    flat = array.reshape(-1).view(np.uint8) if array.size else np.zeros(0, np.uint8)
    for start in range(0, flat.size, _BLOCK_BYTES):
        block = flat[start : start + _BLOCK_BYTES]
        checksum = zlib.crc32(block.data, checksum)
        if advance is not None:
            advance(block.size)
    return checksum


def count_valid_states(path: Path, row_bytes: int, ends: Sequence[tuple[int, int]]) -> int:
    """Number of recorded states (rows, checksum) of a growing file that match it, up to the first failure.

    Args:
        path: File of an `AppendableArray`.
        row_bytes: Size of a row.
        ends: Recorded numbers of rows, increasing, with the checksums of all rows before.
    """
    checksum = rows = 0
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            for good, (num_rows, expected) in enumerate(ends):
                checksum = _continued(file, (num_rows - rows) * row_bytes, checksum)
                rows = num_rows
                if checksum != expected:
                    return good
    except (OSError, ValueError, EOFError, SyntaxError, TokenError):
        return 0
    return len(ends)


def _continued(file: BinaryIO, size: int, checksum: int) -> int:
    """The checksum after `size` more bytes; -1 if the file ends before."""
    while size:
        block = file.read(min(size, _BLOCK_BYTES))
        if not block:
            return -1
        checksum = zlib.crc32(block, checksum)
        size -= len(block)
    return checksum
