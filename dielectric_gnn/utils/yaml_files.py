"""YAML files that people write: plain data, and one line that says what is wrong with a file."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.limits import YAML_DEPTH, YAML_MB, YAML_VALUES, TooLargeError, read_bounded

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_LONGEST_NUMBER = 1000
"""Characters. PyYAML takes the square of the length in time, of numbers to the base 60."""


class _UniqueKeys(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice in one mapping, of which it would keep the last in silence."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        self.depth += 1
        if self.depth > YAML_DEPTH:  # PyYAML takes the square of the depth in time, and then Python gives up
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
    """A mapping has a key more than once."""


class _TooManyValuesError(yaml.YAMLError):
    """Aliases make few lines stand for very many values, a value holds itself, or values are nested too deeply."""


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, in plain types.

    Raises:
        InputError: It cannot be read, is not in UTF-8, is not YAML, is too large, has aliases that stand for too many
            values, or gives a key twice in one mapping, in which case only the last would count.
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
        return _loaded(text)
    except _DuplicateKeyError as error:
        raise InputError(f"{path}: {error}; keep one, or join what is under them") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {_one_line(error)}") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply") from error
    except (ValueError, TypeError, AttributeError, OverflowError, KeyError, IndexError) as error:
        # What PyYAML makes of values that look like dates or numbers and are none, such as 2020-13-45.
        raise InputError(f"{path}: a value is not what it looks like ({_one_line(error)}); put it in quotes") from error


def _loaded(text: str) -> Any:
    loader = _UniqueKeys(text)
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
    """How many values a document has, those behind an alias counted every time."""
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node), 0)
        if known is None:
            raise _TooManyValuesError(f"the value in line {node.start_mark.line + 1} holds itself")
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
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
