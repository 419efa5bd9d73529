"""The f-sum rule: the fraction that a spectrum fulfils, a score that needs the crystal but no label.

∫₀^∞ ω Im ε dω = (π/2) ω_p² with ω_p² = ħ²e²n/(ε₀mₑ): the integrated absorption of a crystal counts its electrons. Free
carriers contribute (π/2) ω_D². A spectrum that ends at 20 eV fulfils a part: the rest is absorption above the window,
which is most of that of d electrons. A fraction above 1 has three possible causes: shells that were not counted absorb
within the window; valence electrons gain oscillator strength from the core, whose transitions into occupied states are
forbidden (up to about 0.2 in early transition metals); or the spectrum is too strong. Compare with similar crystals.

Sources: M. Altarelli et al., Phys. Rev. B 6, 4502 (1972), doi:10.1103/PhysRevB.6.4502; D. Y. Smith and E. Shiles,
Phys. Rev. B 17, 4689 (1978), doi:10.1103/PhysRevB.17.4689.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dielectric_gnn.optics.units import PLASMA_EV2_ANGSTROM3, FloatArray
from dielectric_gnn.utils.errors import InputError

_SHALLOW_CORE = {
    **dict.fromkeys((19, 37, 38, 55, 56, 57), 6),  # K 3p, Rb and Sr 4p, Cs, Ba and La 5p
    **dict.fromkeys((31, 49, 81, 82), 10),  # Ga 3d, In 4d, Tl and Pb 5d
    **dict.fromkeys((71, 72), 14),  # Lu and Hf 4f
}
"""Electrons in filled core shells bound by less than about 21 eV (X-Ray Data Booklet, LBNL 2009, table 1-1)."""


def valence_electrons(atomic_numbers: ArrayLike, shallow_core: bool = False) -> NDArray[np.int64]:
    """Return the number of absorbing electrons of every atom, by the group of the periodic table.

    Groups 1–12: the number of the group (all s and d electrons outside the noble-gas core: Cu 11, Zn 12); groups 13–18:
    the group less 10 (Al 3, Pb 4); lanthanides and actinides 3, without the open 4f or 5f shell; H 1, He 2.

    The fraction depends on this choice. Closed shells just below the valence bands absorb within a window of
    20 eV, too; `shallow_core` counts those of K, Rb, Sr, Cs, Ba, La, Lu, Hf, Ga, In, Tl and Pb.

    Shapes:
        (n,) → (n,).

    Args:
        atomic_numbers: Z from 1 on.
        shallow_core: Whether closed shells bound by less than about 21 eV count.

    Raises:
        InputError: A number is not that of an element.
    """
    from pymatgen.core import Element

    def count(number: int) -> int:
        try:
            group = Element.from_Z(number).group
        except ValueError as error:
            raise InputError(f"atomic number {number}: expected that of an element, 1 to 118") from error
        outer = number if number <= 2 else group - 10 if group > 12 else group
        return outer + (_SHALLOW_CORE.get(number, 0) if shallow_core else 0)

    numbers = np.asarray(atomic_numbers, dtype=np.int64)
    return np.array([count(int(number)) for number in numbers.reshape(-1)], dtype=np.int64).reshape(numbers.shape)


def plasma_energy(electrons: ArrayLike, volume: ArrayLike) -> FloatArray:
    """Return the free-electron plasma energy ω_p = ħ√(e²n/(ε₀mₑ)) in eV of electrons in a volume in Å³.

    Example:
        >>> float(plasma_energy(12, 4.046**3).round(1))  # aluminium, 4 atoms of valence 3 in the cubic cell
        15.8
    """
    electrons, volume = np.asarray(electrons, dtype=np.float64), np.asarray(volume, dtype=np.float64)
    if not (np.all(volume > 0) and np.all(electrons >= 0)):
        raise InputError(f"{electrons} electrons in {volume} Å^3: expected at least 0 electrons and a volume above 0")
    return np.asarray(np.sqrt(PLASMA_EV2_ANGSTROM3 * electrons / volume))


def sum_rule_weight(energies: ArrayLike, eps_inter: ArrayLike, drude: ArrayLike) -> FloatArray:
    """Return the squared plasma energy of a spectrum within its window, (2/π) ∫ ω Im ε_inter dω + ω_D².

    Shapes:
        energies (W,), eps_inter (..., W), drude (...) → (...).

    Units:
        eV².

    Args:
        energies: Photon energies in eV, increasing.
        eps_inter: Interband dielectric function.
        drude: ω_D in eV; its full weight is counted, including the part beyond the window.

    Source:
        See the module.
    """
    omega = np.asarray(energies, dtype=np.float64)
    imaginary = np.asarray(eps_inter, dtype=np.complex128).imag
    inter = np.trapezoid(omega * imaginary, omega, axis=-1)
    return np.asarray(2.0 / np.pi * inter + np.asarray(drude, dtype=np.float64) ** 2)


def sum_rule_fraction(
    energies: ArrayLike, eps_inter: ArrayLike, drude: ArrayLike, electrons: ArrayLike, volume: ArrayLike
) -> FloatArray:
    """Return the fraction of the f-sum rule that is exhausted within the window, `sum_rule_weight` / ω_p².

    Shapes:
        energies (W,), eps_inter (..., W), drude (...), electrons and volume scalar or (...) → (...).

    Args:
        energies: Photon energies in eV, increasing.
        eps_inter: Interband dielectric function.
        drude: ω_D in eV.
        electrons: Valence electrons in the cell; `valence_electrons(atomic_numbers).sum()` is one choice.
        volume: Volume of the cell in Å³.

    Returns:
        The fraction, dimensionless; times `electrons` it is the effective number of electrons n_eff per cell.

    Raises:
        InputError: There are no electrons, or the volume is not positive.

    Source:
        See the module.
    """
    total = plasma_energy(electrons, volume) ** 2
    if not np.all(total > 0):
        raise InputError("0 valence electrons, expected a positive number; give the electrons of the cell")
    return np.asarray(sum_rule_weight(energies, eps_inter, drude) / total)
