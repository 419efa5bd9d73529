"""Structures without labels, from the formats that people have them in: what `predict` is given."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.archives import is_shadow
from dielectric_gnn.data.sources.base import OnError, Outcome, RecordSource, existing_path, unreadable
from dielectric_gnn.data.sources.cif import check_composition, read_cif
from dielectric_gnn.data.sources.json_files import json_suffix, load_json
from dielectric_gnn.data.sources.parser_warnings import judged_warnings
from dielectric_gnn.data.sources.poscar import read_poscar
from dielectric_gnn.data.sources.structure_dict import parse_structure
from dielectric_gnn.data.sources.structure_ids import material_ids
from dielectric_gnn.data.sources.text_files import read_text, without_compression
from dielectric_gnn.errors import InputError, RecordError

if TYPE_CHECKING:
    from pymatgen.core import Structure

log = logging.getLogger(__name__)

READABLE = (
    "CIF (.cif, .mcif), POSCAR (POSCAR*, CONTCAR*, .vasp, .poscar), JSON of pymatgen (.json), .xsf, .cssr, .res, "
)
READABLE += "vasprun.xml; all but vasprun.xml also compressed (.gz, .bz2, .xz)"
"""What is read, in words."""

_POSCAR = re.compile(r"(poscar|contcar)([._-].*)?|.*\.(vasp|poscar)")
_BY_PYMATGEN = {".xsf": "xsf", ".cssr": "cssr", ".res": "res"}


class StructureFiles(RecordSource):
    """Crystal structures from files (CIF, POSCAR, pymatgen JSON, …) and folders of them.

    Files are data: nothing that one names is imported. A material is called after its file, see `material_ids`; those
    of a file with several, after the file and their data block.

    Args:
        paths: Files and folders. Folders are searched with their subfolders for files of known formats; hidden ones,
            and files of other kinds, are left out and counted in the log. A file that is named itself must be readable.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__()
        self.paths = list(paths)

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """Read the files in the order given, folders in the order of names."""
        return self._accept(self._outcomes(), on_error)

    def size(self) -> int:
        """How many files there are."""
        return len(self._files())

    def _outcomes(self) -> Generator[Outcome, None, None]:
        files = self._files()
        for path, material_id in zip(files, material_ids(files, _stem), strict=True):
            try:
                yield from read_structures(path, material_id)
            except RecordError as error:
                yield error
            except Exception as error:  # whatever one file does to a parser, the others are read
                yield unreadable(str(path), error)

    def _files(self) -> list[Path]:
        files: list[Path] = []
        for path in map(existing_path, self.paths):
            files += _found_in(path) if path.is_dir() else [path]
        return list({file.absolute(): file for file in files}.values())


def read_structure(path: Path) -> CrystalRecord:
    """Read a file with one crystal; the file name without its ending becomes the material id.

    Raises:
        RecordError: The file cannot be read, holds several structures, or one that is disordered or unusable.
    """
    found = list(read_structures(path, _stem(path)))
    if len(found) > 1:
        raise RecordError(str(path), f"holds {len(found)} structures, expected one")
    return found[0]


def read_structures(path: Path, material_id: str) -> Iterator[CrystalRecord]:
    """Read the crystals of a file: one, or, of a CIF file, one for every data block with atoms.

    Raises:
        RecordError: The file is of no known format, cannot be read, or holds something that is not understood; a
            structure is disordered or unusable.
    """
    source, name = str(path), without_compression(path.name).lower()
    if json_suffix(path.name):
        yield _from_json(path, material_id)
    elif name.endswith((".cif", ".mcif")):
        blocks = list(read_cif(read_text(path), source))
        for block, structure in blocks:
            several = len(blocks) > 1
            yield _record(structure, f"{material_id}-{block}" if several else material_id, source)
    elif _POSCAR.fullmatch(name):
        yield _record(read_poscar(read_text(path), path), material_id, source)
    elif Path(name).suffix in _BY_PYMATGEN or name == "vasprun.xml":
        yield _record(_from_pymatgen(path, name), material_id, source)
    else:
        raise RecordError(source, f"is of no format that is read here; readable are {READABLE}")


def is_structure_file(path: Path) -> bool:
    """Whether the name of a file is that of a known format."""
    name = without_compression(path.name).lower()
    known = name.endswith((".cif", ".mcif")) or _POSCAR.fullmatch(name) or Path(name).suffix in _BY_PYMATGEN
    return bool(known or json_suffix(path.name) or name == "vasprun.xml")


def _found_in(folder: Path) -> list[Path]:
    """The structure files of a folder and its subfolders; what is left out is logged."""
    every = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    visible = [path for path in every if not _is_hidden(path.relative_to(folder))]
    found = [path for path in visible if is_structure_file(path) and not _is_repeated(path)]
    others = [path for path in visible if path not in set(found) and not path.is_dir()]
    if not found:
        raise InputError(f"{folder}: the folder and its subfolders hold no structure files; readable are {READABLE}")
    if others:
        shown = ", ".join(path.name for path in others[:5]) + (", …" if len(others) > 5 else "")
        log.warning("%s: left out what is no structure file: %d (%s)", folder, len(others), shown)
    return found


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or is_shadow(path.name)


def _is_repeated(path: Path) -> bool:
    """Whether this is what a calculation wrote beside the structure that it began with."""
    return path.name.lower() == "vasprun.xml" and any(path.with_name(name).exists() for name in ("POSCAR", "CONTCAR"))


def _from_json(path: Path, material_id: str) -> CrystalRecord:
    from pymatgen.core import Composition

    content, source = load_json(path), str(path)
    structure = content.get("structure", content)
    lattice, numbers, positions = parse_structure(structure, source)
    record = CrystalRecord(material_id, lattice, numbers, positions, source=source)
    stated = content.get("composition")
    if isinstance(stated, dict) and stated:
        try:
            expected = Composition(stated)
        except (ValueError, TypeError) as error:
            raise RecordError(source, f"composition is {stated!r}, expected numbers of atoms by element") from error
        check_composition(expected, Composition(record.formula), source)
    return record


def _from_pymatgen(path: Path, name: str) -> Structure:
    """A structure of a format that pymatgen reads without any doubt left to us."""
    from pymatgen.core import Structure

    source = str(path)
    text = None if name == "vasprun.xml" else read_text(path)
    try:
        with judged_warnings(source):
            if text is None:
                return Structure.from_file(source)
            return Structure.from_str(text, fmt=_BY_PYMATGEN[Path(name).suffix])  # type: ignore[arg-type]
    except RecordError:
        raise
    except Exception as error:  # pymatgen raises many types for files it cannot read
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise RecordError(source, f"pymatgen cannot read a crystal structure from it ({reason})") from error


def _record(structure: Structure, material_id: str, source: str) -> CrystalRecord:
    if not structure.is_ordered:
        raise RecordError(
            source, f"the structure is disordered ({structure.formula}); models need one element per site"
        )
    if not all(structure.lattice.pbc):
        raise RecordError(source, f"the lattice has pbc {structure.lattice.pbc}; models need periodic crystals")
    for place, site in enumerate(structure):
        if not hasattr(site.specie, "Z") or not site.specie.Z >= 1:
            raise RecordError(source, f"site {place} is {site.specie}, which is no element")
    return CrystalRecord(
        material_id,
        np.asarray(structure.lattice.matrix, dtype=np.float64),
        np.asarray(structure.atomic_numbers, dtype=np.int64),
        np.asarray(structure.cart_coords, dtype=np.float64).reshape(-1, 3),
        source=source,
    )


def _stem(path: Path) -> str:
    """The name of a file without endings; of a POSCAR or CONTCAR, its folder and name."""
    name = without_compression(path.name)
    if name.upper() in ("POSCAR", "CONTCAR") or name.lower() == "vasprun.xml":  # the folder tells such files apart
        return f"{path.resolve().parent.name}-{name}"
    if name.upper().startswith(("POSCAR.", "CONTCAR.")):
        return name
    suffix = json_suffix(path.name)
    return path.name.removesuffix(suffix) if suffix else Path(name).stem
