"""Which files of a folder hold structures; what is left out is counted in the log, never passed over in silence."""

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
from dielectric_gnn.utils.files import printable

log = logging.getLogger(__name__)

READABLE = (
    "CIF (.cif, .mcif), POSCAR (POSCAR and CONTCAR in the name, .vasp, .poscar), JSON of pymatgen (.json), CHGCAR, "
    "LOCPOT, .xsf, .cssr, .res, vasprun.xml; also compressed (.gz, .bz2, .xz)"
)
"""What is read, in words."""

_CALCULATED = re.compile(r"(chgcar|locpot)(\..*)?|vasprun\.xml", re.DOTALL)
"""Files of results that begin with the structure, in the form of a POSCAR, or hold it."""

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
    """Whether the name of a file is that of a known format."""
    return bool(json_suffix(path.name) or is_cif(path) or is_other_format(path) or is_poscar(path))


def structure_files_in(folder: Path) -> list[Path]:
    """The structure files of a folder and its subfolders, by name.

    Links are followed, each folder once. Hidden files do not count. Files of other kinds are counted in the log, and so
    are CHGCAR, LOCPOT and vasprun.xml beside a POSCAR or CONTCAR, whose structure they repeat. A link to nothing is one
    of the files if its name is that of a structure.

    Raises:
        InputError: There are none, or a folder cannot be opened.
    """
    found: list[Path] = []
    others: list[Path] = []
    for path in _visible(folder):
        (found if is_structure_file(path) and not _is_repeated(path) else others).append(path)
    if not found:
        raise InputError(f"{folder}: the folder and its subfolders hold no structure files; readable are {READABLE}")
    if others:
        shown = ", ".join(printable(path.name) for path in others[:_MAX_NAMES_IN_MESSAGE]) + (
            ", …" if len(others) > _MAX_NAMES_IN_MESSAGE else ""
        )
        log.warning("%s: left out what is no structure file: %d (%s)", folder, len(others), shown)
    return sorted(found)


def _visible(folder: Path) -> Iterator[Path]:
    """Files of a folder and its subfolders, without hidden ones and companions of macOS."""
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
        # Links last, so that a folder is called by its own name where it has one here.
        folders[:] = sorted(
            (name for name in folders if name[0] != "."), key=lambda name: ((Path(root) / name).is_symlink(), name)
        )
        yield from (Path(root) / name for name in sorted(names) if name[0] != "." and not is_shadow(name))
    if again:
        log.warning("%s: left out links to folders that were searched already: %d", folder, again)


def _is_repeated(path: Path) -> bool:
    """Whether this is what a calculation wrote beside the structure that it began with."""
    name = without_compression(path.name).lower()
    beside = any(path.with_name(other).exists() for other in ("POSCAR", "CONTCAR"))
    return beside and _CALCULATED.fullmatch(name) is not None
