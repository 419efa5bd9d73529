"""Structures without labels from files of common formats, as given to `predict`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.base import OnError, Outcome, RecordSource, existing_path, unexpected_error
from dielectric_gnn.data.sources.cif import Atoms, read_cif
from dielectric_gnn.data.sources.formulas import check_formula, parse_formula
from dielectric_gnn.data.sources.json_files import json_suffix, load_json
from dielectric_gnn.data.sources.other_formats import VASPRUN, is_other_format, read_other
from dielectric_gnn.data.sources.poscar import read_poscar
from dielectric_gnn.data.sources.structure_dict import parse_structure
from dielectric_gnn.data.sources.structure_folders import (
    READABLE,
    is_cif,
    is_poscar,
    is_structure_file,
    structure_files_in,
)
from dielectric_gnn.data.sources.structure_ids import material_ids
from dielectric_gnn.data.sources.text_files import read_text, without_compression
from dielectric_gnn.utils.errors import RecordError
from dielectric_gnn.utils.files import encodable
from dielectric_gnn.utils.text import path_text

_FORMULAS = ("composition", "formula", "formula_pretty", "reduced_formula")
"""Keys of JSON files that state the formula beside the structure."""


class StructureFiles(RecordSource):
    """Crystal structures from files (CIF, POSCAR, pymatgen JSON, …) and folders of them.

    Nothing that a file names is imported. A material has the name of its file, see `material_ids`; in a file with
    several structures, the name of its data block is added.

    Args:
        paths: Files and folders. Folders and their subfolders are searched for files of known formats; hidden and other
            files are left out and counted in the log. A file that is given by its own path must be readable.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__()
        self.paths = list(paths)
        self._listed: list[Path] | None = None

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """Read the files in the order given, folders in the order of names."""
        return self._accept(self._outcomes(), on_error)

    def size(self) -> int:
        """Number of files."""
        return len(self._files())

    def _outcomes(self) -> Generator[Outcome, None, None]:
        files, self._listed = self._files(), None  # the next reading searches anew
        for path, material_id in zip(files, material_ids(files, _stem), strict=True):
            yield from read_structures(path, material_id)

    def _files(self) -> list[Path]:
        """All files, listed once for a reading, so that the log says once what is left out."""
        if self._listed is None:
            files: list[Path] = []
            for path in map(existing_path, self.paths):
                files += structure_files_in(path) if path.is_dir() else [path]
            self._listed = list({file.absolute(): file for file in files}.values())
        return self._listed


def read_structure(path: Path) -> CrystalRecord:
    """Read a file with one crystal; the file name without its ending becomes the material id.

    Raises:
        RecordError: The file cannot be read, holds several structures, or one that is disordered or unusable.
    """
    found = list(read_structures(path, _stem(path)))
    if len(found) > 1:
        raise RecordError(path_text(path), f"holds {len(found)} structures, expected one")
    if isinstance(found[0], RecordError):
        raise found[0]
    return found[0]


def read_structures(path: Path, material_id: str) -> Iterator[Outcome]:
    """The crystals of a file, or why one is unusable: one per file, in CIF files one per data block with atoms.

    No exception of a parser ends the reading of other files.

    Args:
        path: The file.
        material_id: Name of the material; of several, the names of data blocks are added.
    """
    source = path_text(path)
    try:
        structures = _structures(path, source)
    except RecordError as error:
        yield error
        return
    except Exception as error:  # a parser that fails on one file does not stop the reading of others
        yield unexpected_error(source, error)
        return
    for block, atoms in structures:
        if isinstance(atoms, RecordError):
            yield atoms
            continue
        name = f"{material_id}-{encodable(block)}" if len(structures) > 1 else material_id
        try:
            yield CrystalRecord(name, *atoms, source=source)
        except RecordError as error:
            yield error


def _structures(path: Path, source: str) -> list[tuple[str, Atoms | RecordError]]:
    """The structures of a file, or why one cannot be used, by the names of data blocks."""
    if json_suffix(path.name):
        return [("", _from_json(path, source))]
    if is_cif(path):
        return list(read_cif(read_text(path), source))
    if is_other_format(path):
        return [("", read_other(path))]
    if is_poscar(path):
        return [("", read_poscar(read_text(path), path))]
    raise RecordError(source, f"is not of a supported format; supported are {READABLE}")


def _from_json(path: Path, source: str) -> Atoms:
    content = load_json(path)
    structure = content.get("structure", content)
    for part in (content, structure):
        periodic = part.get("pbc", True) if isinstance(part, dict) else True
        if not (all(periodic) if isinstance(periodic, list) else periodic):
            raise RecordError(source, f"pbc is {periodic}; models need periodicity in all directions")
    atoms = Atoms(*parse_structure(structure, source))
    try:
        for key in _FORMULAS:
            if (stated := _stated_formula(content, key)) is not None:
                check_formula(stated, Counter(atoms.numbers.tolist()))
    except ValueError as error:
        raise RecordError(source, str(error)) from error
    return atoms


def _stated_formula(content: Mapping[str, Any], key: str) -> Mapping[int, float] | None:
    """Amounts by atomic number under a key: as text, or by element; None if there is nothing."""
    stated = content.get(key)
    if isinstance(stated, dict) and stated:
        return parse_formula(" ".join(f"{element}{amount}" for element, amount in stated.items()))
    return parse_formula(stated) if isinstance(stated, str) and stated.strip() else None


def _stem(path: Path) -> str:
    """The name of a file without endings, and without blanks around it; of a POSCAR or CONTCAR, its folder and name."""
    return _stem_with_blanks(path).strip()


def _stem_with_blanks(path: Path) -> str:
    name = without_compression(path.name)
    # The folder tells such files apart.
    if name.upper() in ("POSCAR", "CONTCAR", "CHGCAR", "LOCPOT") or name.lower() == VASPRUN:
        return f"{path.absolute().parent.name}-{name}"
    if suffix := json_suffix(path.name):
        return path.name.removesuffix(suffix)
    # Of POSCAR.Ag, what follows the dot is no ending.
    ends = is_structure_file(path) and Path(name).suffix.lower() in (".cif", ".mcif", ".vasp", ".poscar", ".contcar")
    return Path(name).stem if ends or is_other_format(path) else name
