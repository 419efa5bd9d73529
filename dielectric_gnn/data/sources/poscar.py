"""Crystals of POSCAR files of VASP; the elements must be stated."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.graphs.cells import MAX_ATOMS
from dielectric_gnn.data.record import atomic_number
from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.data.sources.text_files import read_text
from dielectric_gnn.utils.errors import RecordError

_TITEL = re.compile(r"^\s*TITEL\s*=\s*\S+\s+([A-Z][a-z]?)(?:_\w+)?(?:\s|$)", re.MULTILINE)
_NUM_HEADER_LINES = 6


def read_poscar(text: str, path: Path) -> Atoms:
    """The structure of a POSCAR or CONTCAR; for VASP 4 files without symbols, they are read from a POTCAR beside it.

    Args:
        text: Content of the file.
        path: Path of the file.

    Raises:
        RecordError: It is not a POSCAR file, or does not state the elements.
    """
    try:
        with np.errstate(all="ignore"):  # the record refuses what is not finite
            return _read(text, path)
    except ValueError as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(str(path), f"cannot be read as a POSCAR file: {error}") from error


def _read(text: str, path: Path) -> Atoms:
    lines = [re.split(r"[!#]", line, maxsplit=1)[0].split() for line in text.splitlines()]
    if len(lines) <= _NUM_HEADER_LINES:
        raise ValueError(f"it has {len(lines)} lines")
    vectors = np.array([_numbers(lines, row, 3, "a lattice vector") for row in (2, 3, 4)])
    scale = _scale(lines, vectors)
    symbols, counts, row = _composition(lines)
    selective = bool(lines[row]) and lines[row][0][0] in "sS" if row < len(lines) else False
    row += selective
    mode = lines[row][0][0].lower() if row < len(lines) and lines[row] else ""
    if mode not in ("d", "c", "k"):
        raise ValueError(f"line {row + 1} should be Direct or Cartesian")
    start, end = row + 1, row + 1 + sum(counts)
    places = np.array([_numbers(lines, place, 3, "a position") for place in range(start, end)]).reshape(-1, 3)
    if end < len(lines) and len(lines[end]) >= 3 and all(_is_number(word) for word in lines[end][:3]):
        raise ValueError(f"there are more positions than the {sum(counts)} atoms of line {row - selective}")
    names = symbols or _read_trailing_symbols(lines[start:end], counts, selective) or _read_potcar_symbols(path, counts)
    numbers = np.repeat([_number_of(name) for name in names], counts).astype(np.int64)
    lattice = vectors * scale
    return Atoms(lattice, numbers, places @ lattice if mode == "d" else places * scale)


def _scale(lines: list[list[str]], vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors of x, y and z: one for all, or three; a negative one is minus the volume."""
    words = lines[1]
    factors = np.array(_numbers(lines, 1, 3 if len(words) >= 3 else 1, "the scale"))
    if factors.size == 1 and factors[0] < 0:
        volume = abs(float(np.linalg.det(vectors)))
        factors = np.array([math.cbrt(-factors[0] / volume)]) if volume > 0 else factors
    if not (factors > 0).all():
        raise ValueError(f"line 2, the scale, is {' '.join(words)}, expected above 0, or minus a volume")
    return np.broadcast_to(factors, 3).copy()


def _composition(lines: list[list[str]]) -> tuple[list[str], list[int], int]:
    """Symbols (none in VASP 4 files), numbers of atoms, and the line after them. Both may extend over several lines."""
    row = _NUM_HEADER_LINES - 1
    symbols: list[str] = []
    while row < len(lines) and lines[row] and not lines[row][0].isdecimal():
        # Symbols may be followed by the name and hash of a potential: Cu_pv/f474ac0d.
        symbols += [word.split("/")[0].split("_")[0] for word in lines[row]]
        row += 1
    first, counts = row, []
    while row < len(lines) and lines[row] and all(word.isdecimal() for word in lines[row]):
        counts += [int(word) for word in lines[row]]
        row += 1
        if not symbols or len(counts) >= len(symbols):
            break
    if not counts or (symbols and len(counts) != len(symbols)):
        raise ValueError(f"{len(symbols)} symbols with {len(counts)} numbers of atoms (line {first + 1})")
    if sum(counts) == 0:
        raise ValueError("it has no atoms")
    if sum(counts) > MAX_ATOMS:
        raise ValueError(f"it has {sum(counts)} atoms, expected at most {MAX_ATOMS}")
    return symbols, counts, row


def _read_trailing_symbols(rows: list[list[str]], counts: list[int], selective: bool) -> list[str]:
    """The symbols after the coordinates, which some programs write, one per number of atoms; empty if there are none.

    T and F are read as flags of selective dynamics.
    """
    place = 6 if selective else 3
    names = [row[place] if len(row) == place + 1 else "" for row in rows]
    if not all(re.fullmatch(r"[A-Z][a-z]?", name) for name in names) or "T" in names or set(names) == {"F"}:
        return []
    starts = np.cumsum(counts) - counts
    groups = [set(names[start : start + count]) for start, count in zip(starts, counts, strict=True)]
    if any(len(group) > 1 for group in groups):
        raise ValueError("the symbols after the coordinates are inconsistent with the numbers of atoms")
    return [min(group, default="H") for group in groups]


def _read_potcar_symbols(path: Path, counts: list[int]) -> list[str]:
    potcar = path.with_name("POTCAR")
    names = _TITEL.findall(read_text(potcar)) if potcar.is_file() else []
    if len(names) != len(counts):
        beside = f"; the POTCAR beside it has {len(names)} for {len(counts)} numbers of atoms" if names else ""
        raise RecordError(
            str(path), f"states no elements (POSCAR of VASP 4){beside}; write their symbols above the numbers of atoms"
        )
    return list(names)


def _number_of(name: str) -> int:
    try:
        return atomic_number(name)
    except ValueError:
        raise ValueError(f"{name[:20]!r} is not an element") from None


def _numbers(lines: list[list[str]], row: int, count: int, what: str) -> list[float]:
    words = lines[row][:count] if row < len(lines) else []
    if len(words) != count or not all(_is_number(word) for word in words):
        raise ValueError(f"line {row + 1} should be {what}, {count} numbers")
    return [float(re.sub("[dD]", "e", word)) for word in words]


def _is_number(word: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?", word) is not None
