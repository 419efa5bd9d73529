"""Structure files of a folder, recognised by their names; files that are left out are counted in the log."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from dielectric_gnn.data.sources.archives import is_shadow
from dielectric_gnn.data.sources.json_files import json_suffix
from dielectric_gnn.data.sources.other_formats import is_other_format
from dielectric_gnn.data.sources.text_files import without_compression
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.text import printable

log = logging.getLogger(__name__)

READABLE = (
    "CIF (.cif, .mcif), POSCAR (POSCAR and CONTCAR in the name, .vasp, .poscar), JSON of pymatgen, Materials Project, "
    "OPTIMADE and NOMAD (.json), CHGCAR, LOCPOT, .xsf, .cssr, .res, vasprun.xml, .extxyz; also compressed (.gz, .bz2, "
    ".xz); by their own path .xyz and ASE databases (.db)"
)
"""Description of the supported formats."""

_CALCULATED = re.compile(r"(chgcar|locpot)(\..*)?|vasprun\.xml", re.DOTALL)
"""Names of result files that contain the structure of a calculation."""

_CIF = (".cif", ".mcif")
_POSCAR = re.compile(
    r".*\.(vasp|poscar|contcar)|(.*[^a-z])?(poscar|contcar)([^a-z].*)?|(chgcar|locpot)(\..*)?", re.DOTALL
)
_MAX_NAMES_IN_MESSAGE = 5


def is_cif(path: Path) -> bool:
    """Whether the name of a file is that of a CIF file."""
    return without_compression(path.name).lower().endswith(_CIF)


def is_poscar(path: Path) -> bool:
    """Whether the name of a file is that of a POSCAR, such as `POSCAR.Ag`, `Ag_POSCAR`, `Ag.vasp`; or of a CHGCAR."""
    return _POSCAR.fullmatch(without_compression(path.name).lower()) is not None


def is_structure_file(path: Path) -> bool:
    """Whether the name of a file is that of a supported format."""
    known = (is_cif, is_other_format, is_poscar, _is_extended_xyz)
    return json_suffix(path.name) is not None or any(test(path) for test in known)


def _is_extended_xyz(path: Path) -> bool:
    """Of a folder, only `.extxyz`: files that end in `.xyz` are molecules as a rule, and `.db` may be any database."""
    return without_compression(path.name).lower().endswith(".extxyz")


def structure_files_in(folder: Path) -> list[Path]:
    """The structure files of a folder and its subfolders, by name.

    Links are followed, each folder once. Hidden files are ignored. Other files are counted in the log, and so are
    CHGCAR, LOCPOT and vasprun.xml beside a POSCAR or CONTCAR, whose structure they repeat. A broken link with the name
    of a structure file is included.

    Raises:
        InputError: There are none, or a folder cannot be opened.
    """
    found: list[Path] = []
    others: list[Path] = []
    for path in _visible(folder):
        (found if is_structure_file(path) and not _is_repeated(path) else others).append(path)
    if not found:
        raise InputError(f"{folder}: no structure files in the folder and its subfolders; supported are {READABLE}")
    if others:
        shown = ", ".join(printable(path.name) for path in others[:_MAX_NAMES_IN_MESSAGE]) + (
            ", …" if len(others) > _MAX_NAMES_IN_MESSAGE else ""
        )
        log.warning("%s: left out %d files that are not structure files (%s)", folder, len(others), shown)
    return sorted(found)


def _visible(folder: Path) -> Iterator[Path]:
    """Files of a folder and its subfolders, without hidden ones and `._` files of macOS."""
    searched: set[str] = set()
    again = 0

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: the folder cannot be opened ({error.strerror})") from error

    for root, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(root)
        if real in searched:
            again += 1
            folders.clear()
            continue
        searched.add(real)
        # Links last, so that a folder within this one is found by its own name.
        folders[:] = sorted(
            (name for name in folders if name[0] != "."), key=lambda name: ((Path(root) / name).is_symlink(), name)
        )
        yield from (Path(root) / name for name in sorted(names) if name[0] != "." and not is_shadow(name))
    if again:
        log.warning("%s: left out %d links to folders that were searched already", folder, again)


def _is_repeated(path: Path) -> bool:
    """Whether a file is a result of a calculation beside its input structure."""
    name = without_compression(path.name).lower()
    beside = any(path.with_name(other).exists() for other in ("POSCAR", "CONTCAR"))
    return beside and _CALCULATED.fullmatch(name) is not None
