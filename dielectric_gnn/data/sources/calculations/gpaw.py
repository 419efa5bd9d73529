"""GPAW: the table of `DielectricFunction.get_dielectric_function`, by default `df.csv`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dielectric_gnn.data.sources.calculations.calculation import Calculation
from dielectric_gnn.data.sources.calculations.options import ReadOptions
from dielectric_gnn.data.sources.calculations.structures import structure_beside
from dielectric_gnn.data.sources.calculations.tables import Floats, Spectrum, as_complex, read_components, read_table

_DIRECTION = re.compile(r"[_-]([xyz])\.csv", re.IGNORECASE)


def read_gpaw(files: Sequence[Path], options: ReadOptions) -> Calculation:
    """Five columns without a header: ω (eV), Re and Im ε without local fields, Re and Im ε with them.

    Those without local fields are read, as in the published study. A table is for one direction, x unless its name
    ends in `_y` or `_z`; the symmetry of the crystal completes the tensor. GPAW writes neither η nor the Drude
    frequency into it.
    """

    def read(path: Path) -> tuple[str, Floats, Spectrum]:
        _, table = read_table(path, 5, options.max_mb, separator=",")
        match = _DIRECTION.search(path.name)
        return (match[1].lower() if match else "x") * 2, table[:, 0], as_complex(table[:, 1], table[:, 2])

    energies, spectra = read_components(files, read)
    remarks: list[str] = []
    atoms = structure_beside(files[0], "GPAW", (), remarks)
    return Calculation("GPAW", atoms, energies, spectra, remarks=remarks)
