"""`Calculations`: folders of first-principles calculations as labelled materials."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dielectric_gnn.data.option_values import check_positive
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources.base import OnError, RecordSource, Tasks, existing_path, file_stamps
from dielectric_gnn.data.sources.calculations.calculation import to_record
from dielectric_gnn.data.sources.calculations.codes import CODES, FILE_NAMES, FoundCalculation, find_calculations
from dielectric_gnn.data.sources.calculations.drude_table import read_drude_table
from dielectric_gnn.data.sources.calculations.options import ReadOptions, VaspResponse
from dielectric_gnn.data.sources.text_files import without_compression
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError, RecordError
from dielectric_gnn.utils.files import encodable
from dielectric_gnn.utils.limits import STRUCTURE_TEXT_MB
from dielectric_gnn.utils.text import printable

log = logging.getLogger(__name__)

_SUFFIXES = (".xml", ".dat", ".out", ".csv")


@dataclass(frozen=True)
class _Item:
    """One material to be read."""

    material_id: str
    found: FoundCalculation

    @property
    def source(self) -> str:
        """The file that errors name."""
        return printable(str(self.found.files[0]))


class Calculations(RecordSource):
    """What first-principles codes write: VASP, Quantum ESPRESSO, GPAW, FHI-aims, exciting, Elk and Yambo.

    Every calculation below `path` is one material; files are recognised by their content. A material is named after its
    folder, relative to `path`; where a folder holds several calculations, after folder and file. See
    docs/calculations.md for what is read from which file.

    Args:
        path: A folder, searched with its subfolders, or one file.
        grid: Photon energies onto which all spectra are resampled, nothing extrapolated; null takes the energies of the
            calculations, which must be evenly spaced and the same for all.
        broadening_ev: Broadening Γ (eV) of calculations whose files do not state it.
        drude_csv: Table of Drude frequencies (eV), with the columns mat_id, drude_x, drude_y, drude_z; it replaces what
            a calculation states.
        vasp_response: The density-density or the velocity-velocity response of VASP.
        functional: Functional that calculations must have, such as PBE, where their files state one; null takes all.
        max_mb: Longest text (MB) of a file after decompression.
    """

    def __init__(
        self,
        path: str,
        grid: EnergyGrid | None = None,
        broadening_ev: float | None = None,
        drude_csv: str | None = None,
        vasp_response: VaspResponse = "density",
        functional: str | None = None,
        max_mb: float = STRUCTURE_TEXT_MB,
    ) -> None:
        super().__init__()
        check_positive(max_mb=max_mb)
        if broadening_ev is not None:
            check_positive(broadening_ev=broadening_ev)
        if vasp_response not in ("density", "velocity"):
            raise InputError(f"vasp_response is {vasp_response!r}, expected density or velocity")
        self.path = path
        self.grid = grid
        self.broadening_ev = broadening_ev
        self.drude_csv = drude_csv
        self.vasp_response = vasp_response
        self.functional = functional
        self.max_mb = max_mb

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """Read the calculations in the order of their paths."""
        without_drude = 0
        for record in self.read_each(self._items(), self._reader(), on_error):
            without_drude += record.labels is not None and not record.labels.has_drude
            yield record
        if without_drude:
            log.warning("%s: %d calculations have no Drude frequency", self.path, without_drude)

    def tasks(self) -> Tasks:
        """One calculation each."""
        items = self._items()
        folders = sorted({item.found.files[0].parent for item in items})
        files = [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
        options = f"grid {self.grid}, broadening {self.broadening_ev}, {self.vasp_response}, {self.functional}"
        table = "" if self.drude_csv is None else file_stamps([existing_path(self.drude_csv)])
        root = existing_path(self.path).resolve()
        fingerprint = f"calculations {root}, {options}, {self.max_mb:g} MB, {file_stamps(files)} {table}"
        return Tasks(items, self._reader(), fingerprint)

    def size(self) -> int:
        """How many calculations there are."""
        return len(self._items())

    def _reader(self) -> partial[CrystalRecord]:
        drude = {} if self.drude_csv is None else read_drude_table(self.drude_csv)
        options = ReadOptions(self.grid, self.broadening_ev, drude, self.vasp_response, self.functional, self.max_mb)
        return partial(_read_item, options=options)

    def _items(self) -> list[_Item]:
        root = existing_path(self.path)
        if root.is_file():
            items = [_Item(_stem(root), found) for found in find_calculations([root])]
        else:
            items = [item for folder, files in _folders(root) for item in _items_of(folder, files, root)]
        if not items:
            raise InputError(
                f"{root}: no calculation of {', '.join(CODES)} is found; these files are looked for: {FILE_NAMES}"
            )
        return items


def _folders(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """A folder and its subfolders with their files, without hidden ones, in the order of names."""

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: the folder cannot be opened ({error.strerror})") from error

    for name, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        folder = Path(name)
        yield folder, [folder / file for file in sorted(names) if not file.startswith(".")]


def _items_of(folder: Path, files: list[Path], root: Path) -> list[_Item]:
    found = list(find_calculations(path for path in files if path.is_file()))
    relative = folder.relative_to(root)
    names = [relative.as_posix() if relative.parts else folder.resolve().name]
    if len(found) != 1:
        names = [(relative / _stem(one.files[0])).as_posix() for one in found]
    return [_Item(encodable(name), one) for name, one in zip(names, found, strict=True)]


def _stem(path: Path) -> str:
    """The name of a file without the ending of its format."""
    name = Path(without_compression(path.name))
    return name.stem if name.suffix.lower() in _SUFFIXES else name.name


def _read_item(item: _Item, options: ReadOptions) -> CrystalRecord:
    if not item.found.code:
        raise RecordError(
            item.source,
            "it is named as the output of a first-principles code, but does not begin as one; it is empty, truncated "
            "or of another program: copy it again, or remove it",
        )
    calculation = CODES[item.found.code].read(item.found.files, options)
    return to_record(calculation, item.material_id, item.source, options)
