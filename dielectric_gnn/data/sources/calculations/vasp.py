"""VASP: `vasprun.xml` of a run with LOPTICS, and the plasma frequencies of the OUTCAR beside it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dielectric_gnn.data.sources.calculations.calculation import Calculation
from dielectric_gnn.data.sources.calculations.options import ReadOptions
from dielectric_gnn.data.sources.calculations.tables import Floats, as_complex
from dielectric_gnn.data.sources.calculations.xml_files import check_plain_xml
from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.data.sources.text_files import read_text
from dielectric_gnn.utils.errors import RecordError

if TYPE_CHECKING:
    from pymatgen.io.vasp.outputs import Vasprun

_COMPONENTS = ("xx", "yy", "zz", "xy", "yz", "xz")
"""The order of VASP, in which the last is written zx."""

_INTRABAND = re.compile(
    r"plasma frequency squared \(from intraband transitions\) \(eV\^2\)\s*-+\s*((?:[-+\d.Ee]+\s+){9})"
)
_DIRECT_LATTICE = re.compile(r"direct lattice vectors[^\n]*\n((?:[^\n]*\n){3})")

_SAME_ANGSTROM = 1e-3


def read_vasp(files: Sequence[Path], options: ReadOptions) -> Calculation:
    """The dielectric function of `vasprun.xml` in the independent-particle approximation, six components in eV.

    The plasma tensor is that of intraband transitions in OUTCAR, in eV² (also in pymatgen's `plasma_frequencies`, whose
    docstring states eV); it is zero for insulators. Γ is CSHIFT, the complex shift of the Kramers–Kronig
    transformation.

    Raises:
        RecordError: The file breaks off, or the run is none with LOPTICS.
    """
    path = files[0]
    run, remarks = _parsed(path, options.max_mb)
    energies, spectra = _response(run, path, options)
    structure = run.final_structure
    atoms = Atoms(
        np.asarray(structure.lattice.matrix, dtype=np.float64),
        np.asarray(structure.atomic_numbers, dtype=np.int64),
        np.asarray(structure.cart_coords, dtype=np.float64),
    )
    squares = _plasma_tensor(path.parent, atoms, options.max_mb)
    if squares is None:
        remarks.append("no OUTCAR of this structure states the plasma frequency of intraband transitions")
    shift = run.parameters.get("CSHIFT")
    broadening = float(shift) if isinstance(shift, int | float) and shift > 0 else None
    return Calculation(
        "VASP", atoms, energies, spectra, squares, broadening, functional=_functional(run), remarks=remarks
    )


def _parsed(path: Path, max_mb: float) -> tuple[Vasprun, list[str]]:
    from pymatgen.io.vasp.outputs import UnconvergedVASPWarning, Vasprun

    source = str(path)
    check_plain_xml(path, max_mb)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run = Vasprun(source, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
        except Exception as error:  # pymatgen and lxml raise many types for files they cannot read
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            problem = f"not a complete vasprun.xml ({reason}); the run did not end, or the file is truncated"
            raise RecordError(source, f"{problem}: copy it again, or repeat the run") from error
    unconverged = any(issubclass(one.category, UnconvergedVASPWarning) for one in caught)
    return run, ["VASP does not report that the run converged"] if unconverged else []


def _response(run: Vasprun, path: Path, options: ReadOptions) -> tuple[Floats, dict[str, np.ndarray]]:
    responses: dict[str, Any] = run.dielectric_data
    name = options.vasp_response
    if name not in responses:
        raise RecordError(str(path), _missing_response(run, name))
    try:
        energies, real, imaginary = (np.asarray(part, dtype=np.float64) for part in responses[name])
    except ValueError:  # rows of different lengths
        energies = real = imaginary = np.empty(0)
    if energies.size < 2 or real.shape != (energies.size, 6) or imaginary.shape != real.shape:
        raise RecordError(
            str(path),
            f"the {name} response is no table of energies with six real and six imaginary components; the file is "
            "damaged, copy it again",
        )
    return energies, dict(zip(_COMPONENTS, as_complex(real, imaginary).T, strict=True))


def _missing_response(run: Vasprun, name: str) -> str:
    if "density" in run.dielectric_data:
        return f"it holds no {name} response, which VASP writes from 5.4.4 on; set vasp_response to density"
    if run.dielectric_data:
        found = ", ".join(run.dielectric_data)
        return (
            f"its response is {found}, of a calculation beyond independent particles; expected that of LOPTICS = .TRUE."
        )
    return "it holds no frequency-dependent dielectric function; repeat the run with LOPTICS = .TRUE."


def _functional(run: Vasprun) -> str:
    """The functional as pymatgen names it; `GGA` alone is that of the potentials."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an unknown functional, which is recorded as such
        name = str(run.run_type)
    if name.startswith("GGA") and any("PBE" in symbol for symbol in run.potcar_symbols):
        return name.replace("GGA", "PBE", 1)
    return name


def _plasma_tensor(folder: Path, atoms: Atoms, max_mb: float) -> Floats | None:
    """ω_D² (3, 3) in eV² of the OUTCAR in a folder that has the lattice of the calculation; None without one.

    Raises:
        RecordError: Several state different tensors.
    """
    found: list[tuple[Path, Floats]] = []
    for path in sorted(folder.iterdir()):
        if not path.is_file() or not path.name.upper().startswith("OUTCAR"):
            continue
        text = read_text(path, max_mb)
        matches = _INTRABAND.findall(text)
        if not matches or not _has_lattice(text, atoms):
            continue
        try:
            found.append((path, np.array(matches[-1].split(), dtype=np.float64).reshape(3, 3)))
        except ValueError as error:
            raise RecordError(str(path), f"its plasma frequencies cannot be read ({error}); copy it again") from error
    for path, tensor in found[1:]:
        if not np.array_equal(tensor, found[0][1]):
            raise RecordError(
                str(path),
                f"its plasma frequencies differ from those of {found[0][0].name}; keep the OUTCAR of this run",
            )
    return found[0][1] if found else None


def _has_lattice(text: str, atoms: Atoms) -> bool:
    blocks = _DIRECT_LATTICE.findall(text)
    if not blocks:
        return False
    try:
        vectors = [[float(word) for word in line.split()[:3]] for line in blocks[-1].splitlines()]
        return bool(np.allclose(np.array(vectors), atoms.lattice, atol=_SAME_ANGSTROM))
    except ValueError:  # numbers that touch each other
        return False
