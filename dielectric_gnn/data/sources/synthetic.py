"""Any number of synthetic crystals with a synthetic response, for tests, benchmarks and trial runs of large studies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dielectric_gnn.data.record import MAX_BROADENING_EV, CrystalRecord
from dielectric_gnn.data.sources.base import OnError, RecordSource, Tasks
from dielectric_gnn.data.sources.prototypes import random_structure
from dielectric_gnn.data.sources.synthetic_response import synthetic_labels
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError


class SyntheticMetals(RecordSource):
    """Synthetic crystals: random intermetallics of known structure types, with tensors from a smooth analytic model.

    NOT materials data: `synthetic_response` defines the spectra. Crystal i depends only on the options and on i, so a
    larger set begins with the smaller ones.

    Args:
        num: Number of crystals.
        seed: Random seed.
        rattle: Standard deviation of random displacements of the atoms (Å); 0 keeps the symmetry of the structure type.
        broadening_ev: Broadening Γ (eV), the half width of the oscillators.
    """

    def __init__(self, num: int, seed: int = 0, rattle: float = 0.0, broadening_ev: float = 0.1) -> None:
        super().__init__()
        if num < 1 or seed < 0:
            raise InputError(f"the synthetic source has num {num} and seed {seed}, expected at least 1 and 0")
        if not 0 <= rattle <= 0.2:
            raise InputError(f"rattle is {rattle} Å, expected 0 to 0.2; more brings atoms too close to each other")
        if not 0 < broadening_ev <= MAX_BROADENING_EV:
            raise InputError(f"broadening_ev is {broadening_ev} eV, expected above 0 and at most {MAX_BROADENING_EV:g}")
        self.num = num
        self.seed = seed
        self.rattle = rattle
        self.broadening_ev = broadening_ev

    def records(self, on_error: OnError = "raise") -> Iterator[CrystalRecord]:
        """The crystals 0 to num − 1."""
        return self.read_each(range(self.num), self.crystal, on_error)

    def tasks(self) -> Tasks:
        """One crystal each."""
        options = f"seed {self.seed}, rattle {self.rattle}, broadening {self.broadening_ev}"
        return Tasks(range(self.num), self.crystal, f"synthetic, model 1, {self.num} crystals, {options}")

    def size(self) -> int:
        """`num`."""
        return self.num

    def crystal(self, index: int) -> CrystalRecord:
        """Crystal number `index`."""
        rng = np.random.default_rng((self.seed, index))
        lattice, numbers, positions, prototype = random_structure(rng, self.rattle)
        return CrystalRecord(
            material_id=f"synthetic-{self.seed}-{index:06d}",
            lattice=lattice,
            atomic_numbers=numbers,
            positions=positions,
            labels=synthetic_labels(lattice, numbers, positions, EnergyGrid(), self.broadening_ev),
            metadata={"synthetic": True, "prototype": prototype},
            source=f"synthetic crystal {index}",
        )
