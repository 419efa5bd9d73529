"""Crystals of CIF files, one for every data block with atoms; what is not understood is refused, never guessed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dielectric_gnn.data.sources.parser_warnings import judged_warnings
from dielectric_gnn.data.sources.space_groups import Setting, rotations_of, settings_of, symmetry_operations
from dielectric_gnn.errors import RecordError

if TYPE_CHECKING:
    from pymatgen.core import Composition, Structure

_OPERATIONS = (
    "_symmetry_equiv_pos_as_xyz",
    "_symmetry_equiv_pos_as_xyz_",
    "_space_group_symop_operation_xyz",
    "_space_group_symop_operation_xyz_",
    "_space_group_symop.operation_xyz",
)
_MAGNETIC = ("_space_group_symop_magn_operation.xyz", "_space_group_magn.name_BNS", "_space_group_magn.number_BNS")
_GROUP = re.compile(
    r"_(symmetry_)?space_group_(symop_)?(name_(h-m|h_m|hall)|it_number)(_alt|_ref|_full)?_?|_symmetry_int_tables_number_?"
)
_ABSENT = (".", "?", "")
_SAME_SHARE = 0.01
"""Formulas are given with as few digits as occupancies are refined."""

_METRIC = 0.01
"""Cells agree with a space group up to this share of a squared length."""


def read_cif(text: str, source: str) -> Iterator[tuple[str, Structure]]:
    """The structures of a CIF file with the names of their data blocks; a block without atoms is passed over.

    Args:
        text: The file.
        source: Its name, for errors.

    Raises:
        RecordError: The text is no CIF, a block is not understood, or no block has atoms.
    """
    from pymatgen.io.cif import CifFile

    try:
        with judged_warnings(source):
            blocks = CifFile.from_str(text).data
    except RecordError:
        raise
    except Exception as error:  # the parser raises many types for texts that it cannot read
        raise RecordError(source, f"is no CIF that pymatgen reads ({_reason(error)})") from error
    with_atoms = [name for name, block in blocks.items() if "_atom_site_fract_x" in block.data]
    if not with_atoms:
        raise RecordError(source, "no data block has atom sites with fractional coordinates")
    for name in with_atoms:
        yield name, _structure(blocks[name], source if len(with_atoms) == 1 else f"{source}, block {name}")


def _structure(block: Any, source: str) -> Structure:
    """The structure of one block."""
    data = dict(block.data)
    _check_sites(data, source)
    if any(key in data for key in (*_OPERATIONS, *_MAGNETIC)):
        return _parsed(data, block, source)
    found = {}
    for setting in _stated_settings(data, source):
        operations = {"_symmetry_equiv_pos_as_xyz": symmetry_operations(setting)}
        try:
            found[setting.choice] = _parsed(data | operations, block, source)
        except RecordError as error:  # two origins: that which the stated formula and overlaps rule out
            problem = error
    if not found:
        raise problem
    if len({structure.composition for structure in found.values()}) > 1 or (len(found) > 1 and not _alike(found)):
        raise RecordError(
            source,
            f"the space group has several settings ({', '.join(found)}) and the file states neither which one nor the "
            "symmetry operations; write them into the file",
        )
    return next(iter(found.values()))


def _check_sites(data: dict[str, Any], source: str) -> None:
    """Refuse sites that the parser would drop or take for something else, and fill in occupancies that are left out."""
    number = len(data["_atom_site_fract_x"])
    labels = data.get("_atom_site_label") or [""] * number
    kinds = data.get("_atom_site_type_symbol") or labels
    data["_atom_site_label"] = [label or f"site{place}" for place, label in enumerate(labels)]
    for place, kind in enumerate(kinds):
        _check_element(kind, f"site {labels[place] or place}", source)
    for place, hydrogens in enumerate(data.get("_atom_site_attached_hydrogens") or []):
        if hydrogens not in (*_ABSENT, "0"):
            raise RecordError(source, f"site {labels[place]} has {hydrogens} attached hydrogens without coordinates")
    for axis in "xyz":
        for place, value in enumerate(data.get(f"_atom_site_fract_{axis}") or []):
            if value in _ABSENT:
                raise RecordError(source, f"coordinate {axis} of site {labels[place]} is {value!r}, expected a number")
    if "_atom_site_occupancy" in data:
        occupancies = data["_atom_site_occupancy"]
        for place, value in enumerate(occupancies):
            if value == "?":
                raise RecordError(
                    source, f"the occupancy of site {labels[place]} is '?', expected a number, or '.' for 1"
                )
        data["_atom_site_occupancy"] = ["1" if value == "." else value for value in occupancies]


def _check_element(kind: str, site: str, source: str) -> None:
    """A type or label must begin with the symbol of an element: `Ag`, `AG`, `Ag1+`, `Ag2A`; not `Wat`, `Va` or `M1`."""
    from pymatgen.core import Element

    letters = re.match(r"[A-Za-z]*", kind)
    symbol = letters[0].title() if letters else ""
    if not Element.is_valid_symbol(symbol):
        raise RecordError(
            source, f"{site} is {kind!r}, which is no element; give the element as _atom_site_type_symbol"
        )


def _stated_settings(data: Mapping[str, Any], source: str) -> list[Setting]:
    """The settings of the space group that the block states, of those that its cell agrees with; P 1 if it states none.

    Raises:
        RecordError: No spelling is understood, two disagree, or the cell does not have the symmetry.
    """
    stated = {key: str(value) for key, value in data.items() if _GROUP.fullmatch(key.lower()) and value not in _ABSENT}
    if not stated:
        return settings_of("P 1")
    found = {key: settings_of(value, hall="hall" in key.lower()) for key, value in stated.items()}
    understood = {key: settings for key, settings in found.items() if settings}
    if not understood:
        shown = ", ".join(f"{key} {value!r}" for key, value in stated.items())
        raise RecordError(
            source,
            f"the space group is stated but not understood ({shown}); write the symmetry operations into the file",
        )
    numbers = {setting.number for settings in understood.values() for setting in settings}
    if len(numbers) > 1:
        shown = ", ".join(f"{key} {stated[key]!r}" for key in understood)
        raise RecordError(source, f"space groups {sorted(numbers)} are stated at once ({shown})")
    # The spelling that says most; a number alone says nothing of the setting.
    settings = min(understood.values(), key=len)
    agreeing = [setting for setting in settings if _agrees(setting, data, source)]
    if not agreeing:
        raise RecordError(source, f"the cell does not have the symmetry of the stated space group {settings[0].name}")
    return agreeing


def _agrees(setting: Setting, data: Mapping[str, Any], source: str) -> bool:
    """Whether every rotation of the setting keeps lengths and angles of the cell."""
    from pymatgen.core import Lattice
    from pymatgen.io.cif import str2float

    keys = [
        *(f"_cell_length_{axis}" for axis in "abc"),
        *(f"_cell_angle_{axis}" for axis in ("alpha", "beta", "gamma")),
    ]
    try:
        matrix = Lattice.from_parameters(*(str2float(data[key]) for key in keys)).matrix
    except (KeyError, ValueError, TypeError) as error:
        raise RecordError(source, f"the cell is not readable ({_reason(error)})") from error
    metric = matrix @ matrix.T
    rotations = rotations_of(setting)
    rotated = np.einsum("nji,jk,nkl->nil", rotations, metric, rotations)
    return bool(np.abs(rotated - metric).max() <= _METRIC * np.abs(metric).max())


def _parsed(data: Mapping[str, Any], block: Any, source: str) -> Structure:
    """The structure of a block whose symmetry operations are stated, checked against its formula."""
    from pymatgen.io.cif import CifBlock, CifParser

    loops = [*block.loops, *([key] for key in data if key not in block.data and isinstance(data[key], list))]
    text = str(CifBlock(dict(data), loops, block.header))
    try:
        with judged_warnings(source) as messages:
            parser = CifParser.from_str(text, check_cif=False)
            (structure,) = parser.parse_structures(primitive=False, on_error="raise")
            messages += getattr(parser, "warnings", [])
    except RecordError:
        raise
    except Exception as error:  # the parser raises many types
        reason = _reason(error)
        if "exceeded tolerance" in reason:
            reason += " Is a site listed twice, or does an occupancy exceed 1?"
        raise RecordError(source, f"pymatgen cannot read it ({reason})") from error
    _check_formula(data, structure, source)
    return structure


def _check_formula(data: Mapping[str, Any], structure: Structure, source: str) -> None:
    """Compare with what the block states of its composition: formula, and how many formula units a cell has."""
    from pymatgen.core import Composition

    stated = data.get("_chemical_formula_sum")
    if not isinstance(stated, str) or stated.strip() in _ABSENT:
        return
    try:
        expected = Composition(stated.strip("'\" "))
    except ValueError:
        return  # names and words, not a formula
    check_composition(expected, structure.composition, source)
    units = data.get("_cell_formula_units_Z")
    if isinstance(units, str) and units.isdecimal():
        atoms = int(units) * expected.num_atoms
        found = structure.composition.num_atoms
        # pymatgen writes the formula of the whole cell, and its number of formula units beside it.
        if all(abs(count - found) > max(0.5, _SAME_SHARE * count) for count in (atoms, expected.num_atoms)):
            raise RecordError(
                source,
                f"{units} formula units of {stated.strip()} are stated, {atoms:g} atoms, but {found:g} were read",
            )


def check_composition(expected: Composition, found: Composition, source: str) -> None:
    """Raise RecordError unless two compositions hold the same elements in the same proportions."""
    one, other = (
        {str(element.symbol): composition[element] / composition.num_atoms for element in composition}
        for composition in (expected, found)
    )
    if any(abs(one.get(key, 0.0) - other.get(key, 0.0)) > _SAME_SHARE for key in {*one, *other}):
        raise RecordError(
            source, f"the formula {expected.formula} is stated, but {found.formula} was read; are atoms missing?"
        )


def _alike(found: Mapping[str, Structure]) -> bool:
    """Whether all structures are the same crystal."""
    first, *others = found.values()
    return all(first.matches(other, scale=False, primitive_cell=False) for other in others)


def _reason(error: BaseException) -> str:
    """The last line that says something: pymatgen puts the cause behind the number of the section."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
