"""Zip archives that end with a hash of everything before it, so that any changed bit is detected.

The checksums of a zip archive cover the content of its members, not the headers between them, and PyTorch does not
verify them when it reads an archive. The hash is in the comment at the end of the archive, which readers skip.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

from dielectric_gnn.utils.errors import InputError

_LABEL = b"dielectric_gnn blake2b "
_HASH_BYTES = 32
_COMMENT_BYTES = len(_LABEL) + 2 * _HASH_BYTES
_END_RECORD = b"PK\x05\x06"
_END_RECORD_BYTES = 22
"""Size of the record at the end of an archive, with its signature and without a comment."""


def seal(path: Path) -> None:
    """Append the hash to an archive that has no comment."""
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)  # the length of the comment
        file.write(_COMMENT_BYTES.to_bytes(2, "little"))
        file.seek(0)
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_HASH_BYTES))
        file.write(_LABEL + digest.hexdigest().encode())


def check_archive(path: Path) -> None:
    """Verify an archive by its hash, or without a hash by the checksums of its members.

    Raises:
        InputError: It is damaged, or its members are compressed, so that a small file could need much memory.
    """
    damaged = f"{path}: damaged, or not written to its end: %s; use another copy of the file"
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise InputError(f"{path}: not a checkpoint, which is a zip archive")
        file.seek(max(0, size - _END_RECORD_BYTES))
        ending = file.read()
        if not (ending.startswith(_END_RECORD) and ending.endswith(b"\0\0")):
            _check_hash(path, file.seek(max(0, size - _COMMENT_BYTES)), damaged)
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
    """Verify the hash of the first `length` bytes, which follows them."""
    digest = hashlib.blake2b(digest_size=_HASH_BYTES)
    with path.open("rb") as file:
        left = length
        while block := file.read(min(left, 1 << 20)):
            digest.update(block)
            left -= len(block)
        if file.read() != _LABEL + digest.hexdigest().encode():
            raise InputError(damaged % "the hash at its end differs")
