"""YAML files of users: plain data, and one-line errors."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.limits import YAML_DEPTH, YAML_MB, YAML_VALUES, TooLargeError, read_bounded

_NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_MAX_NUMBER_CHARACTERS = 1000
"""The time of PyYAML grows with the square of the length of numbers to the base 60."""


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that rejects duplicate keys in a mapping, of which PyYAML silently keeps the last."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        self.depth += 1
        if self.depth > YAML_DEPTH:  # time grows with the square of the depth, then Python's recursion limit is reached
            raise _TooManyValuesError(f"nested more than {YAML_DEPTH} levels deep")
        node: yaml.Node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[Hashable, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                both = f"lines {lines[key.value]} and {line}"
                raise _DuplicateKeyError(f"the key {key.value!r} is given twice, in {both}")
            lines[key.value] = line
        return node


class _DuplicateKeyError(yaml.YAMLError):
    """A mapping contains a key more than once."""


class _TooManyValuesError(yaml.YAMLError):
    """Aliases expand to too many values, a value contains itself, or values are nested too deeply."""


def read_yaml(path: Path) -> Any:
    """Read a YAML file as plain types.

    Raises:
        InputError: The file cannot be read, is not UTF-8, is not YAML, is too large, has aliases that expand to too
            many values, or contains a key twice in a mapping.
    """
    try:
        with path.open("rb") as file:
            text = read_bounded(file, YAML_MB).decode("utf-8-sig")
    except TooLargeError as error:
        raise InputError(f"{path}: {error} of YAML; is it the right file?") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save the file with that encoding"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return _load(text)
    except _DuplicateKeyError as error:
        raise InputError(f"{path}: {error}; keep one, or merge their values") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {_one_line(error)}") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply") from error
    except (ValueError, TypeError, AttributeError, OverflowError, KeyError, IndexError) as error:
        # PyYAML fails on values that look like dates or numbers but are not, such as 2020-13-45.
        raise InputError(
            f"{path}: a value is no valid date or number ({_one_line(error)}); put it in quotes"
        ) from error


def _load(text: str) -> Any:
    loader = _UniqueKeyLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if (num := _num_values(node)) > YAML_VALUES:
            raise _TooManyValuesError(f"with its aliases it has {num} values, expected at most {YAML_VALUES}")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _num_values(root: yaml.Node) -> int:
    """Return the number of values of a document; aliases count every time they are used."""
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node), 0)
        if known is None:
            raise _TooManyValuesError(f"the value in line {node.start_mark.line + 1} contains itself")
        if node.tag in _NUMBER_TAGS and len(node.value) > _MAX_NUMBER_CHARACTERS:
            raise _TooManyValuesError(f"the number in line {node.start_mark.line + 1} has {len(node.value)} characters")
        if not known:
            sizes[id(node)] = None
            parts = node.value if isinstance(node, yaml.CollectionNode) else []
            known = 1 + sum(sum(map(size, part)) if isinstance(part, tuple) else size(part) for part in parts)
            sizes[id(node)] = known
        return known

    return size(root)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
