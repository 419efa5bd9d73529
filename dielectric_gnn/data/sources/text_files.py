"""Text of structure files: plain or compressed, in UTF-8, UTF-16 or Latin-1."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from dielectric_gnn.data.sources.compression import DECOMPRESSION_ERRORS, OPENERS, compression_suffix
from dielectric_gnn.utils.errors import RecordError
from dielectric_gnn.utils.limits import STRUCTURE_TEXT_MB, TooLargeError, bounded_pieces


def without_compression(name: str) -> str:
    """A file name without the suffix of its compression."""
    return name[: len(name) - len(compression_suffix(name))]


def read_text(path: Path, max_mb: float = STRUCTURE_TEXT_MB) -> str:
    """The text of a file: UTF-8, UTF-16 with a byte-order mark, else Latin-1 (names of authors in old CIF files).

    Args:
        path: The file.
        max_mb: Longest text after decompression; no more is ever in memory.

    Raises:
        RecordError: It cannot be read, or is too large.
    """
    raw = b"".join(_pieces(path, max_mb))
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _decoded(raw, "utf-16", path)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _decoded(raw, "latin-1", path)


def check_size(path: Path, max_mb: float = STRUCTURE_TEXT_MB) -> None:
    """Raise RecordError if a file, which another library will read, is too large or cannot be decompressed."""
    for _ in _pieces(path, max_mb):
        pass


def _pieces(path: Path, max_mb: float) -> Iterator[bytes]:
    """The content of a file after decompression, in pieces."""
    try:
        with path.open("rb") as file, OPENERS[compression_suffix(path.name)](file) as content:
            yield from bounded_pieces(content, max_mb)
    except TooLargeError as error:
        raise RecordError(str(path), f"{error} of text; extract the structure into a file of its own") from error
    except (*DECOMPRESSION_ERRORS, ValueError) as error:
        raise RecordError(str(path), f"cannot be read, truncated? ({str(error) or type(error).__name__})") from error


def _decoded(raw: bytes, encoding: str, path: Path) -> str:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise RecordError(str(path), f"is not text in {encoding} ({error.reason}); save it as UTF-8") from error
    if "\0" in text:
        raise RecordError(str(path), "contains zero bytes, so it is not a text file; save it as UTF-8")
    return text
