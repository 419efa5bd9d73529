"""The symmetry operations of a CIF block: those that it lists, or those of the space group that it states.

All statements must be recognised and consistent; a block is treated as P 1 only if it states nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.sources.cif_text import ABSENT, CifBlock
from dielectric_gnn.data.sources.space_groups import (
    Setting,
    find_group_number,
    find_settings,
    symmetry_operations,
)

Floats = NDArray[np.float64]

_LISTED = ("_symmetry_equiv_pos_as_xyz", "_space_group_symop_operation_xyz")
_MAGNETIC, _CENTRINGS = "_space_group_symop_magn_operation_xyz", "_space_group_symop_magn_centering_xyz"
_NAMES = tuple(
    f"_{beginning}space_group_name_h-m{end}" for beginning in ("", "symmetry_") for end in ("", "_alt", "_ref", "_full")
)
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")
_SYSTEMS = ("_symmetry_cell_setting", "_space_group_crystal_system")
_ABOUT_SYMMETRY = re.compile(r"_(symmetry|space_group|spacegroup).*|.*int_tables.*")

_METRIC_TOLERANCE = 0.01
"""Largest relative change of lengths and cosines of a cell under its symmetry operations."""

_TERM = re.compile(r"([+-]?)(?:([xyz])|(\d+/\d+|\d*\.\d+|\d+\.?))")
_COMMON_DENOMINATOR = 24
"""Denominator of the translations of all settings; 0.333 is read as 1/3."""

_ROUNDING_TOLERANCE = 1e-3

_MAX_OPERATIONS = 1000
"""Largest number of operations; conventional cells have up to 192, supercells with centrings more."""


@dataclass(frozen=True)
class Operations:
    """Symmetry operations in fractional coordinates, x → rotation x + translation.

    Shapes:
        rotations: (n, 3, 3) integers. translations: (n, 3), from 0 to below 1.
    """

    rotations: NDArray[np.int64]
    translations: Floats


def candidate_operations(block: CifBlock, lattice: Floats) -> dict[str, Operations]:
    """The possible sets of symmetry operations of a block, by the name of the setting; usually one.

    There are several if the space group has two origins, or settings that the cell does not distinguish, and the block
    does not state which.

    Args:
        block: Of a CIF file.
        lattice: Its lattice vectors as rows (3, 3).

    Raises:
        ValueError: The space group is not recognised, stated inconsistently, or not that of the cell; or the listed
            operations do not form a group.
    """
    listed = _listed_operations(block)
    if listed is None:
        if any(tag.startswith(("_space_group_magn", "_space_group_ssg")) for tag in block.values):
            raise ValueError("a magnetic or modulated space group is stated without its symmetry operations; list them")
        settings = _stated_settings(block)
        misfit = {one: _misfit(symmetry_operations(one)[0], lattice) for one in settings}
        least = min(misfit.values())
        if least > _METRIC_TOLERANCE:
            raise ValueError(f"the cell does not have the symmetry of the stated space group {settings[0].name}")
        # Settings with the axes of the cell: a monoclinic cell of 90.2 degrees has one unique axis.
        fitting = [one for one in settings if misfit[one] <= least + _METRIC_TOLERANCE / 100]
        return {one.label: Operations(*symmetry_operations(one)) for one in fitting}
    if _misfit(listed.rotations, lattice) > _METRIC_TOLERANCE:
        raise ValueError("the cell does not have the symmetry of the listed symmetry operations")
    if _MAGNETIC not in block:  # names are those of the group without magnetism
        _compare(listed, block)
    return {"": listed}


def _misfit(rotations: NDArray[np.int64], lattice: Floats) -> float:
    """Largest change of a scalar product of two lattice vectors, as a share of their lengths."""
    metric = lattice @ lattice.T
    lengths = np.sqrt(np.diag(metric))
    rotated = np.einsum("nji,jk,nkl->nil", rotations, metric, rotations)
    return float((np.abs(rotated - metric) / np.outer(lengths, lengths)).max())


def _stated_settings(block: CifBlock) -> list[Setting]:
    """The settings that are consistent with all statements of a block."""
    halls, names, numbers = ({tag: block.value(tag) for tag in tags} for tags in (_HALL, _NAMES, _NUMBERS))
    stated = {tag: text for tag, text in (halls | names | numbers).items() if text is not None}
    if not stated:
        return _of_nothing_stated(block)
    shown = ", ".join(f"{tag} {text!r}" for tag, text in stated.items())
    found = {tag: find_settings(text, hall=tag in _HALL) for tag, text in stated.items()}
    # A Hall symbol is the most specific, then a Hermann-Mauguin symbol, then a number.
    deciding = next(tags for tags in (_HALL, _NAMES, _NUMBERS) if any(tag in stated for tag in tags))
    if not all(found[tag] for tag in deciding if tag in stated) or not any(found.values()):
        raise ValueError(
            f"the space group is stated but not recognised ({shown}); write the symmetry operations into the file"
        )
    common = next(found[tag] for tag in deciding if tag in stated)
    for tag, settings in found.items():
        if settings and tag in _NUMBERS:
            common = [one for one in common if one.number == settings[0].number]
        elif settings:
            common = [one for one in common if one in settings]
    if not common:
        raise ValueError(f"the statements of the space group contradict each other ({shown}); correct or remove one")
    return common


def _of_nothing_stated(block: CifBlock) -> list[Setting]:
    """P 1, unless a tag of the block indicates another space group."""
    for tag, values in block.values.items():
        given = [value for value in values if value not in ABSENT]
        if tag in _SYSTEMS and [value.lower() for value in given] in ([], ["triclinic"]):
            continue
        if _ABOUT_SYMMETRY.fullmatch(tag) and (given or "?" in values):
            raise ValueError(
                f"{tag} {(given or ['?'])[0]!r} does not state a space group that is recognised; write its name or the "
                "symmetry operations into the file"
            )
    return find_settings("P 1")


def _compare(listed: Operations, block: CifBlock) -> None:
    """Raise ValueError if the listed operations are not those of the stated space group, for example incomplete."""
    number = find_group_number(listed.rotations, listed.translations)
    for tag in (*_HALL, *_NAMES, *_NUMBERS):
        text = block.value(tag)
        stated = {one.number for one in find_settings(text, hall=tag in _HALL)} if text is not None else set()
        if stated and number not in stated:
            raise ValueError(
                f"{len(listed.rotations)} symmetry operations are listed, those of space group {number}, but {tag} is "
                f"{text!r}; correct one of them"
            )


def _listed_operations(block: CifBlock) -> Operations | None:
    """The operations that the block lists, which must form a group; None if it lists none."""
    texts = next((found for tag in (_MAGNETIC, *_LISTED) if (found := _given(block, tag))), None)
    if texts is None:
        return None
    centrings = _given(block, _CENTRINGS)
    if len(texts) * max(len(centrings), 1) > _MAX_OPERATIONS:
        raise ValueError(f"it lists {len(texts)} symmetry operations, expected at most {_MAX_OPERATIONS}")
    pairs = [_operation(text) for text in texts]
    if centrings:
        shifts = [_operation(text)[1] for text in centrings]
        pairs = [(rotation, translation + shift) for rotation, translation in pairs for shift in shifts]
    rotations = np.array([rotation for rotation, _ in pairs])
    translations = np.array([translation for _, translation in pairs]) % 1.0
    codes = np.unique(_codes(rotations, translations), axis=0, return_index=True)[1]
    rotations, translations = rotations[codes], translations[codes]
    known = set(map(tuple, _codes(rotations, translations).tolist()))
    for rotation, translation in zip(rotations, translations, strict=True):
        products = _codes(rotation @ rotations, (translations @ rotation.T + translation) % 1.0)
        if not known.issuperset(map(tuple, products.tolist())):
            raise ValueError(
                f"the {len(texts)} symmetry operations do not form a group: some are missing or wrong; write all of "
                "them, with centrings, into the file"
            )
    return Operations(rotations, translations)


def _given(block: CifBlock, tag: str) -> list[str]:
    return [text for text in block.column(tag) if text not in ABSENT]


def _codes(rotations: NDArray[np.int64], translations: Floats) -> NDArray[np.int64]:
    """Integers (n, 12) that are equal for equal operations."""
    parts = np.rint(translations * 1000).astype(np.int64) % 1000
    return np.concatenate([rotations.reshape(len(rotations), 9), parts], axis=1)


def _operation(text: str) -> tuple[NDArray[np.int64], Floats]:
    """Rotation (3, 3) and translation (3,) of `x, -y+1/2, z`; a fourth part, time reversal, is ignored."""
    parts = text.lower().replace(" ", "").split(",")
    if len(parts) == 4 and parts[3] in ("+1", "1", "-1"):
        parts.pop()
    rows = [_row(part) for part in parts]
    if len(rows) != 3 or any(row is None for row in rows):
        raise ValueError(f"{text[:60]!r} is not a symmetry operation, expected for example 'x, -y+1/2, z'")
    numbers = np.array(rows, dtype=np.float64)
    rotation = np.rint(numbers[:, :3]).astype(np.int64)
    if abs(round(float(np.linalg.det(rotation)))) != 1:
        raise ValueError(f"{text[:60]!r} is not a symmetry operation: it does not preserve volumes")
    return rotation, numbers[:, 3]


def _row(part: str) -> list[float] | None:
    """Coefficients of x, y, z and the translation of one coordinate; None if it cannot be parsed."""
    row, end = [0.0] * 4, 0
    for match in _TERM.finditer(part):
        sign, axis, value = match.groups()
        if match.start() != end or (end > 0 and not sign):
            return None
        end = match.end()
        factor = -1.0 if sign == "-" else 1.0
        if axis:
            row["xyz".index(axis)] += factor
        else:
            above, _, below = value.partition("/")
            if float(below or 1) == 0:
                return None
            row[3] += factor * float(above) / float(below or 1)
    nearest = round(row[3] * _COMMON_DENOMINATOR) / _COMMON_DENOMINATOR
    row[3] = nearest if abs(nearest - row[3]) < _ROUNDING_TOLERANCE else row[3]
    return row if end == len(part) > 0 else None
