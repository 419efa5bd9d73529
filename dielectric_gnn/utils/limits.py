"""How large the things may be that are read from files and from the network, and reading that stops there.

A few kilobytes of compressed text can stand for gigabytes. So every reader takes pieces of bounded size and gives up as
soon as the limit is passed, before the memory is used. The limits are many times what real files need; those of
materials are options of the sources (`max_mb`).
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Protocol

MB = 1_000_000

MATERIAL_MB = 64.0
"""One material after decompression: a JSON document, or a group of an HDF5 file. A published one has 1 to 2 MB.

Parsed JSON takes up to twenty times the memory of its text.
"""

STRUCTURE_TEXT_MB = 512.0
"""The text of a structure file after decompression; a CHGCAR of a large cell has hundreds of MB."""

ARCHIVE_MEMBERS = 2_000_000
"""Members of a zip archive, whose table of contents is in memory as a whole."""

TAR_HEADER_MB = 1.0
"""Headers of one member of a tar archive: names and attributes."""

YAML_MB = 1.0
"""A YAML file."""

YAML_VALUES = 100_000
"""Values in a YAML file, those behind aliases counted as often as they are used."""

YAML_DEPTH = 100
"""Levels of values within values in a YAML file."""

API_ANSWER_MB = 16.0
"""An answer of the figshare API."""

ARRAYS_MB = 64.0
"""All arrays of an .npz file."""

METADATA_MB = 64.0
"""A JSON file that this package wrote: of a run, or the metadata of a store."""

_PIECE = 1 << 20


class TooLargeError(ValueError):
    """There is more to read than the limit."""


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end."""
        ...


def read_bounded(file: Readable, max_mb: float) -> bytes:
    """Everything that is left of a file, read in pieces of 1 MiB.

    Args:
        file: Open for reading; what it decompresses counts, not what lies on the disk.
        max_mb: The limit in MB.

    Raises:
        TooLargeError: There is more; no more than the limit and one piece was in memory.
    """
    content = BytesIO()
    for piece in bounded_pieces(file, max_mb):
        content.write(piece)
    return content.getvalue()


def bounded_pieces(file: Readable, max_mb: float) -> Iterator[bytes]:
    """What is left of a file, in pieces of 1 MiB at most; see `read_bounded`."""
    size = 0
    while piece := file.read(_PIECE):
        size += len(piece)
        if size > max_mb * MB:
            raise TooLargeError(f"it holds more than {max_mb:g} MB")
        yield piece
