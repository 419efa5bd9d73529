"""The YAML format of the refractiveindex.info database: `tabulated nk`, wavelengths in µm."""

from __future__ import annotations

from pathlib import Path

from numpy.typing import ArrayLike

from dielectric_gnn.export.material import Material, spectrum_warnings, validated_spectrum
from dielectric_gnn.export.tables import nk_rows
from dielectric_gnn.utils.files import write_text


def write_refractiveindex(path: Path, energies: ArrayLike, eps: ArrayLike, material: Material) -> None:
    """Write a data file of the refractiveindex.info database, which many optics programs read.

    REFERENCES and COMMENTS state that the numbers are predicted or calculated, not measured.

    Args:
        path: The file.
        energies: Photon energies (W,) in eV, increasing; an energy of 0 is left out.
        eps: Total dielectric function (W,).
        material: Name and origin.

    Raises:
        InputError: The spectrum cannot be written; see `validated_spectrum`.

    Source:
        M. N. Polyanskiy, Sci. Data 11, 94 (2024), doi:10.1038/s41597-023-02898-2.
    """
    _, values = validated_spectrum(energies, eps)
    # Not by PyYAML: the files of the database have the table as a literal block, one row per line.
    lines = ["REFERENCES: |", f"    {material.reference()}", "COMMENTS: |"]
    lines += [f"    {remark}" for remark in [*material.remarks(), *spectrum_warnings(values)]]
    lines += ["DATA:", "  - type: tabulated nk", "    data: |"]
    lines += [f"        {row}" for row in nk_rows(energies, eps)]
    lines += ["SPECS:", "    n_is_absolute: true", "    wavelength_is_vacuum: true"]
    write_text(path, "\n".join(lines) + "\n")
