"""pymatgen `Structure` dictionaries from JSON, read as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.graphs.cells import MAX_ATOMS
from dielectric_gnn.data.record import atomic_number
from dielectric_gnn.utils.errors import RecordError

_OCCUPANCY_TOLERANCE = 1e-8
"""Occupancies may differ from 1 by this much."""


def plain_array(value: Any) -> NDArray[np.float64]:
    """A plain nested list, or the monty encoding of a NumPy array, as numbers.

    Raises:
        ValueError: It is neither, or a number is beyond double precision.
    """
    if isinstance(value, dict):
        value = value["data"]
    try:
        return np.asarray(value, dtype=np.float64)
    except OverflowError as error:
        raise ValueError("a number is too large") from error


def parse_structure(
    structure: dict[str, Any], source: str
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Lattice (3, 3), atomic numbers (n,) and Cartesian positions (n, 3) of a pymatgen `Structure` dictionary.

    Raises:
        RecordError: A part is missing or malformed, a direction is not periodic, a site is disordered, or an element is
            unknown.
    """
    try:
        lattice = plain_array(structure["lattice"]["matrix"])
        periodic = structure["lattice"].get("pbc", [True, True, True])
        if not all(periodic):
            raise RecordError(
                source, f"the lattice has pbc {list(periodic)}; models need periodicity in all directions"
            )
        if len(structure["sites"]) > MAX_ATOMS:
            raise RecordError(source, f"it has {len(structure['sites'])} sites, expected at most {MAX_ATOMS}")
        numbers, fractional = [], []
        for index, site in enumerate(structure["sites"]):
            species = [(one.get("element"), one.get("occu", 1)) for one in site["species"]]
            numbers.append(element_of_site(species, index, source))
            fractional.append(site["abc"])
        with np.errstate(over="ignore", invalid="ignore"):  # the record refuses values that are not finite
            positions = plain_array(fractional).reshape(-1, 3) @ lattice
    except (TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
        if isinstance(error, RecordError):
            raise
        problem = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise RecordError(
            source,
            f"the structure is not a pymatgen Structure dictionary: {problem}; expected lattice.matrix, and in sites "
            "the species and abc of every site",
        ) from error
    return lattice, np.asarray(numbers, dtype=np.int64), positions


def element_of_site(species: Sequence[tuple[Any, float]], index: int, source: str) -> int:
    """Atomic number of the element of a site.

    Args:
        species: Symbols of the elements on the site, with their occupancies.
        index: Number of the site, for messages.
        source: Name of the file, for messages.

    Raises:
        RecordError: The site is disordered, or no element is on it.
    """
    # NaN compares as false, so it is refused as well.
    if len(species) != 1 or not abs(species[0][1] - 1) <= _OCCUPANCY_TOLERANCE:
        shown = ", ".join(f"{name}: {occupancy}" for name, occupancy in species)
        raise RecordError(source, f"site {index} is disordered ({shown}); models need one element per site")
    name = species[0][0]
    try:
        return atomic_number(name)
    except (ValueError, TypeError):
        raise RecordError(source, f"site {index} is {name!r}, which is not an element") from None
