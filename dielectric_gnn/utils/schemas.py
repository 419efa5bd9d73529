"""Schemas of what is read from files, checked in one place: one line names the file, the key and what is wrong."""

from __future__ import annotations

from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.text import printable

T = TypeVar("T")

_SHOWN = 60
"""Letters of a key or value in a message."""

_DEPTH = 20
"""No metadata of ours are nested more deeply; a thousand levels would exhaust the stack of what reads them."""


def check_schema(name: str, content: Any, schema: type[T], cure: str) -> None:
    """Check that content of a file, read as plain types, is of a schema.

    Args:
        name: Of the file, for the message.
        content: What was read.
        schema: A TypedDict or dataclass.
        cure: What the user can do, for the message.

    Raises:
        InputError: It is not; the message names the first key where it differs.
    """
    try:
        _adapter(schema).validate_python(content, strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        raise InputError(f"{name}: {_first(error)}; {cure}") from error


def read_schema(name: str, text: str | bytes, schema: type[T], cure: str) -> T:
    """Metadata from JSON, as an instance of its schema.

    Args:
        name: Of the file, for the message.
        text: Its content.
        schema: A TypedDict or dataclass.
        cure: What the user can do, for the message.

    Raises:
        InputError: It is no JSON, or of another schema; the message names the first key where it differs.
    """
    try:
        found: T = _adapter(schema).validate_json(text, strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        raise InputError(f"{name}: {_first(error)}; {cure}") from error
    return found


def plain(value: Any) -> Any:
    """The same value, if it consists of numbers, texts, lists and mappings from texts, nested as deeply as ours are.

    Raises:
        ValueError: It does not. Schemas use this as a validator.
    """
    level = [value]
    for _ in range(_DEPTH):
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
    raise ValueError(f"is nested more than {_DEPTH} deep")


@cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    return TypeAdapter(schema)


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False)[0]
    place = ".".join(printable(str(part))[:_SHOWN] for part in found["loc"])
    reason = found["msg"].removeprefix("Value error, ")
    if found["type"] in ("missing", "unexpected_keyword_argument"):
        return f"{place}: {reason}"
    return f"{place} is {printable(repr(found['input']))[:_SHOWN]}: {reason}" if place else reason
