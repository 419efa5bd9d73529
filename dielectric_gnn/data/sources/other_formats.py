"""Formats read by pymatgen: XSF, CSSR, RES of AIRSS, vasprun.xml; content that its parsers ignore is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.data.sources.parser_warnings import refuse_on_warnings
from dielectric_gnn.data.sources.text_files import check_size, read_text, without_compression
from dielectric_gnn.utils.errors import InputError, RecordError, first_line

if TYPE_CHECKING:
    from pymatgen.core import Structure

_FORMATS = {".xsf": "xsf", ".cssr": "cssr", ".res": "res"}
VASPRUN = "vasprun.xml"


def is_other_format(path: Path) -> bool:
    """Whether the name of a file is that of one of these formats."""
    name = without_compression(path.name).lower()
    return Path(name).suffix in _FORMATS or name == VASPRUN


def read_other(path: Path) -> Atoms:
    """The structure of a file; for vasprun.xml the last one, the result of a relaxation.

    Raises:
        RecordError: It cannot be read, is not periodic or not ordered, or has content that the parser ignores.
    """
    source, ending = str(path), Path(without_compression(path.name).lower()).suffix
    try:
        with refuse_on_warnings(source):
            structure = _parsed(path, ending)
        return _checked(structure)
    except RecordError:
        raise
    except InputError as error:  # raised by the checks below
        raise RecordError(source, str(error)) from error
    except Exception as error:  # pymatgen raises many types for files it cannot read
        raise RecordError(source, f"pymatgen cannot read a crystal structure from it ({first_line(error)})") from error


def _parsed(path: Path, ending: str) -> Structure:
    from pymatgen.core import Structure

    if ending not in _FORMATS:
        check_size(path)
        return Structure.from_file(str(path))
    text = read_text(path)
    expected = {".xsf": _atoms_of_xsf, ".cssr": _atoms_of_cssr, ".res": _atoms_of_res}[ending](text)
    structure: Structure = Structure.from_str(text, fmt=_FORMATS[ending])  # type: ignore[arg-type]
    if expected is not None and len(structure) != expected:
        raise InputError(f"it states {expected} atoms, but {len(structure)} were read")
    return structure


def _atoms_of_xsf(text: str) -> int | None:
    """Stated number of atoms; refuses slabs and chains, which the parser reads as crystals."""
    words = [line.split() for line in text.splitlines()]
    for line in words:
        if line and line[0].upper() in ("SLAB", "POLYMER", "MOLECULE"):
            raise InputError(f"it is a {line[0].lower()}; models need periodic crystals")
    places = [row for row, line in enumerate(words) if line and line[0].upper() == "PRIMCOORD"]
    return int(words[places[0] + 1][0]) if places else None


def _atoms_of_cssr(text: str) -> int:
    """Stated number of atoms; refuses space groups, which the parser ignores, as it does invalid lines."""
    lines = text.splitlines()
    group = re.search(r"SPGR\s*=\s*(\d+)", lines[1])
    if group and int(group[1]) != 1:
        raise InputError(f"its space group is {group[1]}; only P 1 is read from CSSR files, convert it to CIF")
    return int(lines[2].split()[0])


def _atoms_of_res(text: str) -> None:
    """Raise InputError for symmetry operations, which the parser ignores: files of AIRSS have none."""
    heads = [line.split() for line in text.upper().splitlines()]
    lattice = next((line[1] for line in heads if line[:1] == ["LATT"] and len(line) > 1), None)
    if lattice != "-1" or any(line[:1] == ["SYMM"] for line in heads):
        raise InputError("it has symmetry operations (SYMM, or LATT other than -1); convert it to CIF")


def _checked(structure: Structure) -> Atoms:
    if not structure.is_ordered:
        raise InputError(f"the structure is disordered ({structure.formula}); models need one element per site")
    if not all(structure.lattice.pbc):
        raise InputError(f"the lattice has pbc {structure.lattice.pbc}; models need periodic crystals")
    from pymatgen.core import DummySpecies

    for place, site in enumerate(structure):
        if isinstance(site.specie, DummySpecies):
            raise InputError(f"site {place} is {site.specie.symbol}, which is not an element")
    return Atoms(
        np.asarray(structure.lattice.matrix, dtype=np.float64),
        np.asarray(structure.atomic_numbers, dtype=np.int64),
        np.asarray(structure.cart_coords, dtype=np.float64).reshape(-1, 3),
    )
