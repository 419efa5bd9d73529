"""Opening zip archives, with checks of the number of their members."""

from __future__ import annotations

import zipfile
from pathlib import Path

from dielectric_gnn.utils.limits import TooLargeError

_MIN_ENTRY_BYTES = 46
"""Smallest size in bytes of an entry of the central directory."""

_MAX_END_BYTES = (1 << 16) + 22 + 20 + 56
"""Largest size in bytes of the end records, with the longest comment."""


def open_zip(path: Path, max_members: int) -> zipfile.ZipFile:
    """Open an archive for reading.

    zipfile reads the complete central directory into memory. If its stated length is damaged, zipfile silently leaves
    out the members beyond it.

    Raises:
        TooLargeError: It may have more members; the central directory was not read.
        OSError, zipfile.BadZipFile: It cannot be read, or the number of listed members differs from the stated one.
    """
    num_members, size = _end(path)
    if size // _MIN_ENTRY_BYTES > max_members:
        raise TooLargeError(f"up to {size // _MIN_ENTRY_BYTES} members, expected at most {max_members}")
    archive = zipfile.ZipFile(path)
    # Some programs write numbers beyond 65,535 modulo 65,536.
    if (num_members - len(archive.infolist())) % (1 << 16):
        archive.close()
        raise zipfile.BadZipFile(f"it states {num_members} members, but lists {len(archive.infolist())}")
    return archive


def _end(path: Path) -> tuple[int, int]:
    """Number of members and size of the central directory as stated at the end of an archive; 0 without end record."""
    with path.open("rb") as file:
        total = path.stat().st_size
        file.seek(max(0, total - _MAX_END_BYTES))
        tail = file.read(_MAX_END_BYTES)

    def number(place: int, size: int) -> int:
        return int.from_bytes(tail[place : place + size], "little")

    end = tail.rfind(b"PK\5\6")
    if end < 0:
        return 0, 0
    longer = tail.rfind(b"PK\6\6", 0, end)  # of an archive with 64-bit numbers, just before
    if longer >= 0 and tail[end - 20 : end - 16] == b"PK\6\7":
        return number(longer + 32, 8), min(number(longer + 40, 8), total)
    return number(end + 10, 2), min(number(end + 12, 4), total)
