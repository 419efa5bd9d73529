"""Names and seeds that users give: what may become part of a file's name, and what every generator takes."""

from __future__ import annotations

import re

from dielectric_gnn.utils.errors import InputError

LARGEST_SEED = 2**32 - 1
"""NumPy's legacy generator, which Lightning seeds, takes no larger one."""

_LONGEST_NAME = 64
"""Bytes: names of runs join several, and a file's name has at most 255."""

_NAME = re.compile(r"\w[\w .+=,()-]*")


def check_name(where: str, name: str, empty: bool = False) -> None:
    """Check a name that folders and records get: of a study, or of a model or head in it.

    Args:
        where: What it names, for the message.
        name: The name.
        empty: Whether it may be empty.

    Raises:
        InputError: It is empty, begins with no letter, digit or underscore, is too long, or has characters that lead
            into another folder, steer a terminal, or mean something to a shell.
    """
    if empty and not name:
        return
    if not _NAME.fullmatch(name) or ".." in name or name != name.strip() or len(name.encode()) > _LONGEST_NAME:
        raise InputError(
            f"{where} is {name!r}, expected a name of letters, digits and . _ + = - , ( ) or spaces, beginning "
            f"with a letter, a digit or _, without two dots in a row and of at most {_LONGEST_NAME} bytes"
        )


def check_seed(where: str, seed: int | bool | None) -> None:
    """Check a seed; true and false, which Lightning takes for "any" and "none", pass.

    Raises:
        InputError: It is negative or too large.
    """
    if isinstance(seed, int) and not isinstance(seed, bool) and not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"{where} is {seed}, expected a whole number from 0 to {LARGEST_SEED}")
