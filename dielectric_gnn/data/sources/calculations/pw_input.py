"""Structures from inputs of Quantum ESPRESSO's pw.x (https://www.quantum-espresso.org/Doc/INPUT_PW.html)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.record import atomic_number
from dielectric_gnn.data.sources.calculations.tables import number, three_numbers
from dielectric_gnn.data.sources.calculations.units import BOHR_ANGSTROM
from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.data.sources.text_files import read_text
from dielectric_gnn.utils.errors import RecordError

PW_INPUTS = r".*\.(in|pwi|pw|scf|nscf)"
"""Names of inputs of pw.x."""

_INPUT_MB = 16.0

_CARDS = re.compile(
    r"(ATOMIC_SPECIES|ATOMIC_POSITIONS|K_POINTS|CELL_PARAMETERS|CONSTRAINTS|OCCUPATIONS|ATOMIC_FORCES|"
    r"ATOMIC_VELOCITIES|ADDITIONAL_K_POINTS|SOLVENTS|HUBBARD)\b",
    re.IGNORECASE,
)


def read_pw_input(path: Path) -> Atoms | None:
    """The structure of an input of pw.x; None if the file is no such input.

    Raises:
        RecordError: It is one, but its structure cannot be read.
    """
    text = "\n".join(re.split(r"[!#]", line)[0] for line in read_text(path, _INPUT_MB).splitlines())
    if not re.search(r"&system\b", text, re.IGNORECASE) or not re.search(r"ATOMIC_POSITIONS", text, re.IGNORECASE):
        return None
    try:
        values, cards = _namelists(text), _cards(text)
        lattice, alat = _lattice(values, cards)
        return _atoms(cards, lattice, alat, int(number(values["nat"])))
    except (ValueError, KeyError, IndexError) as error:
        reason = str(error) if isinstance(error, ValueError) else f"{error} is missing"
        raise RecordError(str(path), f"not a readable input of pw.x ({reason})") from error


def occupations(path: Path) -> str | None:
    """The `occupations` of an input of pw.x, in small letters; `fixed` where it states none; None for other files."""
    text = read_text(path, _INPUT_MB)
    if not re.search(r"&system\b", text, re.IGNORECASE):
        return None
    return _namelists(text).get("occupations", "fixed").strip("'\" ").lower()


def _namelists(text: str) -> dict[str, str]:
    """Values of all namelists by name, in small letters."""
    found = re.findall(r"([a-z_]\w*(?:\s*\(\s*\d+\s*\))?)\s*=\s*('[^']*'|\"[^\"]*\"|[^\s,/!]+)", text, re.IGNORECASE)
    return {re.sub(r"\s", "", name).lower(): value for name, value in found}


def _cards(text: str) -> dict[str, tuple[str, list[list[str]]]]:
    """Option and rows of every card."""
    cards: dict[str, tuple[str, list[list[str]]]] = {}
    rows: list[list[str]] = []
    for line in text.splitlines():
        words = line.split()
        if match := _CARDS.match(line.strip()):
            rows = []
            option = re.sub(r"[(){}]", " ", line.strip()[match.end() :]).split()
            cards[match[1].upper()] = (option[0].lower() if option else "", rows)
        elif words:
            rows.append(words)
    return cards


def _lattice(
    values: Mapping[str, str], cards: Mapping[str, tuple[str, list[list[str]]]]
) -> tuple[NDArray[np.float64], float]:
    """Lattice vectors, and the length `alat`, in Å."""
    ibrav = int(values["ibrav"])
    cell = _cell_lengths(values)
    if ibrav != 0:
        return _bravais_lattice(ibrav, cell), cell[0]
    unit, rows = cards["CELL_PARAMETERS"]
    vectors = np.array([three_numbers(row) for row in rows[:3]])
    if vectors.shape != (3, 3):
        raise ValueError("CELL_PARAMETERS has fewer than three vectors")
    scale = {"bohr": BOHR_ANGSTROM, "angstrom": 1.0}.get(unit) or cell[0]
    if not np.isfinite(scale):
        raise ValueError("CELL_PARAMETERS in units of alat without celldm(1) or A")
    return vectors * scale, cell[0] if np.isfinite(cell[0]) else float(np.linalg.norm(vectors[0]) * scale)


def _cell_lengths(values: Mapping[str, str]) -> tuple[float, float, float, float]:
    """The lengths a, b, c in Å, and the cosine that trigonal lattices need; NaN where they are not given."""

    def value(name: str, default: float = np.nan) -> float:
        return number(values[name]) if name in values else default

    if "a" in values:
        a = value("a")
        return a, value("b", a), value("c", a), value("cosab")
    a = value("celldm(1)") * BOHR_ANGSTROM
    return a, a * value("celldm(2)", 1.0), a * value("celldm(3)", 1.0), value("celldm(4)")


def _bravais_lattice(ibrav: int, cell: tuple[float, float, float, float]) -> NDArray[np.float64]:
    """Lattice vectors in Å, oriented as pw.x orients them."""
    a, b, c, cosine = cell
    half = a / 2
    vectors: dict[int, list[list[float]]] = {
        1: [[a, 0, 0], [0, a, 0], [0, 0, a]],
        2: [[-half, 0, half], [0, half, half], [-half, half, 0]],
        3: [[half, half, half], [-half, half, half], [-half, -half, half]],
        -3: [[-half, half, half], [half, -half, half], [half, half, -half]],
        4: [[a, 0, 0], [-half, half * 3**0.5, 0], [0, 0, c]],
        6: [[a, 0, 0], [0, a, 0], [0, 0, c]],
        7: [[half, -half, c / 2], [half, half, c / 2], [-half, -half, c / 2]],
        8: [[a, 0, 0], [0, b, 0], [0, 0, c]],
    }
    if ibrav == 5:
        x, y, z = ((1 - cosine) / 2) ** 0.5, ((1 - cosine) / 6) ** 0.5, ((1 + 2 * cosine) / 3) ** 0.5
        vectors[5] = [[a * x, -a * y, a * z], [0, 2 * a * y, a * z], [-a * x, -a * y, a * z]]
    if ibrav not in vectors:
        raise ValueError(f"ibrav {ibrav} is not read here, write ibrav 0 and CELL_PARAMETERS")
    return np.array(vectors[ibrav])


def _atoms(
    cards: Mapping[str, tuple[str, list[list[str]]]], lattice: NDArray[np.float64], alat: float, num_atoms: int
) -> Atoms:
    unit, rows = cards["ATOMIC_POSITIONS"]
    if len(rows) < num_atoms:
        raise ValueError(f"nat is {num_atoms}, but ATOMIC_POSITIONS has {len(rows)} atoms")
    rows = rows[:num_atoms]
    stated = np.array([three_numbers(row[1:]) for row in rows]).reshape(num_atoms, 3)
    scales = {"": alat, "alat": alat, "bohr": BOHR_ANGSTROM, "angstrom": 1.0}
    if unit not in {*scales, "crystal"}:
        raise ValueError(f"ATOMIC_POSITIONS in {unit} are not read here, write crystal or angstrom")
    positions = stated @ lattice if unit == "crystal" else stated * scales[unit]
    return Atoms(lattice, np.array([_element(row[0]) for row in rows], dtype=np.int64), positions)


def _element(label: str) -> int:
    """Atomic number of a label such as `Fe`, `Fe1` or `Fe_up`."""
    letters = re.split(r"[^A-Za-z]", label)[0]
    for name in (letters[:2].capitalize(), letters[:1].upper()):
        try:
            return atomic_number(name)
        except ValueError:
            continue
    raise ValueError(f"{label!r} is no element")
