"""Lines of JSON with a checksum each, for files that grow: damaged lines are detected."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

_ROW, _CHECKSUM = "row", "crc32"


def sealed_line(row: Mapping[str, Any]) -> str:
    """Return a line, with its line break, of plain values by name and the CRC-32 of their text.

    Example:
        >>> print(sealed_line({"id": "fcc-Ag"}), end="")
        {"row": {"id": "fcc-Ag"}, "crc32": "84cca30c"}
    """
    text = json.dumps(dict(row))
    return f'{{"{_ROW}": {text}, "{_CHECKSUM}": "{_checksum(text)}"}}\n'


def parse_sealed_line(line: str | bytes) -> dict[str, Any] | None:
    """Return the values of a line; None if it is truncated, damaged, or was not written by `sealed_line`."""
    try:
        sealed = json.loads(line)
        row, stated = sealed[_ROW], sealed[_CHECKSUM]
        sound = isinstance(row, dict) and stated == _checksum(json.dumps(row))
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return None
    return row if sound else None


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
