"""Text from data as it may be shown: names, messages and metadata of files never steer a terminal."""

from __future__ import annotations

import re
from pathlib import Path

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except line break and tab, marks that turn the direction of text, and halves of characters."""


def printable(text: str) -> str:
    r"""Text that can be written as UTF-8 and shown in a terminal: other characters are spelled out.

    Line breaks and tabs stay. Escape sequences, which could colour, overwrite or hide what a terminal shows, become
    visible text, as do bytes of a file's name that are no UTF-8.

    Example:
        >>> printable("Ag\x1b[2J")
        'Ag\\x1b[2J'
    """
    return _STEERING.sub(lambda found: _spelled(ord(found[0])), text)


def on_one_line(text: str) -> str:
    """`printable` text with single spaces instead of line breaks and tabs."""
    return " ".join(printable(text).split())


def path_text(path: Path, member: str = "") -> str:
    r"""A path, or `ARCHIVE:MEMBER`, as one printable line for messages.

    Example:
        >>> path_text(Path("entries.zip"), "a\nb.json")
        'entries.zip:a b.json'
    """
    return on_one_line(f"{path}:{member}" if member else str(path))


def _spelled(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
