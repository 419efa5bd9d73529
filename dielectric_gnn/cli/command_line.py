"""Preparation of command lines before and after jsonargparse parses them: files are checked, and `~` is expanded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_info

import dielectric_gnn
from dielectric_gnn.utils.yaml_files import read_yaml

Words = TypeVar("Words")

CONFIGS = Path(dielectric_gnn.__file__).parent / "configs"
"""The configurations that are installed with the package."""

CONFIG_OPTIONS = ("--config", "-c")
_HOME = re.compile(r"~(/|$)")


def checked_words(words: Words) -> Words | list[str]:
    """Check that configuration files are readable, and expand `~` in arguments.

    jsonargparse itself uses the last of two equal keys silently, and fails on other encodings with a traceback.

    Args:
        words: Arguments of a command line; other objects, given in Python, are returned unchanged.

    Raises:
        InputError: A configuration file cannot be used; see `read_yaml`.
    """
    if not isinstance(words, Sequence):
        return words
    checked = [_with_home_in_word(str(word)) for word in words]
    checked = [_with_shipped_file(*pair) for pair in zip(["", *checked], checked, strict=False)]
    for previous, word in zip(["", *checked], checked, strict=False):
        text = config_value(previous, word)
        # Every file that an option names may hold part of the configuration, such as --model.backbone goten.yaml.
        if text is None and word.endswith((".yaml", ".yml")):
            text = word
        if text is not None and is_path(text):
            read_yaml(Path(text))
    return checked


def config_value(previous: str, word: str) -> str | None:
    """The value of `--config` that a word holds, given the word before it; None if it holds none."""
    option, sign, value = word.partition("=")
    if option in CONFIG_OPTIONS and sign:
        return value
    return word if previous in CONFIG_OPTIONS else None


def is_path(text: str) -> bool:
    """Whether the value of `--config` is a file or folder; it may also be the configuration itself."""
    return "\n" not in text and not text.lstrip().startswith("{") and Path(text).exists()


def _with_shipped_file(previous: str, word: str) -> str:
    """Replace a --config file that does not exist by the configuration of that name installed with the package."""
    text = config_value(previous, word)
    if text is None or not text.endswith((".yaml", ".yml")) or Path(text).exists():
        return word
    shipped = CONFIGS / text.removeprefix("configs/")
    if not shipped.is_file() or not shipped.resolve().is_relative_to(CONFIGS.resolve()):
        return word
    rank_zero_info(f"{text}: read from {shipped}")
    return word.removesuffix(text) + str(shipped)


def _with_home_in_word(word: str) -> str:
    """Expand `~/a` and `--option=~/a`; shells do not expand the second."""
    option, sign, value = word.partition("=")
    if option.startswith("--") and sign and _HOME.match(value):
        return f"{option}={Path(value).expanduser()}"
    return str(Path(word).expanduser()) if _HOME.match(word) else word


def with_home(value: Any) -> Any:
    """A parsed configuration with `~/` expanded in every string."""
    if isinstance(value, str):
        return str(Path(value).expanduser()) if _HOME.match(value) else value
    if isinstance(value, Namespace):
        for key in list(vars(value)):
            value[key] = with_home(vars(value)[key])
        return value
    if isinstance(value, dict):
        return {key: with_home(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_home(item) for item in value]
    return value
