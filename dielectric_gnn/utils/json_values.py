"""Numbers in JSON, which has no NaN and no infinity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any


def finite_or_none(value: float) -> float | None:
    """Return the number, or None, which JSON writes as null, where it is NaN or infinite."""
    return float(value) if math.isfinite(value) else None


def json_value(value: Any, keep_infinities: bool = False) -> Any:
    """Return nested mappings, lists and tuples as dicts and lists whose numbers are finite.

    Args:
        value: Mappings, iterables, texts and numbers, nested.
        keep_infinities: Write infinite numbers as the texts `inf` and `-inf` instead of null.

    Example:
        >>> json_value({"loss": float("nan"), "range": (1.0, float("inf"))}, keep_infinities=True)
        {'loss': None, 'range': [1.0, 'inf']}
    """
    if isinstance(value, float):
        return str(float(value)) if keep_infinities and math.isinf(value) else finite_or_none(value)
    if isinstance(value, Mapping):
        return {str(key): json_value(item, keep_infinities) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [json_value(item, keep_infinities) for item in value]
    return value
