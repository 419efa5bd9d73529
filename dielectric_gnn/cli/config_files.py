"""The order of `--config` files: files that can be combined give the same settings in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dielectric_gnn.cli.command_line import CONFIGS, config_value, is_path
from dielectric_gnn.utils.yaml_files import read_yaml

_RECIPE, _PART, _REFINEMENT = range(3)


def in_reading_order(words: Sequence[str]) -> list[str]:
    """Words of a command whose `--config` files are in the order in which they are read.

    The complete recipes of the package (`base.yaml`, `quickstart.yaml`, `published/`) come first. Then come files that
    choose parts, and last those that refine a part without naming its class, such as `width/32.yaml`. Files of one kind
    keep the order in which they are given.
    """
    texts = _files_by_place(words)
    ordered = list(words)
    for (place, text), file in zip(texts.items(), sorted(texts.values(), key=_rank), strict=True):
        ordered[place] = words[place].removesuffix(text) + file
    return ordered


def config_files(words: Sequence[str]) -> list[Path]:
    """The files that `--config` names, in the order of the words."""
    return list(map(Path, _files_by_place(words).values()))


def _files_by_place(words: Sequence[str]) -> dict[int, str]:
    """The files that `--config` names, by the places of the words that hold them."""
    values = {place: config_value(*pair) for place, pair in enumerate(zip(["", *words], words, strict=False))}
    return {
        place: text for place, text in values.items() if text is not None and is_path(text) and Path(text).is_file()
    }


def _rank(text: str) -> int:
    file = Path(text).resolve()
    recipes = CONFIGS.resolve()
    if file.parent in (recipes, recipes / "published"):
        return _RECIPE
    return _REFINEMENT if _refines(read_yaml(file)) else _PART


def _refines(settings: Any) -> bool:
    """Whether there are `init_args` without the `class_path` that they belong to."""
    if not isinstance(settings, Mapping):
        return False
    return ("init_args" in settings and "class_path" not in settings) or any(map(_refines, settings.values()))
