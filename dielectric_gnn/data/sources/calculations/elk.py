"""Elk: `EPSILON_ij.OUT` in two blocks, with energies in Hartree, and `PLASMA_ij.OUT`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dielectric_gnn.data.record import atomic_number
from dielectric_gnn.data.sources.calculations.calculation import Calculation
from dielectric_gnn.data.sources.calculations.exciting import component_of
from dielectric_gnn.data.sources.calculations.options import ReadOptions
from dielectric_gnn.data.sources.calculations.structures import structure_beside
from dielectric_gnn.data.sources.calculations.tables import (
    Floats,
    Spectrum,
    as_complex,
    check_same_energies,
    number,
    read_blocks,
    read_components,
    stated_number,
    three_numbers,
)
from dielectric_gnn.data.sources.calculations.units import BOHR_ANGSTROM, HARTREE_EV
from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.data.sources.text_files import read_text
from dielectric_gnn.utils.errors import RecordError

_INPUT_MB = 16.0
_DEFAULT_WIDTH = 0.001
"""`swidth` in Hartree where elk.in does not state it, from the manual of Elk."""

_FUNCTIONALS = {3: "LDA", 20: "PBE", 22: "PBEsol"}
"""`xctype` of the manual of Elk; others are given by number."""


def read_elk(files: Sequence[Path], options: ReadOptions) -> Calculation:
    """Re ε and then Im ε, each a table over ω (Hartree), one file for each component.

    With `intraband .true.`, Elk writes `PLASMA_ii.OUT` and adds −ω_D² / (ω + iη)² to ε, where η is `swidth`; that term
    is subtracted here.
    """
    remarks: list[str] = []
    atoms = structure_beside(files[0], "Elk", ((r"GEOMETRY\.OUT", read_geometry), (r"elk\.in", read_geometry)), remarks)
    settings = files[0].with_name("elk.in")
    values = _settings(settings)
    width = stated_number(values.get("swidth", str(_DEFAULT_WIDTH)), "swidth", settings)
    squares: dict[str, float] = {}

    def read(path: Path) -> tuple[str, Floats, Spectrum]:
        frequencies, spectrum = _two_blocks(path, options.max_mb)
        component = component_of(path)
        plasma = _plasma_frequency(path.with_name(path.name.replace("EPSILON", "PLASMA")))
        if plasma is not None:
            squares[component] = plasma**2
            with np.errstate(all="ignore"):  # what is not finite is refused later
                spectrum = spectrum + plasma**2 / (frequencies + 1j * width) ** 2
        return component, frequencies, spectrum

    energies, spectra = read_components(files, read)
    diagonal = [squares.get(name) for name in ("xx", "yy", "zz")]
    drude = np.array(diagonal, dtype=np.float64) * HARTREE_EV**2 if None not in diagonal else None
    code = int(stated_number(values["xctype"], "xctype", settings)) if "xctype" in values else None
    functional = None if code is None else _FUNCTIONALS.get(code, f"xctype {code}")
    broadening = width * HARTREE_EV
    return Calculation("Elk", atoms, energies * HARTREE_EV, spectra, drude, broadening, functional, remarks)


def _two_blocks(path: Path, max_mb: float) -> tuple[Floats, Spectrum]:
    _, blocks = read_blocks(path, 2, max_mb)
    if len(blocks) != 2 or len(blocks[0]) != len(blocks[1]):
        raise RecordError(
            str(path),
            f"it holds blocks of {', '.join(str(len(block)) for block in blocks)} rows, expected Re ε and then Im ε at "
            "the same energies; the file is truncated, copy it again",
        )
    real, imaginary = blocks
    check_same_energies(real[:, 0], imaginary[:, 0], path)
    return real[:, 0], as_complex(real[:, 1], imaginary[:, 1])


def _plasma_frequency(path: Path) -> float | None:
    """ω_D in Hartree; None if the file does not exist."""
    if not path.is_file():
        return None
    words = read_text(path, _INPUT_MB).split()
    return stated_number(words[0] if words else "", "the plasma frequency", path)


def read_geometry(path: Path) -> Atoms | None:
    """The structure of `elk.in` or of `GEOMETRY.OUT`, which has the same form; None if it has none.

    Raises:
        RecordError: It cannot be read.
    """
    blocks = _blocks(path)
    if "avec" not in blocks or "atoms" not in blocks:
        return None
    try:
        scales = [number(blocks.get(f"scale{i}", [["1"]])[0][0]) for i in ("1", "2", "3")]
        vectors = np.array([three_numbers(row) for row in blocks["avec"][:3]])
        scale = number(blocks.get("scale", [["1"]])[0][0]) * BOHR_ANGSTROM
        lattice = vectors * np.array(scales)[:, None] * scale
        numbers, fractional = _sites(blocks["atoms"])
        return Atoms(lattice, np.array(numbers, dtype=np.int64), np.array(fractional) @ lattice)
    except (ValueError, IndexError) as error:
        raise RecordError(str(path), f"the structure cannot be read ({error})") from error


def _sites(rows: Sequence[Sequence[str]]) -> tuple[list[int], list[list[float]]]:
    """Atomic numbers and lattice coordinates of the block `atoms`: numbers of species and atoms, names, positions."""
    numbers, fractional = [], []
    place = 1
    for _ in range(int(rows[0][0])):
        name, count = rows[place][0].strip("'\""), int(rows[place + 1][0])
        element = atomic_number(re.split(r"[._]", name)[0])
        for row in rows[place + 2 : place + 2 + count]:
            numbers.append(element)
            fractional.append(three_numbers(row))
        place += 2 + count
    return numbers, fractional


def _settings(path: Path) -> dict[str, str]:
    """First value of every block of elk.in; none if it does not exist."""
    if not path.is_file():
        return {}
    return {name: rows[0][0] for name, rows in _blocks(path).items() if rows}


def _blocks(path: Path) -> dict[str, list[list[str]]]:
    """Blocks by name: a line with one word that is a name, and the lines of values after it."""
    blocks: dict[str, list[list[str]]] = {}
    rows: list[list[str]] = []
    for line in read_text(path, _INPUT_MB).splitlines():
        words = re.split(r"[!:]", line)[0].split()
        if len(words) == 1 and re.fullmatch(r"[a-z]\w*", words[0]):
            rows = blocks.setdefault(words[0], [])
        elif words:
            rows.append(words)
    return blocks
