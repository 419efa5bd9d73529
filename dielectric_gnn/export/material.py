"""Name and origin of an exported material, and validation of exported spectra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from dielectric_gnn import __version__
from dielectric_gnn.optics import ComplexArray, FloatArray
from dielectric_gnn.utils.errors import InputError


@dataclass(frozen=True)
class Material:
    """Name and origin of an optical response; every format contains them.

    Args:
        material_id: Id within its data set.
        formula: Chemical formula.
        origin: `predicted` by a model, or `calculated` from first principles.
        source: Description of the model or data set.
        direction: Direction of the electric field: `average` over directions, or the axis `x`, `y` or `z` of the frame
            of the stored lattice.
        damping_ev: γ of the Drude term, if one was added.
        broadening_ev: Broadening Γ of the interband part, if known.
        comments: Further remarks, one line each.
    """

    material_id: str
    formula: str
    origin: Literal["predicted", "calculated"] = "predicted"
    source: str = ""
    direction: str = "average"
    damping_ev: float | None = None
    broadening_ev: float | None = None
    comments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.origin not in ("predicted", "calculated"):
            raise InputError(f"origin {self.origin!r} of {self.material_id}: expected 'predicted' or 'calculated'")

    def reference(self) -> str:
        """Return the origin of the numbers in one line, which states that they are not measured."""
        origin = {
            "predicted": f"Predicted by a model (dielectric_gnn {__version__}); not measured.",
            "calculated": f"Calculated from first principles (written by dielectric_gnn {__version__}); not measured.",
        }[self.origin]
        return _one_line(f"{self.formula} ({self.material_id}). {origin} {self.source}")

    def remarks(self) -> list[str]:
        """Return further remarks, one line each."""
        lines = [f"Electric field: {'average over directions' if self.direction == 'average' else self.direction}."]
        if self.damping_ev is not None:
            lines.append(f"Drude damping {self.damping_ev:g} eV (a parameter, not a property of the material).")
        if self.broadening_ev is not None:
            lines.append(f"Interband broadening {self.broadening_ev:g} eV.")
        return [*lines, *(_one_line(comment) for comment in self.comments)]


def validated_spectrum(energies: ArrayLike, eps: ArrayLike) -> tuple[FloatArray, ComplexArray]:
    """Return the part of a spectrum at energies above 0, after checking that energies increase and ε is finite.

    Shapes:
        energies (W,), eps (W,) → (W',), (W',).

    Raises:
        InputError: The shapes are inconsistent, energies do not increase, ε is not finite above 0 eV, or fewer than 2
            energies are above 0.
    """
    omega, values = np.asarray(energies, dtype=np.float64), np.asarray(eps, dtype=np.complex128)
    if omega.ndim != 1 or omega.shape != values.shape:
        raise InputError(
            f"energies of shape {omega.shape} with eps of shape {values.shape}: expected two equal vectors; "
            "write the axes of a tensor one by one"
        )
    if not np.all(np.diff(omega) > 0.0):
        raise InputError("energies do not increase: sort the spectrum by photon energy and drop duplicates")
    omega, values = omega[omega > 0.0], values[omega > 0.0]
    if omega.size < 2:
        raise InputError(f"{omega.size} energies above 0 eV: expected at least 2")
    if not np.isfinite(values).all():
        raise InputError(f"eps is {values[~np.isfinite(values)][0]} at {omega[~np.isfinite(values)][0]:g} eV")
    return omega, values


def spectrum_warnings(eps: ComplexArray) -> list[str]:
    """Return warnings about the values of ε."""
    gain = int(np.count_nonzero(eps.imag < 0.0))
    if not gain:
        return []
    return [f"Im eps is negative (gain, not physical) at {gain} of {eps.size} energies, down to {eps.imag.min():.3g}."]


def _one_line(text: str) -> str:
    """Return one line of printable characters with single spaces, valid in every format."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())
