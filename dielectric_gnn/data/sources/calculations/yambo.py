"""Yambo: `o-JOB.eps_q1_*`, with Im ε before Re ε."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dielectric_gnn.data.sources.calculations.calculation import Calculation
from dielectric_gnn.data.sources.calculations.options import ReadOptions
from dielectric_gnn.data.sources.calculations.pw_input import PW_INPUTS, read_pw_input
from dielectric_gnn.data.sources.calculations.structures import structure_beside
from dielectric_gnn.data.sources.calculations.tables import (
    Floats,
    Spectrum,
    as_complex,
    read_components,
    read_table,
    stated_number,
)
from dielectric_gnn.data.sources.text_files import read_text
from dielectric_gnn.utils.errors import RecordError

_DIRECTION = re.compile(r"@ Q\(1\)[^:\n]*:\s*([\d.-]+)\s+([\d.-]+)\s+([\d.-]+)")
_TITLE = re.compile(r"E|E/eV|EPS\w*-(?:Im|Re)|(?:Im|Re)\(eps\w*\)", re.IGNORECASE)
_JOB = re.compile(r"Job string[^:\n]*:\s*(\S+)")
_DRUDE = re.compile(r"Drude contribution[^:]*:\s*([\d.Ee+-]+)")
_DAMPING = re.compile(r"DmRnge\w*[^\n]*\n#[ |]*([\d.Ee+-]+)\s*\|\s*([\d.Ee+-]+)\s*\|\s*eV")
_DRUDE_INPUT = re.compile(r"DrudeW\w*[^\n]*\n#[ |]*([\d.Ee+-]+)")
_BEST = (("epso-im", "epso-re"), ("im(eps_o)", "re(eps_o)"), ("eps-im", "eps-re"), ("im(eps)", "re(eps)"))
"""Columns in the order of preference: without local fields where they are written."""


def read_yambo(files: Sequence[Path], options: ReadOptions) -> Calculation:
    """One file for each direction of q; columns without local fields are read where both kinds are written.

    The damping Γ is in the copy of the input at the end of a file, where it is the same at all energies. Whether the
    Drude term is in ε is stated there and in the report beside it (`r-JOB_*`).

    Raises:
        RecordError: The Drude term is in ε; the spectrum is one of the Bethe–Salpeter equation; two files are for one
            direction; a direction is no axis.
    """
    directions: set[str] = set()
    dampings: set[float | None] = set()

    def read(path: Path) -> tuple[str, Floats, Spectrum]:
        text = read_text(path, options.max_mb)
        _check_drude(path, text, options.max_mb)
        found = _read(path, text, options.max_mb)
        dampings.add(_damping(text, path))
        if found[0] in directions:
            raise RecordError(
                str(path), f"a second calculation of direction {found[0][0]} in one folder; keep one in each folder"
            )
        directions.add(found[0])
        return found

    energies, spectra = read_components(files, read)
    remarks: list[str] = []
    atoms = structure_beside(files[0], "Yambo", ((PW_INPUTS, read_pw_input),), remarks)
    broadening = dampings.pop() if len(dampings) == 1 else None
    return Calculation("Yambo", atoms, energies, spectra, broadening=broadening, remarks=remarks)


def _read(path: Path, text: str, max_mb: float) -> tuple[str, Floats, Spectrum]:
    """Component, energies in eV and ε of one file."""
    if "bse" in path.name.lower():
        raise RecordError(
            str(path),
            "its spectrum is that of the Bethe–Salpeter equation, expected one of independent particles; repeat with "
            "yambo -o c",
        )
    head = [line for line in text.splitlines() if line.startswith("#")]
    titles = next((found for line in reversed(head) if len(found := _titles(line)) >= 3), [])
    columns = next(((titles.index(im), titles.index(re_)) for im, re_ in _BEST if {im, re_} <= set(titles)), None)
    direction = next((match for line in head if (match := _DIRECTION.search(line))), None)
    if columns is None or direction is None:
        raise RecordError(
            str(path), "its header names no columns of Im and Re ε, or no direction of q; copy the file again"
        )
    _, table = read_table(path, len(titles), max_mb)
    vector = np.abs(np.array([stated_number(word, "the direction of q", path) for word in direction.groups()]))
    axis = int(vector.argmax())
    if not np.allclose(vector, np.eye(3)[axis] * vector.max(), atol=1e-4):
        raise RecordError(
            str(path), f"q is along {' '.join(direction.groups())}, expected along x, y or z; repeat along an axis"
        )
    return "xyz"[axis] * 2, table[:, 0], as_complex(table[:, columns[1]], table[:, columns[0]])


def _titles(line: str) -> list[str]:
    """Titles of columns in small letters, without their numbers and units."""
    words = re.sub(r"\[[^\]]*\]", " ", line.lstrip("# ")).split()
    return [word.lower() for word in words if _TITLE.fullmatch(word)]


def _damping(text: str, path: Path) -> float | None:
    """Γ in eV, if it is stated and the same at the lowest and highest energy."""
    match = _DAMPING.search(text)
    if match is None:
        return None
    low, high = (stated_number(word, "the damping", path) for word in match.groups())
    return low if low == high else None


def _check_drude(path: Path, text: str, max_mb: float) -> None:
    """Refuse a spectrum that contains a Drude term, as its copy of the input or the report of its job states."""
    stated = [(path.name, plasma) for plasma in _DRUDE_INPUT.findall(text)]
    job = path.name.split(".")[0].removeprefix("o-")
    for report in sorted(path.parent.glob("r[-_]*")):
        report_text = read_text(report, max_mb)
        named = _JOB.search(report_text)
        if named is None or named[1] == job:
            stated += [(report.name, plasma) for plasma in _DRUDE.findall(report_text)]
    for name, plasma in stated:
        if stated_number(plasma, "the Drude frequency", path) > 0:
            raise RecordError(
                str(path),
                f"{name} states a Drude contribution of {plasma} eV in ε; repeat without DrudeWXd, and give the Drude "
                "frequency by drude_csv",
            )
