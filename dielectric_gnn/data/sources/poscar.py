"""Crystals of POSCAR files, whose elements must be named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from dielectric_gnn.data.sources.parser_warnings import judged_warnings
from dielectric_gnn.data.sources.text_files import read_text
from dielectric_gnn.errors import RecordError

if TYPE_CHECKING:
    from pymatgen.core import Structure

_SYMBOLS_LINE, _COUNTS_LINE = 5, 6
_TITEL = re.compile(r"^\s*TITEL\s*=\s*\S+\s+([A-Z][a-z]?)(?:_\w+)?(?:\s|$)", re.MULTILINE)


def read_poscar(text: str, path: Path) -> Structure:
    """The structure of a POSCAR or CONTCAR; one of VASP 4, without symbols, takes them from a POTCAR beside it.

    Args:
        text: The file.
        path: Where it is.

    Raises:
        RecordError: It cannot be read, or names no elements.
    """
    from pymatgen.io.vasp import Poscar

    text = _with_symbols(text, path)
    try:
        with judged_warnings(str(path)):
            structure: Structure = Poscar.from_str(text, read_velocities=False).structure
    except RecordError:
        raise
    except Exception as error:  # the parser raises many types for files that it cannot read
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise RecordError(str(path), f"is no POSCAR that pymatgen reads ({reason})") from error
    return structure


def _with_symbols(text: str, path: Path) -> str:
    """The text with a line of symbols, which POSCAR files of VASP 4 lack (the parser would invent some)."""
    lines = text.splitlines()
    if len(lines) <= _SYMBOLS_LINE or not re.fullmatch(r"\s*\d+(\s+\d+)*\s*", lines[_SYMBOLS_LINE]):
        return text
    counts = [int(word) for word in lines[_SYMBOLS_LINE].split()]
    if _names_at_the_end(lines, sum(counts)):
        return text
    potcar = path.with_name("POTCAR")
    symbols = _TITEL.findall(read_text(potcar)) if potcar.is_file() else []
    if len(symbols) != len(counts):
        beside = f"; the POTCAR beside it has {len(symbols)} for {len(counts)} numbers of atoms" if symbols else ""
        raise RecordError(
            str(path), f"names no elements (a POSCAR of VASP 4){beside}; write their symbols above the numbers of atoms"
        )
    return "\n".join([*lines[:_SYMBOLS_LINE], " ".join(symbols), *lines[_SYMBOLS_LINE:]]) + "\n"


def _names_at_the_end(lines: list[str], num_atoms: int) -> bool:
    """Whether every line of coordinates ends with a symbol, as some programs write them."""
    start = _COUNTS_LINE + 1 + (lines[_COUNTS_LINE].strip()[:1].lower() == "s" if len(lines) > _COUNTS_LINE else 0)
    rows = [line.split() for line in lines[start : start + num_atoms]]
    return len(rows) == num_atoms and all(row and re.fullmatch(r"[A-Z][a-z]?", row[-1]) for row in rows)
