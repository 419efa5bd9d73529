"""JSON documents one by one from a folder or from a zip or tar archive, without unpacking anything to disk."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dielectric_gnn.errors import InputError

ZIP_SUFFIX = ".zip"
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, struct.error)
_BLOCK = 512


class JsonDocument(NamedTuple):
    """One JSON file: where it lies, or the bytes of an archive member, still compressed if its name says so.

    Args:
        source: Named in errors; for a member `archive:member`.
        content: The file, or the bytes.
        problem: Why the content could not be read, if it could not.
    """

    source: str
    content: Path | bytes
    problem: str = ""


def is_archive(path: Path) -> bool:
    """Whether the name of `path` is that of a zip or tar archive."""
    return path.name.lower().endswith((ZIP_SUFFIX, *TAR_SUFFIXES))


def count_members(path: Path, suffixes: tuple[str, ...]) -> int | None:
    """How many members of the archive end in one of `suffixes`; None for tar, which has no table of contents."""
    if not path.name.lower().endswith(ZIP_SUFFIX):
        return None
    with _open_zip(path) as archive:
        return sum(_is_wanted(name, suffixes) for name in archive.namelist())


def archive_documents(path: Path, suffixes: tuple[str, ...]) -> Iterator[JsonDocument]:
    """The members whose names end in one of `suffixes`; zip in the order of names, tar in its own.

    Member names are never used as paths. A damaged zip member is a document with a `problem`.

    Raises:
        InputError: Not an archive, or a tar archive that breaks off.
    """
    is_zip = path.name.lower().endswith(ZIP_SUFFIX)
    return _zip_documents(path, suffixes) if is_zip else _tar_documents(path, suffixes)


def _zip_documents(path: Path, suffixes: tuple[str, ...]) -> Iterator[JsonDocument]:
    with _open_zip(path) as archive:
        wanted = [info for info in archive.infolist() if _is_wanted(info.filename, suffixes)]
        for info in sorted(wanted, key=lambda info: info.filename):
            source = _source(path, info.filename)
            try:
                yield JsonDocument(source, archive.read(info))
            except (*_DAMAGE, zipfile.BadZipFile, RuntimeError) as error:  # RuntimeError: encrypted, for example
                yield JsonDocument(source, b"", f"the member cannot be read ({_reason(error)})")


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable zip archive, truncated? ({_reason(error)})") from error


def _tar_documents(path: Path, suffixes: tuple[str, ...]) -> Iterator[JsonDocument]:
    try:
        with tarfile.open(path, "r:*") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # else every header stays in memory
                if not _is_wanted(member.name, suffixes) or member.isdir():
                    continue
                source = _source(path, member.name)
                file = archive.extractfile(member) if member.isfile() else None
                if file is None:
                    yield JsonDocument(source, b"", "the member is a link or device, expected a file")
                else:
                    yield JsonDocument(source, file.read())
            _check_end(archive)
    except (*_DAMAGE, tarfile.TarError) as error:
        raise InputError(f"{path}: not a readable tar archive, truncated? ({_reason(error)})") from error


def _check_end(archive: tarfile.TarFile) -> None:
    """Tell the end mark, a block of zeros, from damage: tarfile takes an unreadable header for the end."""
    if archive.fileobj is None:
        return
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(_BLOCK) != bytes(_BLOCK):
        raise tarfile.ReadError("the end mark is missing")


def _is_wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes) and not is_shadow(name)


def is_shadow(name: str) -> bool:
    """Whether a file is a `._` companion that macOS puts beside the real one."""
    return name.rsplit("/", 1)[-1].startswith("._")


def _source(path: Path, member: str) -> str:
    # An error must stay one line whatever the archive holds.
    return f"{path}:" + "".join(letter if letter.isprintable() else "?" for letter in member)


def _reason(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
