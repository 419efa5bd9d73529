"""JSON files, plain or compressed, read as plain data: no class that a file names is ever imported."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from io import BytesIO
from pathlib import Path
from typing import Any

from dielectric_gnn.data.sources.archives import JsonDocument
from dielectric_gnn.data.sources.compression import DECOMPRESSION_ERRORS, OPENERS, compression_suffix
from dielectric_gnn.utils.errors import RecordError, first_line
from dielectric_gnn.utils.limits import MATERIAL_MB, TooLargeError, read_bounded

JSON_SUFFIXES = tuple(f".json{ending}" for ending in OPENERS)
"""Endings of the names of JSON files, in any case."""

_DAMAGE_ERRORS = (*DECOMPRESSION_ERRORS, ValueError, RecursionError)

_OBJECT = re.compile(rb'"([^"\\]+)"(\s*:\s*)(\{[^{}]*+\})')
"""A key and an object without nested braces; quotes in strings are escaped, so no string matches."""

_ARRAY = re.compile(rb'"@module"\s*:\s*"numpy"')
"""Content of encoded arrays among such objects; searched separately, so that the time is linear in the text."""

_MIN_SKIPPED_BYTES = 4096
"""Arrays of fewer bytes are cheaper to parse than to remove."""


def json_suffix(name: str) -> str | None:
    """The ending of the name of a JSON file, as it is spelt; None for other files."""
    return next((name[-len(suffix) :] for suffix in JSON_SUFFIXES if name.lower().endswith(suffix)), None)


def load_any(path: Path) -> Any:
    """Read one JSON value, of any type, from a file; raises RecordError if it cannot be read."""
    return _load(JsonDocument(str(path), path), None, MATERIAL_MB)


def load_document(
    document: JsonDocument, tables: Collection[str] | None = None, max_mb: float = MATERIAL_MB
) -> dict[str, Any]:
    """Read one JSON object.

    Args:
        document: A file, or a member of an archive.
        tables: Names of the large arrays to read; others become empty. None reads all.
        max_mb: Largest text (MB) after decompression; no more is read into memory.

    Raises:
        RecordError: It cannot be read, is too large, or is not a JSON object.
    """
    entry = _load(document, tables, max_mb)
    if not isinstance(entry, dict):
        raise RecordError(document[0], f"expected a JSON object, got a {type(entry).__name__}")
    return entry


def _load(document: JsonDocument, tables: Collection[str] | None, max_mb: float) -> Any:
    source, content, problem = document
    if problem:
        raise RecordError(source, problem)
    suffix = json_suffix(source)
    if suffix is None:
        raise RecordError(source, f"expected a name ending in {', '.join(JSON_SUFFIXES)}")
    try:
        raw = content.open("rb") if isinstance(content, Path) else BytesIO(content)
        with raw, OPENERS[compression_suffix(suffix)](raw) as file:
            text = read_bounded(file, max_mb)
        return json.loads(text if tables is None else without_tables(text, tables))
    except TooLargeError as error:
        raise RecordError(source, f"{error} of JSON; a source reads more if its max_mb is set higher") from error
    except _DAMAGE_ERRORS as error:
        raise RecordError(source, f"not readable JSON, truncated? ({first_line(error)})") from error


def without_tables(text: bytes, wanted: Collection[str]) -> bytes:
    """JSON text in which large encoded arrays under other keys are replaced by empty objects, to avoid parsing them."""

    def kept(match: re.Match[bytes]) -> bytes:
        small = len(match[3]) < _MIN_SKIPPED_BYTES
        if small or match[1].decode("utf-8", "replace") in wanted or not _ARRAY.search(match[3]):
            return match[0]
        return b'"%b"%b{}' % match.group(1, 2)

    return _OBJECT.sub(kept, text)
