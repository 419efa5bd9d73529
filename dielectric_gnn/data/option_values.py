"""Checks of single options of the data, by their values alone."""

from __future__ import annotations

import math

from dielectric_gnn.utils.errors import InputError

MAX_CUTOFF = 20.0
"""Å: about 2000 neighbours of each atom of a solid."""


def at_most_one(**options: object) -> None:
    """Raise InputError if two options that exclude each other are given."""
    given = [f"{name} ({value})" for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} are both given; set one to null")


def check_positive(**lengths: float) -> None:
    """Raise InputError unless all, in Å or eV as their names say, are positive and finite."""
    for name, value in lengths.items():
        if not 0 < value < math.inf:
            unit = "eV" if name.endswith("_ev") else "Å"
            raise InputError(f"{name} is {value} {unit}, expected a finite number above 0")


def check_cutoff(cutoff: float) -> None:
    """Raise InputError unless a cutoff of neighbours (Å) is positive, and small enough for graphs to be made."""
    check_positive(cutoff=cutoff)
    if cutoff > MAX_CUTOFF:
        raise InputError(f"cutoff is {cutoff} Å, expected at most {MAX_CUTOFF:g} Å; neighbours grow as its third power")


def check_whole(least: int, **numbers: int | None) -> None:
    """Raise InputError if a whole number, None where it is not given, is less than `least`."""
    for name, value in numbers.items():
        if value is not None and value < least:
            raise InputError(f"{name} is {value}, expected at least {least}")
