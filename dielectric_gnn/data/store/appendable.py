"""Arrays on disk that grow as they are written, and checksums of them."""

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
    """A .npy file that grows row by row; the header is written again when the number of rows is known.

    `checksum` is the CRC-32 of all rows so far, taken before they go to the disk. Of the checksums that the standard
    library has, it alone can be stored and continued (blake2b and the like hide their state), and with several GB/s
    it costs nothing; it is there to find damage, not forgery.

    Args:
        path: The file.
        dtype: Of the elements.
        row_shape: Of a row.
        num_rows: Rows of an existing file to keep; what lies behind them is cut off. 0 begins anew.
        checksum: Of these rows.
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
        """Bytes of a row."""
        return np.dtype(dtype).itemsize * int(np.prod(row_shape, dtype=np.int64))

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows (n, *row_shape)."""
        content = rows.astype(self._dtype).tobytes()
        self._file.write(content)
        self.checksum = zlib.crc32(content, self.checksum)
        self.num_rows += len(rows)

    def flush(self) -> None:
        """Hand everything to the operating system, where it survives the end of this process."""
        self._file.flush()

    def close(self) -> None:
        """State the number of rows."""
        with self._file:
            self._file.seek(0)
            self._write_header()

    def abandon(self) -> None:
        """Close the file as it is, also when the disk is full."""
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
        advance: Called with the number of bytes after every block.
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
    """How many of the claims (number of rows, checksum of them) about a growing file hold, until the first that fails.

    Args:
        path: The file of a `AppendableArray`.
        row_bytes: Size of a row.
        ends: The claims, rising.
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
    """The checksum after `size` more bytes; -1 where the file ends before."""
    while size:
        block = file.read(min(size, _BLOCK_BYTES))
        if not block:
            return -1
        checksum = zlib.crc32(block, checksum)
        size -= len(block)
    return checksum
