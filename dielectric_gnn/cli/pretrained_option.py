"""The option `--pretrained NAME`: an ensemble that is shipped with the package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from dielectric_gnn import pretrained

OPTION = "--pretrained"
_RUN_DIR = "--run_dir"
Words = TypeVar("Words")


def with_pretrained(words: Words) -> Words | list[str]:
    """A command line with the option replaced by `--ensemble` and its checkpoints.

    Results go to `runs/NAME`, unless `--run_dir` is given: the folder of the model belongs to the package.

    Args:
        words: Arguments of a command line; other objects, given in Python, are returned unchanged.

    Raises:
        InputError: There is no such model.
    """
    if not isinstance(words, Sequence) or isinstance(words, str):
        return words
    changed: list[str] = []
    name: str | None = None
    given = [str(word) for word in words]
    for previous, word in zip(["", *given], given, strict=False):
        option, sign, value = word.partition("=")
        if previous == OPTION or (option == OPTION and sign):
            name = word if previous == OPTION else value
            changed += ["--ensemble", *map(str, pretrained.checkpoints(name))]
        elif word != OPTION:
            changed.append(word)
    if name is not None and not any(word.partition("=")[0] == _RUN_DIR for word in given):
        changed += [_RUN_DIR, str(Path("runs") / name)]
    return changed
