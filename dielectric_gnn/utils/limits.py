"""Size limits of what is read from files and from the network, and reading that stops at a limit.

A few kilobytes of compressed text can expand to gigabytes. Every reader therefore reads pieces of bounded size and
stops as soon as the limit is exceeded, before the memory is used. The limits are many times what real files need;
those of materials are options of the sources (`max_mb`).
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
"""Members of a zip archive, whose table of contents is read into memory."""

TAR_HEADER_MB = 1.0
"""Headers of one member of a tar archive: names and attributes."""

YAML_MB = 1.0
"""A YAML file."""

YAML_VALUES = 100_000
"""Values in a YAML file; aliases count every time they are used."""

YAML_DEPTH = 100
"""Nesting depth of a YAML file."""

API_ANSWER_MB = 16.0
"""A response of the figshare API."""

ARRAYS_MB = 64.0
"""All arrays of an .npz file."""

METADATA_MB = 64.0
"""A JSON file that this package wrote: of a run, or the metadata of a store."""

_PIECE_BYTES = 1 << 20


class TooLargeError(ValueError):
    """The content is larger than the limit."""


class Readable(Protocol):
    """An object that bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""
        ...


def read_bounded(file: Readable, max_mb: float) -> bytes:
    """Return the remaining content of a file, read in pieces of 1 MiB.

    Args:
        file: Open for reading; the decompressed size counts, not the size on the disk.
        max_mb: The limit in MB.

    Raises:
        TooLargeError: The content is larger; at most the limit and one piece were in memory.
    """
    content = BytesIO()
    for piece in bounded_pieces(file, max_mb):
        content.write(piece)
    return content.getvalue()


def bounded_pieces(file: Readable, max_mb: float) -> Iterator[bytes]:
    """Yield the remaining content of a file in pieces of at most 1 MiB; see `read_bounded`."""
    size = 0
    while piece := file.read(_PIECE_BYTES):
        size += len(piece)
        if size > max_mb * MB:
            raise TooLargeError(f"it holds more than {max_mb:g} MB")
        yield piece
