"""XML without declarations of entities, through which small files become large or read other files."""

from __future__ import annotations

import re
from pathlib import Path

from dielectric_gnn.data.sources.text_files import read_text
from dielectric_gnn.utils.errors import RecordError
from dielectric_gnn.utils.ids import short_literal

_ENCODING = re.compile(r"<\?xml[^>]*encoding\s*=\s*[\"']([^\"']*)[\"']")
_PLAIN = ("utf-8", "iso-8859-1", "us-ascii", "ascii", "latin-1")


def check_plain_xml(path: Path, max_mb: float) -> str:
    """The text of an XML file.

    Raises:
        RecordError: It is too large or cannot be read, declares a document type or entities, or is in an encoding in
            which such declarations could hide.
    """
    text = read_text(path, max_mb)
    encoding = _ENCODING.match(text.lstrip())
    if encoding is not None and encoding[1].lower() not in _PLAIN:
        raise RecordError(
            str(path), f"its encoding is {short_literal(encoding[1])}, expected one of {', '.join(_PLAIN)}"
        )
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise RecordError(str(path), "it declares a document type or entities, which no first-principles code writes")
    return text
