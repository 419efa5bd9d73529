"""Space groups as written in files: Hermann-Mauguin symbols (short, full, old, new), Hall symbols, numbers.

The 530 settings and their symmetry operations are those of spglib.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

NUM_SETTINGS = 530

_OLD_CUBIC = re.compile(r"^([pfi](?:[mnadbc]|4_?\d?/?[mn]?|2/?[mnad]?)?)3([mdcn]?)$")


_ICSD_CHOICES = {"s": "1", "z": "2"}
"""Letters that ICSD uses for the two origin choices."""

_NAMES_BEFORE_1992 = {
    191: "A b m 2, B m a 2, B 2 c m, C 2 m b, C m 2 a, A c 2 m",
    203: "A b a 2, B b a 2, B 2 c b, C 2 c b, C c 2 a, A c 2 a",
    304: "C m c a, C c m b, A b m a, A c a m, B b c m, B m a b",
    316: "C m m a, C m m b, A b m m, A c m m, B m c m, B m a m",
    322: "C c c a, C c c a, C c c b, C c c b, A b a a, A b a a, A c a a, A c a a, B b c b, B b c b, B b a b, B b a b",
}
"""Symbols used before 1992, when double glide planes were named e; by the Hall number of the first setting."""


class Setting(NamedTuple):
    """A space group in one choice of axes and origin.

    Args:
        hall_number: 1 to 530, in spglib's order.
        number: 1 to 230.
        choice: Choice of origin (`1`, `2`), of hexagonal or rhombohedral axes (`H`, `R`), or of the unique axis; empty
            if there is only one.
        name: For messages.
    """

    hall_number: int
    number: int
    choice: str
    name: str

    @property
    def label(self) -> str:
        """Name and choice, such as `F d -3 m :2`."""
        name = self.name.split("=")[-1].strip()
        return f"{name} :{self.choice}" if self.choice in ("1", "2", "H", "R") else name


def find_settings(spelling: str, hall: bool = False) -> list[Setting]:
    """The settings that a symbol or number may denote, the standard one first; empty if it is not recognised.

    Args:
        spelling: Symbol or number, as in a file.
        hall: Try a Hall symbol first: a few denote other groups as Hermann-Mauguin symbols.

    Example:
        >>> [one.choice for one in find_settings("R -3 m H")], [one.choice for one in find_settings("F d -3 m")]
        (['H'], ['1', '2'])
        >>> find_settings("F m 3 m") == find_settings("F 4/m -3 2/m") == find_settings("225")
        True
    """
    readings = list(_readings(spelling))
    for key, choice in reversed(readings) if hall else readings:
        found = _table().get(key, [])
        if choice:
            found = [one for one in found if choice in (one.choice.lower(), one.choice[:1].lower())]
        if found:
            return found
    return []


def symmetry_operations(setting: Setting) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rotations (n, 3, 3) and translations (n, 3) of a setting in fractional coordinates, with centrings."""
    found = _database(setting)
    return np.asarray(found["rotations"], dtype=np.int64), np.asarray(found["translations"], dtype=np.float64) % 1.0


def find_group_number(rotations: NDArray[np.int64], translations: NDArray[np.float64]) -> int | None:
    """Number of the space group, 1 to 230, of operations in any setting; None if spglib does not find it.

    Args:
        rotations: (n, 3, 3).
        translations: (n, 3).
    """
    import spglib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = spglib.get_spacegroup_type_from_symmetry(rotations.astype(np.int32), translations)
    return None if found is None else int(found.number)


def _database(setting: Setting) -> Mapping[str, Any]:
    import spglib

    found = _without_deprecation_warning(spglib.get_symmetry_from_database, setting.hall_number)
    if found is None:
        raise ValueError(f"spglib has no setting {setting.hall_number}")
    return found


def _without_deprecation_warning(function: Callable[[int], T], hall_number: int) -> T:
    with warnings.catch_warnings():
        # spglib announces that failure will be an exception; until then it is None.
        warnings.simplefilter("ignore", DeprecationWarning)
        return function(hall_number)


def _readings(spelling: str) -> Iterator[tuple[str, str]]:
    """Keys of the table with a choice of setting, the most likely first."""
    text = spelling.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
    # The choice follows a colon, or is a last word of its own: R -3 m :H, F d -3 m (origin 2), R -3 m H, F d -3 m Z.
    if match := re.search(r"\s*(?::\s*|\(\s*(?:origin\s*(?:choice)?\s*)?|\s)([12hrsz])\s*\)?$", text, re.IGNORECASE):
        for key in _keys(text[: match.start()]):
            yield key, _ICSD_CHOICES.get(match[1].lower(), match[1].lower())
    for key in _keys(text):
        yield key, ""
    for key in _keys(text[:-1]):
        if text[-1:].lower() in tuple("hrsz"):
            yield key, _ICSD_CHOICES.get(text[-1].lower(), text[-1].lower())
    yield _hall_key(text), ""


def _keys(name: str) -> Iterator[str]:
    """The normalised symbol, and the present one of a cubic group: Fm3m, used before 1983, is Fm-3m."""
    key = _key(name)
    yield key
    if match := _OLD_CUBIC.match(key):
        yield f"{match[1]}-3{match[2]}"


def _key(name: str) -> str:
    """A symbol in lower case, without blanks, underscores and brackets of screw axes."""
    return re.sub(r"[\s_()]", "", name).lower()


def _hall_key(name: str) -> str:
    words = name if " " in name else name.replace("_", " ")
    return "hall " + " ".join(words.replace("=", '"').lower().split())


@cache
def _table() -> dict[str, list[Setting]]:
    """Settings by the normalised form of each of their symbols."""
    import spglib

    table: dict[str, list[Setting]] = {}
    first: dict[int, Setting] = {}
    before = {
        start + place: name for start, text in _NAMES_BEFORE_1992.items() for place, name in enumerate(text.split(", "))
    }
    for hall_number in range(1, NUM_SETTINGS + 1):
        kind = _without_deprecation_warning(spglib.get_spacegroup_type, hall_number)
        if kind is None:
            raise ValueError(f"spglib has no setting {hall_number}")
        setting = Setting(hall_number, kind.number, kind.choice, kind.international)
        first.setdefault(kind.number, setting)
        group, *own = kind.international.split("=")
        names = {_key(name) for name in own} | {_hall_key(kind.hall_symbol)}
        names |= {_key("".join(word for word in name.split() if word != "1")) for name in own}
        if not own or first[kind.number] == setting:  # other settings are given the name of the standard one, too
            names |= {_key(name) for name in (group, kind.international_short, kind.international_full)}
        if hall_number in before:
            names.add(_key(before[hall_number]))
        if first[kind.number] == setting or kind.choice in ("1", "2", "H", "R"):
            names.add(str(kind.number))
        for name in names:
            table.setdefault(name, []).append(setting)
    return {name: _of_one_group(found, first) for name, found in table.items()}


def _of_one_group(found: list[Setting], first: dict[int, Setting]) -> list[Setting]:
    """The settings that a shared symbol denotes, for example of different unique axes; the standard one first.

    Two origins, and hexagonal or rhombohedral axes, share all symbols, and are all returned. So are settings of
    different axes, among which the cell decides.
    """
    choices = [one for one in found if one.choice in ("1", "2", "H", "R")]
    return choices or sorted(found, key=lambda one: one != first[one.number])
