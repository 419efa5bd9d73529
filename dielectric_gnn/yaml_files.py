"""YAML files that people write: plain data, and one line that says what is wrong with a file."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from dielectric_gnn.errors import InputError


class _UniqueKeys(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice in one mapping, of which it would keep the last in silence."""

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


def read_yaml(path: Path) -> Any:
    """The content of a YAML file, in plain types.

    Raises:
        InputError: It cannot be read, is not in UTF-8, is not YAML, or gives a key twice in one mapping, in which case
            only the last would count.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save the file with that encoding"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return yaml.load(text, Loader=_UniqueKeys)  # noqa: S506: derived from SafeLoader
    except _DuplicateKeyError as error:
        raise InputError(f"{path}: {error}; keep one, or join what is under them") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply") from error
