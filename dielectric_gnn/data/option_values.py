"""Checks of the values of single data options."""

from __future__ import annotations

import math

from dielectric_gnn.utils.errors import InputError

MAX_CUTOFF = 20.0
"""Largest neighbour cutoff in Å; an atom of a solid has about 2000 neighbours within it."""


def check_at_most_one(**options: object) -> None:
    """Raise InputError if more than one of several exclusive options is given."""
    given = [f"{name} ({value})" for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} are both given; set one to null")


def check_positive(**lengths: float) -> None:
    """Raise InputError unless all values are positive and finite; names that end in `_ev` are in eV, others in Å."""
    for name, value in lengths.items():
        if not 0 < value < math.inf:
            unit = "eV" if name.endswith("_ev") else "Å"
            raise InputError(f"{name} is {value} {unit}, expected a finite number above 0")


def check_cutoff(cutoff: float) -> None:
    """Raise InputError unless a neighbour cutoff (Å) is positive and at most `MAX_CUTOFF`."""
    check_positive(cutoff=cutoff)
    if cutoff > MAX_CUTOFF:
        raise InputError(
            f"cutoff is {cutoff} Å, expected at most {MAX_CUTOFF:g} Å; the number of neighbours grows as its cube"
        )


def check_at_least(least: int, **numbers: int | None) -> None:
    """Raise InputError if an integer is less than `least`; None, which stands for an option not given, passes."""
    for name, value in numbers.items():
        if value is not None and value < least:
            raise InputError(f"{name} is {value}, expected at least {least}")
