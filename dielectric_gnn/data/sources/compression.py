"""Opening of compressed files, recognised by the suffix of the name or by the first bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from typing import BinaryIO, TypeAlias

Opened: TypeAlias = BinaryIO | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile


DECOMPRESSION_ERRORS = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What the readers of compressed files raise for damaged or truncated ones."""


def _uncompressed(raw: BinaryIO) -> Opened:
    return raw


OPENERS: dict[str, Callable[[BinaryIO], Opened]] = {
    "": _uncompressed,
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
"""Functions that open a file, by the last suffix of its name; the empty suffix is that of uncompressed files."""

MAGIC_BYTES = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\0": ".xz"}
"""First bytes of compressed files, and the suffix of each format."""


def compression_suffix(name: str) -> str:
    """The suffix of a file's name, in lower case, that states its compression; empty for an uncompressed file."""
    return next((suffix for suffix in OPENERS if suffix and name.lower().endswith(suffix)), "")
