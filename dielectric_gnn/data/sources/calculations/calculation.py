"""One calculation as its code wrote it, and how it becomes a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.record import CrystalRecord, OpticalLabels
from dielectric_gnn.data.sources.calculations.components import drude_frequencies, labelled_components
from dielectric_gnn.data.sources.calculations.options import ReadOptions
from dielectric_gnn.data.sources.cif import Atoms
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.resampling import RESAMPLING_ERROR, resample
from dielectric_gnn.utils.errors import InputError, RecordError

_ROUNDING_EV = 1e-4
"""Codes write energies with four decimals or more."""

_LOW_EV = 0.2
"""Spectra that begin at or below this energy have Re ε > 0 there, unless they contain the Drude term."""


@dataclass(frozen=True, eq=False)
class Calculation:
    """What a reader found, in the units and the convention e^(−iωt) of this package.

    Shapes:
        energies: (V,). components: each (V,) complex.

    Units:
        Energies, Drude frequencies and broadening in eV.

    Args:
        code: Name of the code.
        atoms: The structure. The components belong to the Cartesian frame of its lattice.
        energies: Photon energies, rising.
        components: Interband ε by component, such as `xx` and `yz`; off-diagonals are those of the symmetric part.
        drude_squares: The tensor ω_D² in eV², (3, 3), or its diagonal, (3,); None where the code writes none.
        broadening: Half width of the Lorentzian broadening Γ, where the files state it.
        functional: The exchange-correlation functional, where the files state it.
        remarks: What a user should consider.
    """

    code: str
    atoms: Atoms
    energies: NDArray[np.float64]
    components: Mapping[str, NDArray[np.complex128]]
    drude_squares: NDArray[np.float64] | None = None
    broadening: float | None = None
    functional: str | None = None
    remarks: list[str] = field(default_factory=list)


def to_record(calculation: Calculation, material_id: str, source: str, options: ReadOptions) -> CrystalRecord:
    """The material of a calculation.

    Raises:
        RecordError: The spectra are not finite, contain the Drude term or do not fit the grid; another functional than
            the required one; components are missing; or the record is unusable.
    """
    _check_functional(calculation, source, options.functional)
    _check_finite(calculation, source)
    structure = CrystalRecord(
        material_id,
        calculation.atoms.lattice,
        calculation.atoms.numbers,
        calculation.atoms.positions,
        source=source,
    )
    remarks = list(calculation.remarks)
    given = options.drude.get(material_id)
    if given is not None and calculation.drude_squares is not None:
        remarks.append("the Drude frequency of the calculation was replaced by that of drude_csv")
    drude = drude_frequencies(calculation.drude_squares) if given is None else given
    spectra, drude = labelled_components(structure, calculation.components, drude, remarks)
    _check_interband(calculation.energies, spectra, source)
    grid = options.grid or _even_grid(calculation.energies, source)
    try:
        resampled = resample(calculation.energies, spectra, grid)
    except InputError as error:
        raise RecordError(source, str(error)) from error
    broadening = calculation.broadening if calculation.broadening is not None else options.broadening_ev
    labels = OpticalLabels(resampled.values, drude, grid, broadening)
    metadata = {
        "code": calculation.code,
        "functional": calculation.functional,
        RESAMPLING_ERROR: resampled.error,
        "remarks": remarks,
    }
    return replace(structure, labels=labels, metadata=metadata)


def _check_functional(calculation: Calculation, source: str, required: str | None) -> None:
    stated = calculation.functional
    if required is not None and stated is not None and stated.upper() != required.upper():
        raise RecordError(
            source,
            f"the functional of this {calculation.code} calculation is {stated}, expected {required}; leave the "
            "calculation out, or change the option functional",
        )


def _check_finite(calculation: Calculation, source: str) -> None:
    energies = calculation.energies
    if not np.isfinite(energies).all():
        raise RecordError(source, f"energies are NaN or infinite; repeat the {calculation.code} calculation")
    for name, spectrum in calculation.components.items():
        bad = np.flatnonzero(~np.isfinite(spectrum))
        if bad.size:
            raise RecordError(
                source,
                f"{bad.size} values of component {name} are NaN or infinite, the first at {energies[bad[0]]:g} eV; "
                f"repeat the {calculation.code} calculation",
            )


def _check_interband(energies: NDArray[np.float64], spectra: NDArray[np.complex128], source: str) -> None:
    """Refuse spectra with a Drude term: without one, Re ε is positive below all transitions (Kramers–Kronig)."""
    lowest = float(spectra[:3, 0].real.min())
    if energies[0] <= _LOW_EV and lowest < 0:
        raise RecordError(
            source,
            f"Re ε is {lowest:.4g} at {energies[0]:g} eV, so the spectrum contains the Drude term, expected interband "
            "transitions alone; repeat the calculation without the intraband contribution, and give the Drude "
            "frequency by drude_csv",
        )


def _even_grid(energies: NDArray[np.float64], source: str) -> EnergyGrid:
    """The evenly spaced grid that the energies are, up to the rounding of what a code writes."""
    if 0 <= energies[0] < energies[-1]:
        grid = EnergyGrid(float(energies[0]), float(energies[-1]), energies.size)
        deviation = float(np.abs(energies - grid.energies()).max())
        if deviation <= _ROUNDING_EV or grid.matches(energies):
            return grid
    raise RecordError(
        source,
        f"{energies.size} energies from {energies[0]:g} to {energies[-1]:g} eV are not evenly spaced; give a grid "
        "(start, stop, num) within them, onto which they are resampled",
    )
