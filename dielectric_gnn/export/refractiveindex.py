"""The YAML format of the refractiveindex.info database: `tabulated nk`, wavelengths in µm."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import ArrayLike

from dielectric_gnn.export.material import Material, checked_spectrum, warnings_of
from dielectric_gnn.export.tables import nk_rows
from dielectric_gnn.utils.files import write_text


def write_refractiveindex(path: Path, energies: ArrayLike, eps: ArrayLike, material: Material) -> None:
    """A data file of the refractiveindex.info database, which many optics programs read.

    REFERENCES and COMMENTS say that the numbers are predicted or calculated, not measured.

    Args:
        path: The file.
        energies: Photon energies (W,) in eV, increasing; those at 0 are left out.
        eps: Total dielectric function (W,).
        material: Name and origin.

    Raises:
        InputError: A spectrum that cannot be written; see `checked_spectrum`.

    Source:
        M. N. Polyanskiy, Sci. Data 11, 94 (2024), doi:10.1038/s41597-023-02898-2.
    """
    _, values = checked_spectrum(energies, eps)
    # Written by hand: the database's own files keep the table as a literal block, one row a line.
    lines = ["REFERENCES: |", f"    {material.reference()}", "COMMENTS: |"]
    lines += [f"    {remark}" for remark in [*material.remarks(), *warnings_of(values)]]
    lines += ["DATA:", "  - type: tabulated nk", "    data: |"]
    lines += [f"        {row}" for row in nk_rows(energies, eps)]
    lines += ["SPECS:", "    n_is_absolute: true", "    wavelength_is_vacuum: true"]
    write_text(path, "\n".join(lines) + "\n")
