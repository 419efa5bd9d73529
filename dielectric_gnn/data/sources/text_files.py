"""Text of structure files: plain or compressed, in the encodings that people have."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path

from dielectric_gnn.errors import RecordError

_OPENERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}


def without_compression(name: str) -> str:
    """A file name without an ending that says how it is compressed."""
    lower = name.lower()
    return next((name[: -len(ending)] for ending in _OPENERS if lower.endswith(ending)), name)


def read_text(path: Path) -> str:
    """The text of a file: UTF-8, UTF-16 where the file says so, else Latin-1 (names of authors in old CIF files).

    Raises:
        RecordError: It cannot be read.
    """
    ending = next((ending for ending in _OPENERS if path.name.lower().endswith(ending)), "")
    try:
        raw = path.read_bytes()
        raw = _OPENERS[ending](raw) if ending else raw
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise RecordError(str(path), f"cannot be read, truncated? ({str(error) or type(error).__name__})") from error
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _decoded(raw, "utf-16", path)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _decoded(raw, "latin-1", path)


def _decoded(raw: bytes, encoding: str, path: Path) -> str:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise RecordError(str(path), f"is no text in {encoding} ({error.reason}); save it as UTF-8") from error
    if "\0" in text:
        raise RecordError(str(path), "holds zero bytes, so it is no text file; save it as UTF-8")
    return text
