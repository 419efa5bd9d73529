"""Compressed files: how each kind is opened, by the ending of its name or by what it begins with."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from typing import BinaryIO, TypeAlias

Opened: TypeAlias = BinaryIO | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile


def _as_it_is(raw: BinaryIO) -> Opened:
    return raw


OPENERS: dict[str, Callable[[BinaryIO], Opened]] = {
    "": _as_it_is,
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
}
"""Openers by the last ending of a file's name; the empty one is that of files that are not compressed."""

MARKS = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\0": ".xz"}
"""What compressed files begin with, and the ending that belongs to it."""


def ending_of(name: str) -> str:
    """The ending of a file's name, in small letters, that says how it is compressed; empty if it is not."""
    return next((ending for ending in OPENERS if ending and name.lower().endswith(ending)), "")
