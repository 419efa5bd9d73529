"""The formats by name, and one function that writes a material in several of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn.export.material import Material
from dielectric_gnn.export.meep import write_meep
from dielectric_gnn.export.refractiveindex import write_refractiveindex
from dielectric_gnn.export.tables import write_nk, write_quantities_csv, write_quantities_json
from dielectric_gnn.optics import ComplexArray
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import file_stem

Write: TypeAlias = Callable[[Path, ArrayLike, ArrayLike, Material], None]
"""Writes a file from photon energies (W,) in eV, the total ε (W,) and a `Material`."""


@dataclass(frozen=True)
class Format:
    """A file format.

    Args:
        write: Its writer.
        ending: End of the file name, after the stem.
        summary: Description, for lists of choices.
    """

    write: Write
    ending: str
    summary: str


WRITERS: dict[str, Format] = {
    "refractiveindex": Format(write_refractiveindex, "_nk.yml", "refractiveindex.info database file (YAML): n, k"),
    "nk": Format(write_nk, ".nk", "table of wavelength in um, n, k"),
    "csv": Format(write_quantities_csv, "_optics.csv", "all optical quantities, units in the header"),
    "json": Format(write_quantities_json, "_optics.json", "all optical quantities, units in the keys"),
    "meep": Format(write_meep, "_meep.py", "Drude-Lorentz medium for Meep, with its fit error"),
}
"""All formats by name."""

_AXES = ("x", "y", "z")


def export(
    folder: Path, energies: ArrayLike, eps: ArrayLike, material: Material, formats: Sequence[str] = ("csv",)
) -> list[Path]:
    """Write a response in several formats; for a tensor, one file for each axis.

    File names start with the id of the material, see `file_stem`.

    Shapes:
        energies (W,), eps (W,) or, for light polarised along x, y and z, (3, W).

    Args:
        folder: Folder of the files; created if it does not exist.
        energies: Photon energies in eV, increasing; those at 0 are left out.
        eps: Total dielectric function.
        material: Name and origin.
        formats: Names from `WRITERS`.

    Returns:
        The paths, in the order of axes and formats.

    Raises:
        InputError: A format is unknown (checked before anything is written), or the spectrum cannot be written.
    """
    if isinstance(formats, str):
        raise InputError(f"formats is the text {formats!r}, expected a list of names: [{formats!r}]")
    unknown = [name for name in formats if name not in WRITERS]
    if unknown:
        raise InputError(f"format {unknown[0]!r}: expected one of {', '.join(WRITERS)}")
    stem = file_stem(material.material_id)
    written = []
    for suffix, axis_eps, axis_material in _by_axis(np.asarray(eps, dtype=np.complex128), material):
        for name in formats:
            path = folder / f"{stem}{suffix}{WRITERS[name].ending}"
            try:
                WRITERS[name].write(path, energies, axis_eps, axis_material)
            except InputError as error:
                raise InputError(f"{material.material_id} as {name}: {error}") from error
            written.append(path)
    return written


def _by_axis(eps: ComplexArray, material: Material) -> Iterator[tuple[str, ComplexArray, Material]]:
    if eps.ndim == 1:
        yield "", eps, material
    elif eps.ndim == 2 and len(eps) == len(_AXES):
        for axis, values in zip(_AXES, eps, strict=True):
            yield f"_{axis}", values, replace(material, direction=axis)
    else:
        raise InputError(f"eps of shape {eps.shape}: expected (W,), or (3, W) for the axes x, y and z")
