"""Warnings of pymatgen's parsers: a file is refused for any warning that is not listed as harmless."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from dielectric_gnn.utils.errors import RecordError

HARMLESS = (
    r"No Pauling electronegativity for",  # of noble gases, by which formulas are ordered
    r"The structure contains mixed elements and species",
)
"""Beginnings of harmless messages, as regular expressions."""


def reason_to_refuse(messages: Iterable[str]) -> str | None:
    """The first message that is not listed as harmless, in one line; None if there is none."""
    for message in messages:
        if not any(re.match(pattern, message) for pattern in HARMLESS):
            return " ".join(message.split())
    return None


@contextmanager
def refuse_on_warnings(source: str) -> Iterator[list[str]]:
    """Context that collects warnings, and at its end refuses the file for one that is not harmless.

    Args:
        source: Name of the file.

    Yields:
        A list to which further messages can be appended.

    Raises:
        RecordError: A warning is not listed as harmless.
    """
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield messages
    messages += [str(warning.message) for warning in caught]
    if reason := reason_to_refuse(messages):
        raise RecordError(source, f"the parser warns: {reason}")
