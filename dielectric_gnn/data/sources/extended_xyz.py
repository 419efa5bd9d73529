"""Extended XYZ files with one or several frames, each with a `Lattice`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dielectric_gnn.data.record import atomic_number
from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.data.sources.text_files import without_compression
from dielectric_gnn.utils.errors import RecordError

_PAIR = re.compile(r"""([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|(\S+))""")
_DEFAULT_PROPERTIES = "species:S:1:pos:R:3"


def is_extended_xyz(path: Path) -> bool:
    """Whether the name of a file is that of an extended XYZ file, which may also end in `.xyz`."""
    return without_compression(path.name).lower().endswith((".extxyz", ".xyz"))


def read_extended_xyz(text: str, source: str) -> list[tuple[str, Atoms | RecordError]]:
    """The frames of a file, or why one cannot be used, with their numbers from 1 on.

    Raises:
        RecordError: The file is truncated or no XYZ file.
    """
    lines = text.splitlines()
    frames: list[tuple[str, Atoms | RecordError]] = []
    start = 0
    while start < len(lines) and (lines[start].strip() or not frames):
        try:
            num = int(lines[start])
        except ValueError:
            shown = lines[start].strip()[:40]
            raise RecordError(
                source, f"line {start + 1} is {shown!r}, expected the number of atoms of a frame"
            ) from None
        end = start + 2 + num
        if num < 1 or end > len(lines):
            raise RecordError(
                source, f"line {start + 1} states {num} atoms, but the file ends before; is it truncated?"
            )
        where = f"{source}: frame {len(frames) + 1}"
        try:
            atoms: Atoms | RecordError = _frame(lines[start + 1], lines[start + 2 : end], where)
        except RecordError as error:
            atoms = error
        except (ValueError, IndexError, KeyError) as error:
            atoms = RecordError(where, f"a line of the frame is malformed ({error})")
        frames.append((str(len(frames) + 1), atoms))
        start = end
    if any(line.strip() for line in lines[start:]):
        raise RecordError(source, f"there is text after frame {len(frames)}, from line {start + 1} on")
    return frames


def _frame(comment: str, lines: list[str], where: str) -> Atoms:
    pairs = {match[1].lower(): next(filter(None, match.groups()[1:]), "") for match in _PAIR.finditer(comment)}
    if "lattice" not in pairs:
        raise RecordError(where, 'has no Lattice="…", so it is a molecule; models need periodic crystals')
    periodic = pairs.get("pbc", "T T T").split()
    if not all(word.upper().startswith(("T", "1")) for word in periodic):
        raise RecordError(where, f"pbc is {pairs['pbc']}; models need periodicity in all directions")
    lattice = np.array([float(word) for word in pairs["lattice"].split()]).reshape(3, 3)
    columns = dict(_columns(pairs.get("properties", _DEFAULT_PROPERTIES)))
    position = columns["pos"]
    rows = [line.split() for line in lines]
    positions = np.array([[float(row[position + axis]) for axis in range(3)] for row in rows])
    if "species" in columns:
        numbers = [_number(row[columns["species"]], place, where) for place, row in enumerate(rows)]
    else:
        numbers = [int(row[columns["z"]]) for row in rows]
    return Atoms(lattice, np.asarray(numbers, dtype=np.int64), positions)


def _columns(properties: str) -> Iterator[tuple[str, int]]:
    """Names of the properties and the number of their first column."""
    words, place = properties.split(":"), 0
    for name, _, count in zip(words[::3], words[1::3], words[2::3], strict=True):
        yield name.lower(), place
        place += int(count)


def _number(symbol: str, place: int, where: str) -> int:
    try:
        return atomic_number(symbol)
    except ValueError:
        raise RecordError(where, f"atom {place} is {symbol!r}, which is not an element") from None
