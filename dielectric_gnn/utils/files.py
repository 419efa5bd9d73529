"""Atomic writes: a reader sees the old file or the new one, never a part."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.utils.csv_cells import csv_row
from dielectric_gnn.utils.errors import InputError

_MAX_STEM_BYTES = 120
"""A file name has at most 255 bytes; endings and temporary files need some of them."""

_RESERVED_STEMS = re.compile(r"|summary|index|rejects|finished-.*|.*_(tensor|optics|nk|meep|x|y|z)")
"""Stems that other files in a folder of materials have, or could have."""

_TEMPORARY_NAME = re.compile(r"\..*\.\d+\.tmp(\.[^.]*)?")
"""Names of the temporary files of `write_atomically`."""


def file_stem(material_id: str) -> str:
    """Return the stem of the file names of a material, different for different materials.

    Characters that file systems do not allow become `_`, and long ids are cut. If that changes the id, or the name
    could be that of another file, a hash of the id is added.

    Example:
        >>> file_stem("fcc-Ag")
        'fcc-Ag'
        >>> file_stem("Ag 1")
        'Ag_1-98102216'
    """
    stem = re.sub(r"[^\w.+-]", "_", material_id).lstrip(".")
    stem = stem.encode()[:_MAX_STEM_BYTES].decode(errors="ignore")
    if stem == material_id and not _RESERVED_STEMS.fullmatch(stem):
        return stem
    return f"{stem}-{hashlib.sha256(material_id.encode(errors='surrogatepass')).hexdigest()[:8]}"


def encodable(text: str) -> str:
    """Return text that UTF-8 can encode: bytes of a file name that are not UTF-8 are escaped in hexadecimal digits."""
    return text.encode(errors="backslashreplace").decode()


def user_path(text: str) -> Path:
    """Return a path from a user with `~` replaced by the home folder, also where the shell has not done so."""
    return Path(text).expanduser()


def check_writable(folder: Path) -> None:
    """Check that files can be written to a folder, which need not exist yet.

    Raises:
        InputError: It is a file, its parent is a file, or the user has no permission to write there.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not nearest.is_dir():
        raise InputError(f"{folder}: {nearest} is not a folder; choose another one to write to")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: no permission to write to {nearest.absolute()}; choose another folder")


def sync(path: Path) -> None:
    """Force a file, or the entries of a folder, to the disk, so that they survive a power failure."""
    folder = path.is_dir()
    if folder and sys.platform == "win32":
        return  # folders cannot be opened there
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, write: Callable[[Path], object], durable: bool = False) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it into place.

    An interrupted write leaves the old file unchanged and no partial file under the final name.

    Args:
        path: The file; parent folders are created.
        write: Called with the temporary path, which has the suffix of `path`.
        durable: Wait until the content is on the disk before the old file is replaced, so that a power failure leaves
            one of them, too. It takes milliseconds: for few important files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        write(temporary)
        if durable:
            sync(temporary)
        temporary.replace(path)
    except Exception as error:
        _add_file_name(error, path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _add_file_name(error: BaseException, path: Path) -> None:
    """Add the file name to the OSError behind an exception: the one of a full disk has none."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.filename is None and found.errno is not None:
            found.filename = str(path)
            return
        found = found.__cause__ or found.__context__


def remove_temporary_files(folder: Path) -> None:
    """Remove temporary files of killed processes; only while no other process writes to the folder."""
    for path in folder.glob(".*.tmp*"):
        if _TEMPORARY_NAME.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str, durable: bool = False) -> None:
    """Write UTF-8 text atomically; see `write_atomically`."""
    write_atomically(path, lambda temporary: temporary.write_text(encodable(text), encoding="utf-8"), durable)


def write_csv(
    path: Path, header: Iterable[str], rows: Iterable[Iterable[object]], comments: Iterable[str] = ()
) -> None:
    """Write a table as CSV, atomically; see `csv_row` for texts that spreadsheets would evaluate as formulas.

    Args:
        path: The file.
        header: Column names, with units.
        rows: The cells.
        comments: Lines before the header, each marked with `# `.
    """

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(map(_comment, comments))
            file.write(csv_row(header))
            file.writelines(map(csv_row, rows))

    write_atomically(path, write)


def write_columns(path: Path, columns: Mapping[str, NDArray[np.floating]], comments: Iterable[str] = ()) -> None:
    """Write columns of numbers as CSV with six digits, atomically, several times faster than `write_csv`.

    Args:
        path: The file.
        columns: Values by name, all of one length.
        comments: Lines before the header, each marked with `# `.
    """
    values = np.column_stack(list(columns.values()))
    line = ",".join(["%.6g"] * len(columns)) + "\n"
    head = "".join(map(_comment, comments)) + ",".join(columns) + "\n"
    write_text(path, head + (line * len(values)) % tuple(values.ravel().tolist()))


def _comment(text: str) -> str:
    """Return a comment line; a line break within the text would begin a row."""
    return f"# {' '.join(text.splitlines())}\n"
