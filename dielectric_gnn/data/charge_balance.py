"""Compositions whose electrons fill closed shells: salts and Zintl phases, which are rarely metals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache

from dielectric_gnn.data.elements import element_properties, property_names

_GOLD = 79
_ELECTRONS_ACCEPTED = {14: 4, 15: 3, 16: 2, 17: 1}
"""Electrons that close the shell of an anion, by group; gold accepts one, as in CsAu."""
_ELECTRONS_DONATED = {1: 1, 2: 2, 13: 3}
"""Valence electrons of a cation, by group; compositions with other cations are not classified."""
_SMALLEST_DIFFERENCE = 0.5
"""Of Pauling electronegativities between the anion and every cation."""


def is_charge_balanced(atomic_numbers: Sequence[int]) -> bool:
    """Whether the electrons of the cations just close the shell of the most electronegative element.

    A rule of thumb (the octet rule, W. Klemm and E. Zintl) for compositions that may have a band gap, although all
    their elements are metals.

    Args:
        atomic_numbers: Of all atoms of the cell.

    Example:
        >>> [is_charge_balanced(cell) for cell in ([55, 79], [12, 12, 50], [11, 17], [29, 30], [13, 28])]
        [True, True, True, False, False]
    """
    counts, elements = Counter(int(number) for number in atomic_numbers), _elements()
    anion = max(counts, key=lambda number: elements[number][1])
    group, electronegativity = elements[anion]
    accepted = 1 if anion == _GOLD else _ELECTRONS_ACCEPTED.get(group)
    cations = [number for number in counts if number != anion]
    donated = [_ELECTRONS_DONATED.get(elements[number][0]) for number in cations]
    if accepted is None or not cations or None in donated:
        return False
    if any(electronegativity - elements[number][1] < _SMALLEST_DIFFERENCE for number in cations):
        return False
    total = sum(counts[number] * each for number, each in zip(cations, donated, strict=True) if each is not None)
    return total == accepted * counts[anion]


@cache
def _elements() -> list[tuple[int, float]]:
    """Group and electronegativity by atomic number."""
    names, table = property_names(), element_properties()
    groups, values = (table[:, names.index(name)].nan_to_num().tolist() for name in ("group", "electronegativity"))
    return [(int(group), value) for group, value in zip(groups, values, strict=True)]
