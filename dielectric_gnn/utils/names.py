"""Validation of names and seeds from users: names become parts of file names, seeds go to random generators."""

from __future__ import annotations

import re

from dielectric_gnn.utils.errors import InputError

LARGEST_SEED = 2**32 - 1
"""The maximum of NumPy's legacy generator, which Lightning seeds."""

_MAX_NAME_BYTES = 64
"""Names of runs join several names, and a file name has at most 255 bytes."""

_NAME_PATTERN = re.compile(r"\w[\w .+=,()-]*")


def check_name(where: str, name: str | None, empty: bool = False) -> None:
    """Check a name of a study, model or head, which becomes part of the names of folders and records.

    Args:
        where: Key or option that gives the name, for the message.
        name: The name.
        empty: Whether an empty name is allowed.

    Raises:
        InputError: The name is empty, does not begin with a letter, digit or underscore, is too long, or contains
            characters that are special to file systems, terminals or shells.
    """
    if empty and not name:
        return
    name = name or ""
    matches = _NAME_PATTERN.fullmatch(name) and ".." not in name and name == name.strip()
    if not matches or len(name.encode()) > _MAX_NAME_BYTES:
        raise InputError(
            f"{where} is {name!r}, expected a name of letters, digits and . _ + = - , ( ) or spaces, beginning "
            f"with a letter, a digit or _, without two dots in a row and of at most {_MAX_NAME_BYTES} bytes"
        )


def check_seed(where: str, seed: int | bool | None) -> None:
    """Check a seed; true (any seed) and false (no seed), which Lightning accepts, are valid.

    Raises:
        InputError: The seed is negative or too large.
    """
    if isinstance(seed, int) and not isinstance(seed, bool) and not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"{where} is {seed}, expected a whole number from 0 to {LARGEST_SEED}")
