"""Structures without labels from files of common formats, as given to `predict`."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.ase_database import is_ase_database, read_ase_database
from dielectric_gnn.data.sources.base import OnError, Outcome, RecordSource, existing_path, unexpected_error
from dielectric_gnn.data.sources.cif import Atoms, read_cif
from dielectric_gnn.data.sources.extended_xyz import is_extended_xyz, read_extended_xyz
from dielectric_gnn.data.sources.json_files import json_suffix, load_any
from dielectric_gnn.data.sources.other_formats import VASPRUN, is_other_format, read_other
from dielectric_gnn.data.sources.poscar import read_poscar
from dielectric_gnn.data.sources.structure_documents import structures_in
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


class StructureFiles(RecordSource):
    """Crystal structures from files (CIF, POSCAR, JSON of pymatgen and of databases, …) and folders of them.

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
    """The crystals of a file, or why one is unusable: one per data block, document, frame or row with atoms.

    No exception of a parser ends the reading of other files.

    Args:
        path: The file.
        material_id: Name of the material; of several, the names of data blocks or documents are added.
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
        return structures_in(load_any(path), source)
    if is_cif(path):
        return list(read_cif(read_text(path), source))
    if is_extended_xyz(path):
        return read_extended_xyz(read_text(path), source)
    if is_ase_database(path):
        return read_ase_database(path, source)
    if is_other_format(path):
        return [("", read_other(path))]
    if is_poscar(path):
        return [("", read_poscar(read_text(path), path))]
    raise RecordError(source, f"is not of a supported format; supported are {READABLE}")


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
    others = is_other_format(path) or is_extended_xyz(path) or is_ase_database(path)
    return Path(name).stem if ends or others else name
