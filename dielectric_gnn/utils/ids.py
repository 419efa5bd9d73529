"""What the id of a material may be: the one rule for every source, checked where a material is read.

Ids become lines of lists, cells of tables, beginnings of file names, titles of figures and entries of NumPy arrays,
which drop zero characters at the end of a text.
"""

from __future__ import annotations

import unicodedata

MAX_ID_BYTES = 512
"""In UTF-8. File systems allow 255 for a name; ids may add folders or data blocks. A store holds all at one width."""

_REFUSED = {
    "Cc": "a control character",
    "Cs": "which UTF-8 cannot encode",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
"""By the category of Unicode."""

_SHOWN = 40


def id_problem(value: object, field: str = "material id") -> str | None:
    r"""What makes a value unusable as the id of a material, in one line of printable ASCII; None if it can be used.

    An id is a text that is not empty, neither begins nor ends with a blank, has at most `MAX_ID_BYTES` bytes in UTF-8,
    and holds no control characters (newline, carriage return and NUL among them) and no unpaired surrogates.

    Args:
        value: What a file or a program gives as the id.
        field: What the file calls it, for the message.

    Example:
        >>> id_problem("fcc-Ag")
        >>> id_problem("two\nlines")
        "the material id 'two\\nlines' holds U+000A (a control character); rename it"
    """
    if not isinstance(value, str):
        return f"the {field} is {shown(value)}, of type {type(value).__name__}, expected a name as text"
    if not value.strip():
        return f"the {field} is {shown(value)}, expected a name"
    length = len(value.encode(errors="surrogatepass"))
    if length > MAX_ID_BYTES:
        return f"the {field} {shown(value)} has {length} bytes, expected at most {MAX_ID_BYTES}; rename it"
    for letter in value:
        reason = _REFUSED.get(unicodedata.category(letter))
        if reason:
            return f"the {field} {shown(value)} holds U+{ord(letter):04X} ({reason}); rename it"
    if value != value.strip():
        return f"the {field} {shown(value)} begins or ends with a blank; rename it"
    return None


def shown(value: object) -> str:
    """A value as a short Python literal of printable ASCII, for messages."""
    text = ascii(value[:_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}..."
