"""Validation of material ids: the same rule for every source, applied when a material is read.

Ids become lines of lists, cells of tables, beginnings of file names, titles of figures and entries of NumPy arrays,
which drop NUL characters at the end of a text.
"""

from __future__ import annotations

import unicodedata

MAX_ID_BYTES = 512
"""In UTF-8. File systems allow 255 for a name; ids may include folders or data blocks."""

_FORBIDDEN_CATEGORIES = {
    "Cc": "a control character",
    "Cs": "which UTF-8 cannot encode",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
"""Forbidden characters by Unicode category."""

_MAX_SHOWN_CHARACTERS = 40


def id_problem(value: object, field: str = "material id") -> str | None:
    r"""Return why a value cannot be the id of a material, as one line of printable ASCII; None if it can.

    An id is a text that is not empty, neither begins nor ends with white space, has at most `MAX_ID_BYTES` bytes in
    UTF-8, and contains no control characters (such as newline, carriage return and NUL) and no unpaired surrogates.

    Args:
        value: The id as given by a file or a program.
        field: Its name in the file, for the message.

    Example:
        >>> id_problem("fcc-Ag")
        >>> id_problem("two\nlines")
        "the material id 'two\\nlines' holds U+000A (a control character); rename it"
    """
    if not isinstance(value, str):
        return f"the {field} is {short_literal(value)}, of type {type(value).__name__}, expected a name as text"
    if not value.strip():
        return f"the {field} is {short_literal(value)}, expected a name"
    length = len(value.encode(errors="surrogatepass"))
    if length > MAX_ID_BYTES:
        return f"the {field} {short_literal(value)} has {length} bytes, expected at most {MAX_ID_BYTES}; rename it"
    for letter in value:
        reason = _FORBIDDEN_CATEGORIES.get(unicodedata.category(letter))
        if reason:
            return f"the {field} {short_literal(value)} holds U+{ord(letter):04X} ({reason}); rename it"
    if value != value.strip():
        return f"the {field} {short_literal(value)} begins or ends with a blank; rename it"
    return None


def short_literal(value: object) -> str:
    """Return a value as a short Python literal of printable ASCII, for messages."""
    text = ascii(value[:_MAX_SHOWN_CHARACTERS] if isinstance(value, str) else value)
    return text if len(text) <= 2 * _MAX_SHOWN_CHARACTERS else f"{text[: 2 * _MAX_SHOWN_CHARACTERS]}..."
