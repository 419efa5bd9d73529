"""JSON documents one by one from a folder or from a zip or tar archive, without unpacking anything to disk."""

from __future__ import annotations

import struct
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from dielectric_gnn.data.sources.compression import DECOMPRESSION_ERRORS, MAGIC_BYTES, OPENERS, Opened
from dielectric_gnn.data.sources.zip_files import open_zip
from dielectric_gnn.utils.errors import InputError, first_line
from dielectric_gnn.utils.limits import (
    ARCHIVE_MEMBERS,
    MATERIAL_MB,
    MB,
    TAR_HEADER_MB,
    Readable,
    TooLargeError,
    read_bounded,
)
from dielectric_gnn.utils.text import path_text

ZIP_SUFFIX = ".zip"
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_DAMAGE_ERRORS = (
    *DECOMPRESSION_ERRORS,
    *(zipfile.BadZipFile, tarfile.TarError),
    *(struct.error, ValueError, IndexError, KeyError, OverflowError, NotImplementedError),
)
"""What zipfile and tarfile raise for damaged archives; the last line for headers with invalid numbers or texts."""

_BLOCK_BYTES = 512

_LIMIT_HINT = "; a source reads more if its max_mb is set higher"


class JsonDocument(NamedTuple):
    """One JSON file: its path, or the bytes of an archive member, which are compressed according to its name.

    Args:
        source: Name in errors; for a member `archive:member`.
        content: The file, or the bytes.
        problem: Reason why the content cannot be read; empty if it can.
    """

    source: str
    content: Path | bytes
    problem: str = ""


def is_archive(path: Path) -> bool:
    """Whether the name of `path` is that of a zip or tar archive."""
    return path.name.lower().endswith((ZIP_SUFFIX, *TAR_SUFFIXES))


def count_members(path: Path, suffixes: tuple[str, ...]) -> int | None:
    """Number of members that end in one of `suffixes`; None for tar archives, which have no directory."""
    if not path.name.lower().endswith(ZIP_SUFFIX):
        return None
    with _open_zip(path) as archive:
        return sum(_is_wanted(name, suffixes) for name in archive.namelist())


def archive_documents(path: Path, suffixes: tuple[str, ...], max_mb: float = MATERIAL_MB) -> Iterator[JsonDocument]:
    """The members whose names end in one of `suffixes`; in zip archives sorted by name, in tar archives in their order.

    Member names are never used as paths. A damaged zip member, or a member larger than `max_mb`, is a document with a
    `problem`.

    Raises:
        InputError: Not an archive; a truncated tar archive; a zip archive with too many members.
    """
    is_zip = path.name.lower().endswith(ZIP_SUFFIX)
    return _zip_documents(path, suffixes, max_mb) if is_zip else _tar_documents(path, suffixes, max_mb)


def _zip_documents(path: Path, suffixes: tuple[str, ...], max_mb: float) -> Iterator[JsonDocument]:
    with _open_zip(path) as archive:
        wanted = [info for info in archive.infolist() if _is_wanted(info.filename, suffixes)]
        for info in sorted(wanted, key=lambda info: info.filename):
            source = path_text(path, info.filename)
            try:
                with archive.open(info) as file:
                    content = read_bounded(cast(Readable, file), max_mb)
                yield JsonDocument(source, content)
            except TooLargeError as error:
                yield JsonDocument(source, b"", f"{error}{_LIMIT_HINT}")
            except (*_DAMAGE_ERRORS, RuntimeError) as error:  # RuntimeError: encrypted, for example
                yield JsonDocument(source, b"", f"the member cannot be read ({first_line(error)})")


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return open_zip(path, ARCHIVE_MEMBERS)
    except TooLargeError as error:
        raise InputError(f"{path}: {error}; split the archive") from error
    except _DAMAGE_ERRORS as error:
        raise InputError(f"{path}: not a readable zip archive, truncated? ({first_line(error)})") from error


def _tar_documents(path: Path, suffixes: tuple[str, ...], max_mb: float) -> Iterator[JsonDocument]:
    try:
        with path.open("rb") as raw, _decompressed(raw) as plain:
            file = _LimitedReader(plain)
            with tarfile.open(fileobj=cast(BinaryIO, file), mode="r:") as archive:
                while (member := archive.next()) is not None:
                    archive.members = []  # type: ignore[attr-defined]  # else every header stays in memory
                    if _is_wanted(member.name, suffixes) and not member.isdir():
                        file.allow(max_mb)
                        yield _tar_document(archive, member, path_text(path, member.name), max_mb)
                    file.allow(TAR_HEADER_MB)
                _check_end(archive)
    except TooLargeError as error:
        raise InputError(f"{path}: not a tar archive of JSON files ({error})") from error
    except _DAMAGE_ERRORS as error:
        raise InputError(f"{path}: not a readable tar archive, truncated? ({first_line(error)})") from error


def _tar_document(archive: tarfile.TarFile, member: tarfile.TarInfo, source: str, max_mb: float) -> JsonDocument:
    if member.size > max_mb * MB:
        return JsonDocument(source, b"", f"it has more than {max_mb:g} MB{_LIMIT_HINT}")
    file = archive.extractfile(member) if member.isfile() else None
    if file is None:
        return JsonDocument(source, b"", "the member is a link or device, expected a file")
    return JsonDocument(source, read_bounded(cast(Readable, file), max_mb))


def _decompressed(raw: BinaryIO) -> Opened:
    """The uncompressed content of a tar file, recognised by its first bytes."""
    start = raw.read(max(map(len, MAGIC_BYTES)))
    raw.seek(0)
    return OPENERS[next((ending for mark, ending in MAGIC_BYTES.items() if start.startswith(mark)), "")](raw)


class _LimitedReader:
    """A file with a limit on the number of bytes read, which `allow` resets; seeking is not limited.

    It is needed because tarfile reads headers of any length into memory.

    Args:
        file: File open for reading.
    """

    def __init__(self, file: Opened) -> None:
        self._file = file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close
        self.allow(TAR_HEADER_MB)

    def allow(self, max_mb: float) -> None:
        """Set the limit for the following reads, rounded up to records of a tar archive."""
        self._left = max_mb * MB + 2 * tarfile.RECORDSIZE

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= self._left:
            raise TooLargeError(f"the headers of a member take more than {TAR_HEADER_MB:g} MB")
        self._left -= size
        return self._file.read(size)


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise ReadError if the end mark, a block of zeros, is missing: tarfile treats an unreadable header as the end."""
    if archive.fileobj is None:
        return
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(_BLOCK_BYTES) != bytes(_BLOCK_BYTES):
        raise tarfile.ReadError("the end mark is missing")


def _is_wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes) and not is_shadow(name)


def is_shadow(name: str) -> bool:
    """Whether a file is a `._` file that macOS writes beside the original."""
    return name.rsplit("/", 1)[-1].startswith("._")
