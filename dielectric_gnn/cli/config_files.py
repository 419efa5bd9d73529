"""The order of `--config` files: files that can be combined give the same settings in any order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dielectric_gnn.cli.command_line import CONFIG_OPTIONS, CONFIGS
from dielectric_gnn.utils.yaml_files import read_yaml

_RECIPE, _PART, _REFINEMENT = range(3)


def in_reading_order(words: Sequence[str]) -> list[str]:
    """Words of a command whose `--config` files are in the order in which they are read.

    The complete recipes of the package (`base.yaml`, `quickstart.yaml`, `published/`) come first. Then come files that
    choose parts, and last those that refine a part without naming its class, such as `width/32.yaml`. Files of one kind
    keep the order in which they are given.
    """
    places = [place for place in range(len(words)) if _file_of(words, place) is not None]
    files = sorted((words[place] for place in places), key=_rank)
    ordered = list(words)
    for place, word in zip(places, (_value(word) for word in files), strict=True):
        option, sign, _ = words[place].partition("=")
        ordered[place] = f"{option}={word}" if sign and option in CONFIG_OPTIONS else word
    return ordered


def config_files(words: Sequence[str]) -> list[Path]:
    """The files that `--config` names, in the order of the words."""
    return [file for place in range(len(words)) if (file := _file_of(words, place)) is not None]


def _file_of(words: Sequence[str], place: int) -> Path | None:
    """The file that the word at `place` names for `--config`; None where it names none."""
    option, sign, _ = words[place].partition("=")
    named = bool(sign) and option in CONFIG_OPTIONS
    if not named and not (place and words[place - 1] in CONFIG_OPTIONS):
        return None
    text = _value(words[place])
    if "\n" in text or text.lstrip().startswith("{") or not Path(text).is_file():
        return None
    return Path(text)


def _value(word: str) -> str:
    option, sign, value = word.partition("=")
    return value if sign and option in CONFIG_OPTIONS else word


def _rank(word: str) -> int:
    file = Path(_value(word)).resolve()
    recipes = CONFIGS.resolve()
    if file.parent in (recipes, recipes / "published"):
        return _RECIPE
    return _REFINEMENT if _refines(read_yaml(file)) else _PART


def _refines(settings: Any) -> bool:
    """Whether there are `init_args` without the `class_path` that they belong to."""
    if not isinstance(settings, Mapping):
        return False
    return ("init_args" in settings and "class_path" not in settings) or any(map(_refines, settings.values()))
