"""`Spectrum`: the optical response of one material and the quantities that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from dielectric_gnn import optics
from dielectric_gnn.optics.intervals import Intervals
from dielectric_gnn.utils.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Unit = Literal["eV", "nm", "um"]

_ROUNDING_TOLERANCE = 1e-4
"""In single precision, off-diagonals that symmetry forbids are below this fraction of the diagonal."""


@dataclass(frozen=True, eq=False)
class TensorSpectrum:
    """Response tensors in the frame of the stored lattice, components in Voigt order.

    Args:
        eps_inter: ε_inter (6, W), complex: xx, yy, zz, yz, xz, xy.
        drude_square: ω_D² (6,) in eV².
    """

    eps_inter: optics.ComplexArray
    drude_square: optics.FloatArray

    def has_principal_axes(self) -> bool:
        """Return whether x, y and z are principal axes: off-diagonals are zero up to rounding."""
        parts = (self.eps_inter, self.drude_square)
        return all(np.abs(part[3:]).max() <= _ROUNDING_TOLERANCE * np.abs(part[:3]).max() for part in parts)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Optical response of one material, averaged over directions, on its own photon energies.

    ε(ω) = ε_inter(ω) − ω_D² / (ω² + iγω), with the convention e^(−iωt): Im ε > 0 is loss. Total ε, n, k, R and colour
    follow from it and are computed in this class only, when they are first used.

    Args:
        energies: Photon energies (W,) in eV, increasing.
        eps_inter: Interband dielectric function (W,), complex.
        drude: Drude frequency ω_D in eV; NaN if unknown.
        damping: γ of the Drude term in eV: a parameter, not a property of the material.
        material_id: Id of the material.
        formula: Chemical formula.
        broadening: Γ of the interband part in eV, if known.
        std: For an ensemble, the standard deviations of Re ε_inter, Im ε_inter and ω_D over its members.
        tensor: The response tensors, if known.
        warnings: Reasons to doubt the numbers, such as elements that the training set lacks.
        source: Description of the model or data set.
        intervals: Prediction intervals of the model, if they were calibrated.
    """

    energies: optics.FloatArray
    eps_inter: optics.ComplexArray
    drude: float
    damping: float = optics.DEFAULT_DAMPING
    material_id: str = ""
    formula: str = ""
    broadening: float | None = None
    std: Spectrum | None = None
    tensor: TensorSpectrum | None = None
    warnings: tuple[str, ...] = ()
    source: str = ""
    intervals: Intervals | None = None

    @cached_property
    def eps(self) -> optics.ComplexArray:
        """Total dielectric function (W,); infinite at zero energy in a metal."""
        return optics.total_dielectric_function(self.energies, self.eps_inter, self.drude, self.damping)

    @cached_property
    def _index(self) -> tuple[optics.FloatArray, optics.FloatArray]:
        return optics.refractive_index(self.eps)

    @property
    def n(self) -> optics.FloatArray:
        """Refractive index (W,)."""
        return self._index[0]

    @property
    def k(self) -> optics.FloatArray:
        """Extinction coefficient (W,)."""
        return self._index[1]

    @cached_property
    def reflectivity(self) -> optics.FloatArray:
        """Reflectivity R (W,) of a thick sample at normal incidence in vacuum."""
        return optics.reflectivity(self.n, self.k)

    @cached_property
    def conductivity(self) -> optics.ComplexArray:
        """Optical conductivity σ (W,) in S/m."""
        return optics.optical_conductivity(self.energies, self.eps)

    @cached_property
    def loss_function(self) -> optics.FloatArray:
        """−Im 1/ε (W,)."""
        return optics.loss_function(self.eps)

    @cached_property
    def srgb(self) -> tuple[float, float, float] | None:
        """Colour of a polished sample under D65 as sRGB in [0, 1]; None if the visible response is not known."""
        is_known = np.isfinite(self.eps_inter).all() and np.isfinite(self.drude)
        if not is_known or not optics.covers_visible(self.energies):
            return None
        red, green, blue = optics.colour_srgb(
            optics.response_colour(self.energies, self.eps_inter, self.drude, self.damping)
        ).tolist()
        return red, green, blue

    @property
    def colour(self) -> str | None:
        """Colour of a polished sample under D65 as hexadecimal digits, such as `#f0d080`; None as for `srgb`."""
        return None if self.srgb is None else optics.hex_colour(self.srgb)

    def n_at(self, value: float, unit: Unit = "eV") -> float:
        """Return the refractive index at a photon energy (eV) or vacuum wavelength (nm, um)."""
        return self._at(self.n, value, unit)

    def k_at(self, value: float, unit: Unit = "eV") -> float:
        """Return the extinction coefficient at a photon energy (eV) or vacuum wavelength (nm, um)."""
        return self._at(self.k, value, unit)

    def reflectivity_at(self, value: float, unit: Unit = "eV") -> float:
        """Return the reflectivity at a photon energy (eV) or vacuum wavelength (nm, um)."""
        return self._at(self.reflectivity, value, unit)

    def require_tensor(self) -> TensorSpectrum:
        """Return the response tensors.

        Raises:
            InputError: They are unknown.
        """
        if self.tensor is None:
            raise InputError(
                f"{self.material_id or 'this spectrum'} has no tensors, only averages over directions; "
                "use a model with a tensor head"
            )
        return self.tensor

    def along_axes(self) -> list[Spectrum]:
        """Return the spectra for light polarised along x, y and z: exact for principal axes, else approximate.

        Raises:
            InputError: The tensors are unknown.
        """
        tensor = self.require_tensor()
        roots = np.sqrt(tensor.drude_square[:3].clip(min=0)).tolist()
        return [
            replace(self, eps_inter=eps, drude=drude, std=None, tensor=None)
            for eps, drude in zip(tensor.eps_inter[:3], roots, strict=True)
        ]

    def columns(self) -> dict[str, optics.FloatArray]:
        """Return columns by name: energy, ε_inter, ε, n, k, reflectivity and, for an ensemble, standard deviations."""
        columns = {
            "energy_ev": self.energies,
            "eps_inter_re": self.eps_inter.real,
            "eps_inter_im": self.eps_inter.imag,
            "eps_re": self.eps.real,
            "eps_im": self.eps.imag,
            "n": self.n,
            "k": self.k,
            "reflectivity": self.reflectivity,
        }
        if self.std is not None:
            columns["eps_inter_re_std"] = self.std.eps_inter.real
            columns["eps_inter_im_std"] = self.std.eps_inter.imag
        return columns

    def to_dataframe(self) -> pd.DataFrame:
        """Return `columns` as a pandas data frame."""
        import pandas as pd

        return pd.DataFrame(self.columns())

    def plot(self) -> Figure:
        """Draw interband and total ε, n and k, reflectivity and colour; return the figure of matplotlib."""
        from dielectric_gnn.optics.plots import response_figure

        drude = f": ω_D = {self.drude:.2f} eV" if np.isfinite(self.drude) else ""
        return response_figure(f"{self.formula or self.material_id}{drude}", self)

    def export(self, format: str, path: str | Path) -> Path:
        """Write a file for another program, such as `export("meep", "silver_meep.py")`.

        Args:
            format: `refractiveindex`, `nk`, `csv`, `json` or `meep`; see `dielectric_gnn.export.WRITERS`.
            path: The file.

        Returns:
            The path.

        Raises:
            InputError: The format is unknown, or the spectrum cannot be written in it.
        """
        from dielectric_gnn.export import WRITERS, Material

        if format not in WRITERS:
            raise InputError(f"format {format!r}: expected one of {', '.join(WRITERS)}")
        material = Material(
            self.material_id,
            self.formula,
            source=self.source,
            damping_ev=self.damping,
            broadening_ev=self.broadening,
            comments=self.warnings,
        )
        WRITERS[format].write(Path(path), self.energies, self.eps, material)
        return Path(path)

    def _at(self, values: Sequence[float] | optics.FloatArray, value: float, unit: Unit) -> float:
        factors = {"nm": 1.0, "um": 1e3}
        if unit != "eV" and unit not in factors:
            raise InputError(f"unit {unit!r}: expected eV, nm or um")
        if not value > 0:
            raise InputError(f"{value} {unit}: expected a positive number")
        energy = value if unit == "eV" else optics.HC_EV_NM / (value * factors[unit])
        if not self.energies[0] <= energy <= self.energies[-1]:
            low, high = self.energies[0], self.energies[-1]
            raise InputError(f"{value} {unit} is {energy:.4g} eV, but this spectrum covers {low:g} to {high:g} eV")
        finite = np.isfinite(values)
        return float(np.interp(energy, self.energies[finite], np.asarray(values)[finite]))
