"""Zip archives that end with a hash of all that is before it, so that any changed bit is noticed.

The checksums of a zip archive cover the content of its members, not the headers between them, and PyTorch does not
check them when it reads one. The hash stands in the comment at the end of the archive, which readers skip.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

from dielectric_gnn.utils.errors import InputError

_LABEL = b"dielectric_gnn blake2b "
_SIZE = 32
_COMMENT = len(_LABEL) + 2 * _SIZE
_END = b"PK\x05\x06"
_END_SIZE = 22
"""Of the record that ends an archive, with its signature, without a comment."""


def seal(path: Path) -> None:
    """Append the hash to an archive that has no comment."""
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)  # the length of the comment
        file.write(_COMMENT.to_bytes(2, "little"))
        file.seek(0)
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_SIZE))
        file.write(_LABEL + digest.hexdigest().encode())


def check_archive(path: Path) -> None:
    """Check that an archive is as it was written: by its hash, or without one by the checksums of its members.

    Raises:
        InputError: It is not, or its members are compressed, which would let a small file ask for much memory.
    """
    damaged = f"{path}: damaged, or not written to its end: %s; use another copy of the file"
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise InputError(f"{path}: not a checkpoint, which is a zip archive")
        file.seek(max(0, size - _END_SIZE))
        ending = file.read()
        if not (ending.startswith(_END) and ending.endswith(b"\0\0")):
            _check_hash(path, file.seek(max(0, size - _COMMENT)), damaged)
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise InputError(f"{path}: not a checkpoint, whose members are not compressed")
            if not archive.comment and (member := archive.testzip()) is not None:
                raise InputError(damaged % f"the checksum of {member} differs")
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(damaged % error) from error


def _check_hash(path: Path, length: int, damaged: str) -> None:
    """Check the hash of the first `length` bytes, which stands behind them."""
    digest = hashlib.blake2b(digest_size=_SIZE)
    with path.open("rb") as file:
        left = length
        while block := file.read(min(left, 1 << 20)):
            digest.update(block)
            left -= len(block)
        if file.read() != _LABEL + digest.hexdigest().encode():
            raise InputError(damaged % "the hash at its end differs")
