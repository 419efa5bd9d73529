"""FHI-aims: `dielectric_function_*_x_x.out` and its other components."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dielectric_gnn.data.record import atomic_number
from dielectric_gnn.data.sources.calculations.calculation import Calculation
from dielectric_gnn.data.sources.calculations.options import ReadOptions
from dielectric_gnn.data.sources.calculations.structures import structure_beside
from dielectric_gnn.data.sources.calculations.tables import (
    Floats,
    Spectrum,
    as_complex,
    read_components,
    read_table,
    stated_number,
    three_numbers,
)
from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.data.sources.text_files import read_text
from dielectric_gnn.utils.errors import RecordError

_COMPONENT = re.compile(r"_([xyz])_([xyz])\.out")
_PLASMA = re.compile(r"plasma frequency \[eV\]:\s*(\S+)", re.IGNORECASE)
_BROADENING = re.compile(r"(Gaussian|Lorentzian) broadening used, width\s+(\S+)\s*eV", re.IGNORECASE)
_NUM_COLUMNS = 9
_INTER = (("vacuum", "re"), ("inter", "re"), ("inter", "im"))
_INPUT_MB = 16.0


def read_fhi_aims(files: Sequence[Path], options: ReadOptions) -> Calculation:
    """Columns of ω (eV), vacuum, interband and intraband polarizability and their sum; the interband part is read.

    The plasma frequency of each diagonal component is in the header. So is the broadening; only a Lorentzian has a Γ.
    """
    headers: dict[str, str] = {}

    def read(path: Path) -> tuple[str, Floats, Spectrum]:
        component = "".join(_COMPONENT.findall(path.name)[0])
        comments, table = read_table(path, _NUM_COLUMNS, options.max_mb)
        headers[component] = "\n".join(comments)
        vacuum, real, imaginary = (table[:, column] for column in _columns(comments, path))
        return component, table[:, 0], as_complex(vacuum + real, imaginary)

    energies, spectra = read_components(files, read)
    squares = {
        name: stated_number(match[1], "the plasma frequency", files[0]) ** 2
        for name, text in headers.items()
        if (match := _PLASMA.search(text))
    }
    remarks: list[str] = []
    broadening = _broadening(next(iter(headers.values())), files[0], remarks)
    diagonal = [squares.get(name) for name in ("xx", "yy", "zz")]
    drude = np.array(diagonal, dtype=np.float64) if None not in diagonal else None
    atoms = structure_beside(files[0], "FHI-aims", ((r"geometry\.in", read_geometry),), remarks)
    functional = _functional(files[0].parent / "control.in")
    return Calculation("FHI-aims", atoms, energies, spectra, drude, broadening, functional, remarks)


def read_geometry(path: Path) -> Atoms | None:
    """The structure of `geometry.in`; None if it has no atoms.

    Raises:
        RecordError: It is not periodic in three directions, or a line cannot be read.
    """
    lattice, numbers, stated, fractional = [], [], [], []
    for line in read_text(path, _INPUT_MB).splitlines():
        words = line.split("#")[0].split()
        try:
            if words[:1] == ["lattice_vector"]:
                lattice.append(three_numbers(words[1:]))
            elif words and words[0] in ("atom", "atom_frac"):
                stated.append(three_numbers(words[1:]))
                numbers.append(atomic_number(words[4]))
                fractional.append(words[0] == "atom_frac")
        except (ValueError, IndexError) as error:
            raise RecordError(str(path), f"line {line.strip()!r} cannot be read ({error})") from error
    if not numbers:
        return None
    if np.shape(lattice) != (3, 3):
        raise RecordError(str(path), f"it has {len(lattice)} lattice vectors; models need periodic crystals")
    vectors, given = np.array(lattice), np.array(stated)
    positions = np.where(np.array(fractional)[:, None], given @ vectors, given)
    return Atoms(vectors, np.array(numbers, dtype=np.int64), positions)


def _columns(comments: Sequence[str], path: Path) -> tuple[int, ...]:
    """Columns of the vacuum and of the interband polarizability, by their titles."""
    titles = next((line for line in comments if "omega" in line.lower()), "").lower().split(",")
    found = []
    for word, part in _INTER:
        places = [place for place, title in enumerate(titles) if word in title and title.strip().startswith(part)]
        if len(places) != 1:
            raise RecordError(
                str(path),
                "its header names no interband polarizability, expected titles as FHI-aims writes them with "
                "compute_dielectric; copy the file again",
            )
        found += places
    return tuple(found)


def _broadening(header: str, path: Path, remarks: list[str]) -> float | None:
    match = _BROADENING.search(header)
    if match is None:
        return None
    if match[1].lower() == "lorentzian":
        return stated_number(match[2], "the broadening", path)
    remarks.append(f"the broadening is Gaussian ({match[2]} eV), so it has no Lorentzian half width")
    return None


def _functional(control: Path) -> str | None:
    if not control.is_file():
        return None
    match = re.search(r"^\s*xc\s+(\S+)", read_text(control, _INPUT_MB), re.MULTILINE)
    return match[1].upper() if match else None
