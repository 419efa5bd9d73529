"""Validation of file content by schemas: an error is one line with the file, the key and the problem."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.text import printable

T = TypeVar("T")

_MAX_SHOWN_CHARACTERS = 60
"""Length of a key or value in a message."""

_MAX_DEPTH = 20
"""Metadata of this package are not nested more deeply; a thousand levels would exhaust the stack of a reader."""


def check_schema(name: str, content: Any, schema: type[T], cure: str) -> None:
    """Check the content of a file, read as plain types, against a schema.

    Args:
        name: Name of the file, for the message.
        content: The content.
        schema: A TypedDict or dataclass.
        cure: What the user can do, for the message.

    Raises:
        InputError: The content does not match; the message names the first key that differs.
    """
    try:
        _adapter(schema).validate_python(content, strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        raise InputError(f"{name}: {_first_error(error)}; {cure}") from error


def read_schema(name: str, text: str | bytes, schema: type[T], cure: str) -> T:
    """Read metadata from JSON, as an instance of its schema.

    Args:
        name: Name of the file, for the message.
        text: Its content.
        schema: A TypedDict or dataclass.
        cure: What the user can do, for the message.

    Raises:
        InputError: The text is not JSON, or does not match; the message names the first key that differs.
    """
    try:
        found: T = _adapter(schema).validate_json(text, strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        raise InputError(f"{name}: {_first_error(error)}; {cure}") from error
    return found


def validated_plain_data(value: Any) -> Any:
    """Return the value if it consists of numbers, texts, lists and mappings from texts, at most `_MAX_DEPTH` deep.

    Raises:
        ValueError: It does not; pydantic uses this as a validator.
    """
    level = [value]
    for _ in range(_MAX_DEPTH):
        if not level:
            return value
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                if not all(isinstance(key, str) for key in item):
                    raise ValueError("has keys that are no texts")
                deeper += item.values()
            elif isinstance(item, list | tuple):
                deeper += item
            elif not (item is None or isinstance(item, str | int | float)):
                raise ValueError(f"holds a {type(item).__name__}, expected numbers, texts, lists and mappings")
        level = deeper
    raise ValueError(f"is nested more than {_MAX_DEPTH} deep")


@cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    return TypeAdapter(schema)


def _first_error(error: ValidationError) -> str:
    found = error.errors(include_url=False)[0]
    place = ".".join(printable(str(part))[:_MAX_SHOWN_CHARACTERS] for part in found["loc"])
    reason = found["msg"].removeprefix("Value error, ")
    if found["type"] in ("missing", "unexpected_keyword_argument"):
        return f"{place}: {reason}"
    return f"{place} is {printable(repr(found['input']))[:_MAX_SHOWN_CHARACTERS]}: {reason}" if place else reason
