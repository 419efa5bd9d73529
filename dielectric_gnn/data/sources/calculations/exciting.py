"""exciting: `EPSILON_ij.OUT` of the property `dielmat`, with energies in Hartree."""

from __future__ import annotations

import xml.etree.ElementTree as ET
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
    number,
    read_components,
    read_table,
    stated_number,
    three_numbers,
)
from dielectric_gnn.data.sources.calculations.units import BOHR_ANGSTROM, HARTREE_EV
from dielectric_gnn.data.sources.calculations.xml_files import check_plain_xml
from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.utils.errors import RecordError

_INPUT_MB = 16.0
_INPUT = r"input\.xml"


def component_of(path: Path) -> str:
    """The component in the name of a file of exciting or Elk: `EPSILON_12.OUT` is `xy`."""
    return "".join("xyz"[int(index) - 1] for index in path.name.split(".")[0][-2:])


def read_exciting(files: Sequence[Path], options: ReadOptions) -> Calculation:
    """Columns of ω (Hartree), Re and Im ε, one file for each component.

    Raises:
        RecordError: The intraband contribution is in ε, which `input.xml` states.
    """

    def read(path: Path) -> tuple[str, Floats, Spectrum]:
        _, table = read_table(path, 3, options.max_mb)
        return component_of(path), table[:, 0], as_complex(table[:, 1], table[:, 2])

    energies, spectra = read_components(files, read)
    remarks: list[str] = []
    atoms = structure_beside(files[0], "exciting", ((_INPUT, read_input),), remarks)
    broadening, functional = None, None
    if (stated := files[0].with_name("input.xml")).is_file():
        broadening, functional = _settings(stated)
    return Calculation("exciting", atoms, energies * HARTREE_EV, spectra, None, broadening, functional, remarks)


def read_input(path: Path) -> Atoms | None:
    """The structure of `input.xml`; None if it has none.

    Raises:
        RecordError: It cannot be read.
    """
    structure = _root(path).find("structure")
    crystal = None if structure is None else structure.find("crystal")
    if structure is None or crystal is None:
        return None
    if structure.get("cartesian", "false") == "true" or structure.get("molecule", "false") == "true":
        raise RecordError(
            str(path), "positions are Cartesian, expected lattice coordinates; put a POSCAR there instead"
        )
    try:
        vectors = np.array([three_numbers((one.text or "").split()) for one in crystal.findall("basevect")])
        scale = (
            number(crystal.get("scale", "1"))
            * np.array(three_numbers(crystal.get("stretch", "1 1 1").split()))[:, None]
        )
        lattice = vectors * scale * BOHR_ANGSTROM
        numbers, fractional = [], []
        for species in structure.findall("species"):
            element = atomic_number(species.get("speciesfile", "").split(".")[0].split("_")[0])
            for atom in species.findall("atom"):
                numbers.append(element)
                fractional.append(three_numbers(atom.get("coord", "").split()))
        return Atoms(lattice, np.array(numbers, dtype=np.int64), np.array(fractional).reshape(-1, 3) @ lattice)
    except ValueError as error:
        raise RecordError(str(path), f"the structure cannot be read ({error})") from error


def _settings(path: Path) -> tuple[float | None, str | None]:
    """Broadening in eV and functional, as far as they are stated."""
    root = _root(path)
    dielmat = root.find("properties/dielmat")
    ground_state = root.find("groundstate")
    functional = None if ground_state is None else ground_state.get("xctype")
    width = None if dielmat is None else dielmat.get("swidth")
    if dielmat is not None and dielmat.get("intraband", "false") == "true":
        raise RecordError(
            str(path),
            "dielmat has intraband true, which adds the Drude term to ε; repeat with intraband false, and give the "
            "Drude frequency by drude_csv",
        )
    broadening = None if width is None else stated_number(width, "swidth", path) * HARTREE_EV
    return broadening, functional and functional.removeprefix("GGA_")


def _root(path: Path) -> ET.Element:
    text = check_plain_xml(path, _INPUT_MB)
    try:
        return ET.fromstring(text.encode())
    except ET.ParseError as error:
        raise RecordError(str(path), f"not a readable input.xml ({error})") from error
