"""`CrystalRecord`: the structure and, where known, the optical response of one material, checked on creation."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.graphs.cells import MIN_DISTANCE, Cell, cell_problem, safe_cutoff, search_cell, stated_problem
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import RecordError
from dielectric_gnn.utils.ids import id_problem, short_literal

_Number = TypeVar("_Number", np.float64, np.complex128)

MAX_ATOMIC_NUMBER = 83
"""Bismuth: the heaviest element of the published data, and of the element embeddings."""

NEGATIVE_LOSS_TOLERANCE = 1e-2
"""Im ε may fall below zero by this much (numerical noise) before a spectrum is rejected."""

MAX_EPS = 1e6
"""Largest |Re ε| and |Im ε| of a label; squares and sums of such values fit into single precision."""

MAX_DRUDE_EV = 1e3
"""Largest Drude frequency of a label in eV; those of solids are below 50 eV."""

MAX_BROADENING_EV = 10.0
"""Largest broadening Γ in eV."""


@dataclass(frozen=True, eq=False)
class OpticalLabels:
    """Computed response of a material, with A components; a single component is the orientation average.

    3 components are the diagonal of the tensors in the frame of the stored lattice (xx, yy, zz), as published; 6 are
    full tensors, in Voigt order (xx, yy, zz, yz, xz, xy).

    Shapes:
        eps_inter: (A, W) complex, on `grid`. drude: (A,).

    Units:
        eps_inter dimensionless, drude and broadening in eV.

    Args:
        eps_inter: Interband dielectric function. NaN in all real parts: Re ε is not known.
        drude: Drude frequency ω_D; of 3 components, the roots of the diagonal of the tensor ω_D²; of 6 components, the
            positive semidefinite root of that tensor. NaN in all components: no Drude frequency is known.
        grid: Photon energies of `eps_inter`.
        broadening: Half width Γ of the Lorentzian broadening; None if the file does not state it.
        diagonal_only: The last three of 6 components are not known, and are zero here.
    """

    eps_inter: NDArray[np.complex128]
    drude: NDArray[np.float64]
    grid: EnergyGrid = field(default_factory=EnergyGrid)
    broadening: float | None = None
    diagonal_only: bool = False

    @property
    def num_components(self) -> int:
        """Number of components, A."""
        return self.eps_inter.shape[0]

    @property
    def has_drude(self) -> bool:
        """Whether the Drude frequency is known."""
        return not np.isnan(self.drude).all()

    @property
    def has_real(self) -> bool:
        """Whether Re ε is known; Im ε always is."""
        return not np.isnan(self.eps_inter.real).all()

    def average(self) -> tuple[NDArray[np.complex128], float]:
        """Orientation average as the published study defines it (arXiv:2602.05702).

        A third of the trace of ε, and the root of a third of the trace of ω_D², since ω_D enters ε squared.

        Returns:
            ε̄_inter (W,) and ω̄_D in eV; real part and ω̄_D are NaN where they are not known.
        """
        # Part by part: the division of complex numbers would carry NaN from Re to Im.
        real, imaginary = (part[:3].mean(axis=0) for part in (self.eps_inter.real, self.eps_inter.imag))
        squares = self.drude**2
        trace = squares[:3].sum() + 2 * squares[3:].sum()
        return real + 1j * imaginary, float(np.sqrt(trace / min(3, self.num_components)))

    def problem(self) -> str | None:
        """Description of the problem that makes these labels unusable, or None."""
        components = self.num_components if self.eps_inter.ndim == 2 else 0
        if components not in (1, 3, 6) or self.eps_inter.shape[1] != self.grid.num or self.drude.shape != (components,):
            return (
                f"spectra of shape {self.eps_inter.shape} with Drude frequencies of shape {self.drude.shape}, "
                f"expected (1, 3 or 6 components, {self.grid.num}) with one Drude frequency per component"
            )
        parts = [self.eps_inter.real, self.eps_inter.imag] if self.has_real else [self.eps_inter.imag]
        if bad := np.count_nonzero(~np.logical_and.reduce([np.isfinite(part) for part in parts])):
            return f"eps_inter contains {bad} NaN or infinite values"
        # Not the modulus, which overflows where a part does not.
        largest = max(float(np.abs(part).max()) for part in parts)
        if largest > MAX_EPS:
            return f"eps_inter reaches {largest:.3g}, expected at most {MAX_EPS:g}"
        if self.has_drude and (not (np.abs(self.drude) <= MAX_DRUDE_EV).all() or (self.drude[:3] < 0).any()):
            return f"drude_freq is {self.drude.tolist()}, expected finite values >= 0 and <= {MAX_DRUDE_EV:g} eV"
        if self.broadening is not None and not 0 < self.broadening <= MAX_BROADENING_EV:
            return (
                f"the broadening is {self.broadening} eV, expected a positive number of at most {MAX_BROADENING_EV:g} "
                "eV, or none where it is unknown"
            )
        lowest = float(self.eps_inter[:3].imag.min())
        if lowest < -NEGATIVE_LOSS_TOLERANCE:
            return (
                f"Im eps falls to {lowest:.3g}, expected >= 0 (tolerance {NEGATIVE_LOSS_TOLERANCE:g}); "
                "with the e^(+iwt) convention, conjugate the spectrum"
            )
        return None


@dataclass(frozen=True, eq=False)
class CrystalRecord:
    """One material: a periodic structure and, unless it is to be predicted, its optical labels.

    Shapes (n atoms):
        lattice: (3, 3), rows are lattice vectors. atomic_numbers: (n,). positions: (n, 3), Cartesian.

    Units:
        Å.

    Args:
        material_id: Unique name of the material within its data set; see `ids.id_problem` for what it may be.
        lattice: Lattice vectors.
        atomic_numbers: Z of every atom, 1 to 83.
        positions: Atom positions.
        labels: Computed response, if it is known.
        metadata: Other content of the file (plain values), kept but not interpreted.
        source: File or archive member of the record, named in errors; the identifier if not given.
        fidelity: 0 for the best labels of a data set that joins several qualities of labels; see `Fidelities`.

    Raises:
        RecordError: An id that cannot be used, wrong shapes, non-finite or absurd values, a flat, enormous or crowded
            cell, no atoms, an element beyond Bi, overlapping atoms, or unusable labels; the message names the material
            and the cure.
    """

    material_id: str
    lattice: NDArray[np.float64]
    atomic_numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    labels: OpticalLabels | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    fidelity: int = 0

    def __post_init__(self) -> None:
        if problem := id_problem(self.material_id):
            raise RecordError(self.source or short_literal(self.material_id), problem)
        problem = self._structure_problem() or (self.labels.problem() if self.labels else None)
        if problem:
            where = f"{self.source} ({self.material_id})" if self.source else self.material_id
            raise RecordError(where, problem)

    @cached_property
    def formula(self) -> str:
        """Reduced chemical formula, e.g. `Al2Cu`; the parts of a split share none."""
        from pymatgen.core import Composition

        counts = Counter(int(z) for z in self.atomic_numbers)
        composition = Composition({element_symbol(z): count for z, count in counts.items()})
        with warnings.catch_warnings():
            # Formulas are ordered by electronegativity; noble gases without one come last.
            warnings.filterwarnings("ignore", message="No Pauling electronegativity")
            return str(composition.reduced_formula)

    @cached_property
    def search_cell(self) -> Cell:
        """The cell in which neighbours and symmetries are searched: that of the record, reduced if it is skew."""
        return search_cell(self.lattice, self.positions)

    @cached_property
    def volume(self) -> float:
        """Volume of the cell in Å³."""
        return float(abs(np.linalg.det(self.search_cell.lattice)))

    def _structure_problem(self) -> str | None:
        numbers = self.atomic_numbers
        if numbers.size == 0:
            return "the structure has no atoms"
        if self.lattice.shape != (3, 3) or self.positions.shape != (numbers.size, 3):
            return (
                f"lattice of shape {self.lattice.shape} with positions of shape {self.positions.shape}, "
                f"expected (3, 3) with ({numbers.size}, 3)"
            )
        if numbers.dtype.kind not in "iu":
            return f"atomic numbers are {numbers.dtype}, expected integers"
        if problem := stated_problem(self.lattice, self.positions):
            return problem
        unknown = sorted({int(z) for z in numbers if not 1 <= z <= MAX_ATOMIC_NUMBER})
        if unknown:
            return f"atomic number {unknown[0]} is outside 1 to {MAX_ATOMIC_NUMBER} (H to Bi), the supported elements"
        return cell_problem(self.search_cell) or self._overlap_problem()

    def _overlap_problem(self) -> str | None:
        from vesin import NeighborList

        lattice, positions = self.search_cell
        pairs = NeighborList(cutoff=safe_cutoff(lattice, MIN_DISTANCE), full_list=False, n_threads=1)
        i, j, distance = pairs.compute(positions, lattice, periodic=True, quantities="ijd")
        if len(i) == 0 or distance.min() >= MIN_DISTANCE:
            return None
        nearest = int(np.argmin(distance))
        return (
            f"atoms {int(i[nearest])} and {int(j[nearest])} are {float(distance[nearest]):.3f} Å apart, "
            f"expected at least {MIN_DISTANCE:g} Å; check units and duplicated sites"
        )


def require_drude(drude: NDArray[np.float64], source: str) -> NDArray[np.float64]:
    """The Drude frequencies of a format that always states them.

    Raises:
        RecordError: One is NaN, which in labels means that there is no Drude frequency.
    """
    if np.isnan(drude).any():
        raise RecordError(source, f"drude_freq is {drude.tolist()}, expected finite values in eV")
    return drude


def require_real(eps_inter: NDArray[_Number], source: str) -> NDArray[_Number]:
    """The spectra of a format that always states Re ε.

    Raises:
        RecordError: A real part is NaN, which in labels means that it is not known.
    """
    if bad := np.count_nonzero(np.isnan(eps_inter.real)):
        raise RecordError(source, f"eps_inter contains {bad} NaN or infinite values, expected finite ones")
    return eps_inter


@cache
def element_symbol(atomic_number: int) -> str:
    """Chemical symbol of an atomic number."""
    from pymatgen.core import Element

    return str(Element.from_Z(atomic_number).symbol)


@cache
def atomic_number(symbol: str) -> int:
    """Atomic number of a chemical symbol; raises ValueError for an unknown one."""
    from pymatgen.core import Element

    return int(Element(symbol).Z)
