"""Crystals of CIF files, one for every data block with atoms; ambiguous or unsupported content is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.graphs.cells import MAX_ATOMS, MAX_COMPONENT
from dielectric_gnn.data.sources.cif_sites import Site, read_sites
from dielectric_gnn.data.sources.cif_symmetry import Operations, candidate_operations
from dielectric_gnn.data.sources.cif_text import CifBlock, number, read_blocks
from dielectric_gnn.data.sources.formulas import check_formula, check_units, parse_formula
from dielectric_gnn.utils.errors import RecordError

Floats = NDArray[np.float64]

_HAS_ATOMS = ("_atom_site_fract_x", "_atom_site_cartn_x", "_atom_site_label", "_atom_site_type_symbol")
_ANGLES = ("alpha", "beta", "gamma")

SAME_POSITION_TOLERANCE = 0.05
"""Images of an atom within this distance (Å) are one atom with rounded coordinates on a symmetry element.
Different atoms are never so close (`cells.MIN_DISTANCE`)."""

_FRACTIONAL_TOLERANCE = 1e-5


class Atoms(NamedTuple):
    """A structure: lattice vectors as rows (3, 3) and positions (n, 3) in Å, atomic numbers (n,)."""

    lattice: Floats
    numbers: NDArray[np.int64]
    positions: Floats


def read_cif(text: str, source: str) -> Iterator[tuple[str, Atoms | RecordError]]:
    """The structures of a CIF file, or the error of an unusable one, with the names of their data blocks.

    Blocks without atom sites (bibliography, powder patterns) are skipped. A number is added to a repeated name.

    Args:
        text: Content of the file.
        source: Name of the file, for errors.

    Raises:
        RecordError: The text is not a CIF file, or no block has atoms.
    """
    try:
        blocks = read_blocks(text)
    except ValueError as error:
        raise RecordError(source, f"is not a CIF file: {error}") from error
    with_atoms = [block for block in blocks if any(tag in block for tag in _HAS_ATOMS)]
    if not with_atoms:
        raise RecordError(source, f"no data block has atom sites (of {len(blocks)})" if blocks else "is empty")
    times: Counter[str] = Counter()
    for block in with_atoms:
        times[block.name] += 1
        name = block.name if times[block.name] == 1 else f"{block.name}-{times[block.name]}"
        try:
            yield name, _atoms(block)
        except ValueError as error:
            where = source if len(with_atoms) == 1 else f"{source}, block {name}"
            yield name, RecordError(where, str(error))


def _atoms(block: CifBlock) -> Atoms:
    """The structure of a block; raises ValueError."""
    if block.value("_cell_modulation_dimension") not in (None, "0"):
        raise ValueError("the structure is modulated (_cell_modulation_dimension); models need periodic crystals")
    lattice = _lattice(block)
    formula, problem = _formula(block)
    sites = read_sites(block, formula)
    if problem:  # an error in a site is more specific
        raise problem
    found: dict[str, Atoms] = {}
    problems: list[ValueError] = []
    for name, operations in candidate_operations(block, lattice).items():
        try:
            atoms = _expand_sites(sites, operations, lattice)
            if formula is not None:
                counts = Counter(atoms.numbers.tolist())
                check_formula(formula, counts)
                check_units(formula, block.value("_cell_formula_units_z"), counts)
            found[name] = atoms
        except ValueError as error:  # formula or overlaps may exclude one of two origins
            problems.append(error)
    if not found:
        raise problems[0]
    first, *others = found.values()
    if not all(_are_equal(first, other) for other in others):
        raise ValueError(
            f"the space group has several settings ({', '.join(found)}), and the file states neither which nor the "
            "symmetry operations; add them, or a colon and the setting to the name"
        )
    return first


def _formula(block: CifBlock) -> tuple[dict[int, float] | None, ValueError | None]:
    """The stated formula if there is one, or the error of parsing it."""
    stated = block.value("_chemical_formula_sum")
    try:
        return (None if stated is None else parse_formula(stated)), None
    except ValueError as error:
        return None, error


def _lattice(block: CifBlock) -> Floats:
    from pymatgen.core import Lattice

    values = []
    for tag in (*(f"_cell_length_{axis}" for axis in "abc"), *(f"_cell_angle_{angle}" for angle in _ANGLES)):
        text = block.value(tag)
        if text is None:
            raise ValueError(f"{tag} is missing")
        values.append(number(text))
    a, b, c, alpha, beta, gamma = values
    if not 0 < min(a, b, c) <= max(a, b, c) <= MAX_COMPONENT or not all(
        0 < angle < 180 for angle in (alpha, beta, gamma)
    ):
        raise ValueError(f"the cell of lengths {a:g}, {b:g}, {c:g} Å and angles {alpha:g}, {beta:g}, {gamma:g} is none")
    return np.asarray(Lattice.from_parameters(a, b, c, alpha, beta, gamma).matrix, dtype=np.float64)


def _expand_sites(sites: list[Site], operations: Operations, lattice: Floats) -> Atoms:
    """All atoms of the cell."""
    places = np.empty((MAX_ATOMS, 3))
    counts: list[int] = []
    num = 0
    for site in sites:
        images = _orbit(site, operations, lattice)
        near = np.flatnonzero(_distances(places[:num], images[0], lattice) < SAME_POSITION_TOLERANCE)
        if near.size:
            other = sites[int(np.searchsorted(np.cumsum(counts), near[0], side="right"))].label
            raise ValueError(f"sites {other} and {site.label} are at the same position; is a site listed twice?")
        if num + len(images) > MAX_ATOMS:
            raise ValueError(f"the cell has more than {MAX_ATOMS} atoms, the largest number supported")
        places[num : num + len(images)] = images
        counts.append(len(images))
        num += len(images)
    numbers = np.repeat([site.atomic_number for site in sites], counts).astype(np.int64)
    return Atoms(lattice, numbers, places[:num] @ lattice)


def _orbit(site: Site, operations: Operations, lattice: Floats) -> Floats:
    """Fractional coordinates (m, 3) of the images of a site, which is moved exactly onto a nearby symmetry element."""
    place = np.array(site.fractional)
    for _ in range(2):
        images = operations.rotations @ place + operations.translations
        shifts = images - place
        shifts -= np.rint(shifts)
        on_itself = np.linalg.norm(shifts @ lattice, axis=1) < SAME_POSITION_TOLERANCE
        place = place + shifts[on_itself].mean(axis=0)
    images = (operations.rotations @ place + operations.translations) % 1.0
    images[images > 1.0 - _FRACTIONAL_TOLERANCE] = 0.0
    kept: list[int] = []
    for row, image in enumerate(images):
        if not kept or (_distances(images[kept], image, lattice) > _FRACTIONAL_TOLERANCE * 10).all():
            kept.append(row)
    if len(kept) * int(on_itself.sum()) != len(images):
        raise ValueError(
            f"site {site.label} is within {SAME_POSITION_TOLERANCE:g} Å of a symmetry element, on which it may lie; "
            "give its coordinates with more digits"
        )
    return images[kept]


def _distances(places: Floats, place: Floats, lattice: Floats) -> Floats:
    """Distances (Å) to the nearest image; correct for small distances."""
    shifts = places - place
    return np.asarray(np.linalg.norm((shifts - np.rint(shifts)) @ lattice, axis=1))


def _are_equal(one: Atoms, other: Atoms) -> bool:
    """Whether two structures in one cell have the same atoms at the same positions."""
    if sorted(one.numbers.tolist()) != sorted(other.numbers.tolist()):
        return False
    inverse = np.linalg.inv(one.lattice)
    left, right = one.positions @ inverse, other.positions @ inverse
    return all(
        bool((_distances(right[other.numbers == element], place, one.lattice) < SAME_POSITION_TOLERANCE).any())
        for element, place in zip(one.numbers, left, strict=True)
    )
