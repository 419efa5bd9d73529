"""Warnings of the parsers of pymatgen: a file is refused for any that is not known to be harmless."""

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
"""Beginnings of messages, as regular expressions."""


def reason_to_refuse(messages: Iterable[str]) -> str | None:
    """The first message that is not known to be harmless, on one line; None if all are."""
    for message in messages:
        if not any(re.match(pattern, message) for pattern in HARMLESS):
            return " ".join(message.split())
    return None


@contextmanager
def refuse_on_warnings(source: str) -> Iterator[list[str]]:
    """Within it, warnings are collected; at its end, the file is refused for one that is not harmless.

    Args:
        source: The file.

    Yields:
        Further messages can be appended.

    Raises:
        RecordError: A warning is not known to be harmless.
    """
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield messages
    messages += [str(warning.message) for warning in caught]
    if reason := reason_to_refuse(messages):
        raise RecordError(source, f"the parser warns: {reason}")
