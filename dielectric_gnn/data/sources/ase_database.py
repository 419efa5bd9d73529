"""ASE database files (SQLite), read by the standard library: nothing that they contain is executed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import numpy as np

from dielectric_gnn.data.graphs.cells import MAX_ATOMS
from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.utils.errors import RecordError

_PERIODIC = 7
"""All three bits of the column `pbc`."""
_MAX_ROW_BYTES = 8 * 3 * MAX_ATOMS


def is_ase_database(path: Path) -> bool:
    """Whether the name of a file is that of an ASE database."""
    return path.name.lower().endswith(".db")


def read_ase_database(path: Path, source: str) -> list[tuple[str, Atoms | RecordError]]:
    """The structures of a database, or why one cannot be used, with the ids of their rows.

    Raises:
        RecordError: The file is no ASE database, or is damaged.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            kind = database.execute("SELECT type FROM sqlite_master WHERE name = 'systems'").fetchone()
            if kind is None or kind[0] != "table":
                raise RecordError(source, "is an SQLite file without a table `systems`, so no ASE database")
            return list(_rows(database, source))
    except sqlite3.Error as error:
        raise RecordError(source, f"is not a readable ASE database ({error})") from error


def _rows(database: sqlite3.Connection, source: str) -> Iterator[tuple[str, Atoms | RecordError]]:
    columns = "id, numbers, positions, cell, pbc, length(positions)"
    for row, numbers, positions, cell, periodic, size in database.execute(f"SELECT {columns} FROM systems ORDER BY id"):
        where = f"{source}: row {row}"
        if periodic != _PERIODIC:
            yield str(row), RecordError(where, f"pbc is {periodic}, expected {_PERIODIC}: periodic in all directions")
        elif not isinstance(size, int) or size > _MAX_ROW_BYTES:
            yield str(row), RecordError(where, f"has more than {MAX_ATOMS} atoms")
        else:
            yield str(row), _atoms(numbers, positions, cell, where)


def _atoms(numbers: object, positions: object, cell: object, where: str) -> Atoms | RecordError:
    try:
        return Atoms(
            np.frombuffer(cell, dtype="<f8").reshape(3, 3),  # type: ignore[call-overload]
            np.frombuffer(numbers, dtype="<i4").astype(np.int64),  # type: ignore[call-overload]
            np.frombuffer(positions, dtype="<f8").reshape(-1, 3),  # type: ignore[call-overload]
        )
    except (ValueError, TypeError) as error:
        return RecordError(where, f"its arrays are damaged ({error})")
