"""Zip archives, opened when they list as many members as they state, and not too many."""

from __future__ import annotations

import zipfile
from pathlib import Path

from dielectric_gnn.utils.limits import TooLargeError

_MIN_ENTRY_BYTES = 46
"""Bytes that a member takes in the table of contents, at least."""

_MAX_END_BYTES = (1 << 16) + 22 + 20 + 56
"""Bytes at the end that say where the table of contents is, with the longest comment."""


def open_zip(path: Path, max_members: int) -> zipfile.ZipFile:
    """Open an archive for reading.

    zipfile takes the table of contents into memory as a whole, and takes a damaged length of it for its end: members
    behind that would be missing in silence.

    Raises:
        TooLargeError: It may have more members; the table of contents was not read.
        OSError, zipfile.BadZipFile: It cannot be read, or lists another number of members than it states.
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
    """How many members the end of an archive states, and how many bytes the table of contents takes; 0 without end."""
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
