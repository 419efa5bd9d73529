"""Comparison of stated formulas with the atoms that were read, which reveals missing atoms."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dielectric_gnn.data.record import element_symbol

_ROUNDING_TOLERANCE = 0.02
"""Relative tolerance of amounts given as decimals, such as Fe0.33 S0.67."""


def parse_formula(text: str) -> dict[int, float]:
    """Amounts by atomic number of a formula such as `Cu3 Au`, `Ca (O H)2`; deuterium counts as hydrogen.

    Raises:
        ValueError: It cannot be parsed.
    """
    from pymatgen.core import Composition, Element

    try:
        amounts: dict[int, float] = {}
        for species, amount in Composition(text.strip("'\" ")).items():
            if not isinstance(species, Element):
                raise ValueError(str(species))
            amounts[species.Z] = amounts.get(species.Z, 0.0) + float(amount)
    except Exception as error:  # the parser raises several types
        raise ValueError(f"the formula {text[:60]!r} cannot be parsed; correct or remove it") from error
    if not amounts or not all(math.isfinite(amount) and amount > 0 for amount in amounts.values()):
        raise ValueError(f"the formula {text[:60]!r} has no atoms; correct or remove it")
    return amounts


def check_formula(stated: Mapping[int, float], found: Mapping[int, float]) -> None:
    """Raise ValueError unless two formulas have the same elements in the same proportions.

    Integers must agree exactly, decimals within their rounding.

    Args:
        stated: Amounts by atomic number.
        found: Atoms by atomic number.
    """
    alike = stated.keys() == found.keys()
    if alike:
        ratios = [found[z] / stated[z] for z in stated]
        whole = all(float(amount).is_integer() for amount in stated.values())
        alike = max(ratios) / min(ratios) - 1 < (1e-9 if whole else _ROUNDING_TOLERANCE)
    if not alike:
        raise ValueError(
            f"the formula {_shown(stated)} is stated, but {_shown(found)} was read; are atoms missing, or is the "
            "space group or the formula wrong?"
        )


def check_units(formula: Mapping[int, float], units: str | None, found: Mapping[int, float]) -> None:
    """Raise ValueError unless the cell contains the stated number Z of formula units.

    pymatgen writes the formula of the complete cell with the number of reduced units as Z (Si8 with 8), which is
    accepted too.
    """
    if units is None or not units.isdecimal() or int(units) == 0:
        return
    one, read = sum(formula.values()), sum(found.values())
    of_cell = all(float(amount / int(units)).is_integer() for amount in formula.values())
    expected = [one * int(units), *([one] if of_cell else [])]
    if all(abs(count / read - 1) > _ROUNDING_TOLERANCE for count in expected):
        raise ValueError(
            f"{units} formula units of {_shown(formula)} are stated (_cell_formula_units_Z), {one * int(units):g} "
            f"atoms, but {read:g} were read; is the space group wrong?"
        )


def _shown(amounts: Mapping[int, float]) -> str:
    return " ".join(f"{element_symbol(z)}{amount:g}" for z, amount in sorted(amounts.items()))
