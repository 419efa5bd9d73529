"""The atom sites of a CIF block: each with one element, full occupancy and coordinates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from dielectric_gnn.data.graphs.cells import MAX_ATOMS
from dielectric_gnn.data.record import atomic_number
from dielectric_gnn.data.sources.cif_text import ABSENT, CifBlock, number

_TYPE = re.compile(r"([A-Za-z]{1,2})(\d*\.?\d*[+-]|[+-]\d*\.?\d*|0)?")
"""An element and its charge: `Cu`, `Fe3+`, `O2-`, `Fe+3`, `Cu0`."""

_NUMBERED = re.compile(r"([A-Z][a-z]?)\d+")
"""A type symbol that is a label: `Cu1`."""

_LABEL = re.compile(r"([A-Za-z]{1,2})(?![A-Za-z])[\d()'\"*+\-._]*[A-Za-z]?[\d()'\"*+\-._]*")
"""An element, then the number or letter of its site: `Cu1`, `Fe(2)`, `Cu1A`; no second group of letters."""

_MOLECULE = re.compile(r"([HD]\d?O|[NC]O\d?|O-?H\d?|CN|NH\d?|O\d*W\d*)", re.IGNORECASE)
"""Labels of molecules at one site, which begin like elements; W denotes water."""

_OCCUPANCY_TOLERANCE = 1e-8
"""Occupancies may differ from 1 by this much, as in JSON files."""


_MAX_COORDINATE = 1e4
"""Largest fractional coordinate; larger ones have too few digits within the cell, or are wrong."""


class Site(NamedTuple):
    """One row of the loop of atom sites.

    Args:
        label: Label in the file.
        atomic_number: Z.
        fractional: Fractional coordinates.
    """

    label: str
    atomic_number: int
    fractional: tuple[float, float, float]


def read_sites(block: CifBlock, formula: Mapping[int, float] | None) -> list[Site]:
    """The sites of a block.

    Args:
        block: Of a CIF file.
        formula: Numbers of atoms by Z if the block states its formula; it decides whether `CU1` is carbon or copper.

    Raises:
        ValueError: There are none; or one is not an element, is partly occupied or a dummy, has hydrogens without
            coordinates, or lacks a coordinate.
    """
    axes = [block.column(f"_atom_site_fract_{axis}") for axis in "xyz"]
    num = len(axes[0])
    if num == 0 or any(len(axis) != num for axis in axes):
        raise ValueError("the atom sites have no fractional coordinates (_atom_site_fract_x, _y, _z)")
    if num > MAX_ATOMS:
        raise ValueError(f"it has {num} atom sites, expected at most {MAX_ATOMS}")
    labels = block.column("_atom_site_label") or [f"number {place}" for place in range(1, num + 1)]
    kinds = block.column("_atom_site_type_symbol") or ["?"] * num
    occupancies = block.column("_atom_site_occupancy") or ["."] * num
    hydrogens = block.column("_atom_site_attached_hydrogens") or ["."] * num
    flags = block.column("_atom_site_calc_flag") or ["."] * num
    sites = []
    for place, label in enumerate(labels):
        _check(f"site {label}", occupancies[place], hydrogens[place], flags[place])
        element = _element(label, kinds[place], formula)
        x, y, z = (_coordinate(axis[place], name, label) for name, axis in zip("xyz", axes, strict=True))
        sites.append(Site(label, element, (x, y, z)))
    return sites


def _check(site: str, occupancy: str, hydrogens: str, flag: str) -> None:
    if occupancy == "?":
        raise ValueError(f"the occupancy of {site} is '?', expected a number, or '.' for 1")
    if occupancy not in ABSENT and not abs(number(occupancy) - 1) <= _OCCUPANCY_TOLERANCE:
        share = number(occupancy)
        kind = "more than one atom" if share > 1 else "no atom" if share <= 0 else "disorder"
        raise ValueError(f"{site} has occupancy {occupancy} ({kind}), expected 1; models need one element per site")
    if hydrogens not in ABSENT and number(hydrogens) != 0:
        raise ValueError(f"{site} has {hydrogens} attached hydrogens without coordinates; add them as sites")
    if flag.lower() == "dum":
        raise ValueError(f"{site} is a dummy (_atom_site_calc_flag), not an atom; remove it")


def _coordinate(text: str, axis: str, label: str) -> float:
    try:
        value = number(text)
    except ValueError as error:
        raise ValueError(f"coordinate {axis} of site {label} is {text[:40]!r}, expected a number") from error
    if not abs(value) <= _MAX_COORDINATE:
        raise ValueError(f"coordinate {axis} of site {label} is {text[:40]!r}, expected about 0 to 1")
    return value


def _element(label: str, kind: str, formula: Mapping[int, float] | None) -> int:
    """Z of a site, from its type symbol if it is given, else from its label."""
    text = label if kind in ABSENT else kind
    found = _by_label(text, formula) if kind in ABSENT else _by_type(text)
    if len(found) != 1:
        doubt = "may be several elements" if found else "is not an element"
        shown = repr(text) if text == label else f"{kind!r} (type of {label!r})"
        raise ValueError(f"site {shown} {doubt}; give the symbol of its element as _atom_site_type_symbol")
    return found[0]


def _by_type(text: str) -> list[int]:
    """Possible Z of a type symbol: an element in upper or lower case, but not a molecule with digits (CO2)."""
    match = _TYPE.fullmatch(text) or (None if _MOLECULE.fullmatch(text) else _NUMBERED.fullmatch(text))
    number = _number_of(match[1].title()) if match else None
    return [] if number is None else [number]


def _by_label(text: str, formula: Mapping[int, float] | None) -> list[int]:
    """Possible Z of a label: copper for Cu1; copper or carbon for CU1, by the formula; none for H2O."""
    match = None if _MOLECULE.fullmatch(text) else _LABEL.fullmatch(text)
    first = _number_of(match[1].title()) if match else None
    if match is None or first is None:
        return []
    other = _number_of(match[1][0]) if match[1][1:].isupper() else None
    found = [first] if other is None else [first, other]
    return found if formula is None or other is None else [number for number in found if number in formula]


def _number_of(symbol: str) -> int | None:
    try:
        return atomic_number(symbol)
    except ValueError:
        return None
