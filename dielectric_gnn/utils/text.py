"""Text from files made safe for a terminal: names, messages and metadata contain no control sequences."""

from __future__ import annotations

import re
from pathlib import Path

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except line break and tab, marks of writing direction, and unpaired surrogates."""


def printable(text: str) -> str:
    r"""Return text that UTF-8 can encode and a terminal can show: other characters are escaped.

    Line breaks and tabs are kept. Escape sequences, which could colour, overwrite or hide terminal output, become
    visible text, as do bytes of a file name that are not UTF-8.

    Example:
        >>> printable("Ag\x1b[2J")
        'Ag\\x1b[2J'
    """
    return _UNSAFE.sub(lambda found: _escape(ord(found[0])), text)


def on_one_line(text: str) -> str:
    """Return `printable` text with single spaces instead of line breaks and tabs."""
    return " ".join(printable(text).split())


def path_text(path: Path, member: str = "") -> str:
    r"""Return a path, or `ARCHIVE:MEMBER`, as one printable line for messages.

    Example:
        >>> path_text(Path("entries.zip"), "a\nb.json")
        'entries.zip:a b.json'
    """
    return on_one_line(f"{path}:{member}" if member else str(path))


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
