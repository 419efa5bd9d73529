"""Quantum ESPRESSO: `simple_ip.x`, the code of the published study, and `epsilon.x`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dielectric_gnn.data.sources.calculations.calculation import Calculation
from dielectric_gnn.data.sources.calculations.options import ReadOptions
from dielectric_gnn.data.sources.calculations.pw_input import PW_INPUTS, occupations, read_pw_input
from dielectric_gnn.data.sources.calculations.structures import structure_beside
from dielectric_gnn.data.sources.calculations.tables import (
    Floats,
    as_complex,
    check_same_energies,
    read_table,
    stated_number,
)
from dielectric_gnn.data.sources.text_files import read_text
from dielectric_gnn.utils.errors import RecordError

_DIAGONAL = ("xx", "yy", "zz")
_STRUCTURES = ((PW_INPUTS, read_pw_input),)

_DRUDE = re.compile(r"Drude plasma frequency \((xx|yy|zz)\) =\s*(\S+)\s*eV")
_BROADENING = re.compile(r"(inter|intra) broadening \[eV\] =\s*(\S+)")
_INTERSMEAR = re.compile(r"^\s*intersmear\s*=\s*([\d.eEdD+-]+)", re.MULTILINE)


def read_simple_ip(files: Sequence[Path], options: ReadOptions) -> Calculation:
    """`PREFIX.eps_inter_re.dat` and `PREFIX.eps_inter_im.dat`, interband alone, with the output of `simple_ip.x`.

    The Drude frequencies and both broadenings are in the output only. It states roots of the moduli of the components
    of ω_D², so that signs of off-diagonals are lost; only the diagonal is read.
    """
    real = files[0]
    imaginary = real.with_name(real.name.replace(".eps_inter_re.dat", ".eps_inter_im.dat"))
    energies, spectra = _re_and_im(real, imaginary, options.max_mb)
    remarks: list[str] = []
    atoms = structure_beside(real, "simple_ip.x", _STRUCTURES, remarks)
    squares, inter, intra = _simple_ip_output(real, options.max_mb)
    if inter is not None and intra is not None and inter != intra:
        remarks.append(
            f"the broadening is that of interband transitions, {inter} eV; that of the Drude term is {intra}"
        )
    if squares is None:
        remarks.append("no output of simple_ip.x states the Drude frequency")
    return Calculation("simple_ip.x", atoms, energies, spectra, squares, inter, remarks=remarks)


def read_epsilon_x(files: Sequence[Path], options: ReadOptions) -> Calculation:
    """`epsr_PREFIX.dat` and `epsi_PREFIX.dat`.

    The "plasmon frequencies" of its output are those of the sum rule and are not read. With occupations that are not
    fixed, epsilon.x adds an intraband term to ε, which cannot be separated from what it writes. Its oscillators are
    1/(ω₀² − ω² − iω·intersmear), so that the half width is half of `intersmear`.

    Raises:
        RecordError: The occupations are not fixed, or files are missing or damaged.
    """
    real = files[0]
    imaginary = real.with_name(real.name.replace("epsr", "epsi", 1))
    energies, spectra = _re_and_im(real, imaginary, options.max_mb)
    remarks: list[str] = []
    atoms = structure_beside(real, "epsilon.x", _STRUCTURES, remarks)
    broadening = None
    for path in _inputs(real.parent):
        if (kind := occupations(path)) not in (None, "fixed", "from_input"):
            raise RecordError(
                str(path),
                f"occupations are {kind}, for which epsilon.x adds the intraband term to ε; use simple_ip.x for "
                "metals, or fixed occupations for insulators",
            )
        if match := _INTERSMEAR.search(read_text(path)):
            broadening = stated_number(match[1], "intersmear", path) / 2
    return Calculation("epsilon.x", atoms, energies, spectra, None, broadening, remarks=remarks)


def _re_and_im(real: Path, imaginary: Path, max_mb: float) -> tuple[Floats, dict[str, np.ndarray]]:
    if not imaginary.is_file():
        raise RecordError(str(real), f"{imaginary.name} is missing beside it; copy it as well")
    (_, re_table), (_, im_table) = read_table(real, 4, max_mb), read_table(imaginary, 4, max_mb)
    check_same_energies(re_table[:, 0], im_table[:, 0], imaginary)
    spectra = as_complex(re_table[:, 1:], im_table[:, 1:])
    return re_table[:, 0], dict(zip(_DIAGONAL, spectra.T, strict=True))


def _inputs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if re.fullmatch(PW_INPUTS, path.name, re.IGNORECASE))


def _simple_ip_output(spectrum: Path, max_mb: float) -> tuple[Floats | None, float | None, float | None]:
    """Diagonal of ω_D² in eV², interband and intraband broadening in eV, from the output beside a spectrum.

    Raises:
        RecordError: Several outputs state different Drude frequencies, or one breaks off.
    """
    found = []
    for path in sorted(spectrum.parent.glob("*.out")):
        text = read_text(path, max_mb)
        drude = dict(_DRUDE.findall(text))
        if not drude:
            continue
        widths = dict(_BROADENING.findall(text))
        if set(drude) != set(_DIAGONAL) or set(widths) != {"inter", "intra"}:
            raise RecordError(str(path), "the output of simple_ip.x breaks off; copy it again, or repeat the run")
        squares = np.array([stated_number(drude[name], "the Drude frequency", path) for name in _DIAGONAL]) ** 2
        inter, intra = (stated_number(widths[name], "the broadening", path) for name in ("inter", "intra"))
        found.append((path, (squares, inter, intra)))
    if not found:
        return None, None, None
    for path, (squares, *_) in found[1:]:
        if not np.array_equal(squares, found[0][1][0]):
            raise RecordError(
                str(path), f"its Drude frequencies differ from those of {found[0][0].name}; keep the output of this run"
            )
    return found[0][1]
