"""Settings that data and model share: given once, they hold for both; given twice, they must agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import Namespace

from dielectric_gnn.cli.config_files import config_files
from dielectric_gnn.data.store.metadata import METADATA, read_metadata
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.yaml_files import read_yaml

_DATA, _MODEL = "data", "model.backbone"
_GRID = ("start", "stop", "num")


class Given(NamedTuple):
    """A setting that the user gave."""

    value: Any
    place: str
    """The file, or the command line."""


def link_settings(config: Namespace, words: Sequence[str]) -> None:
    """Complete the parsed configuration of a training, in place: cutoff, `tensors` and the energy grid of a store.

    - `data.cutoff` and the cutoff of the backbone: one of them is enough. Without either, a store determines both.
    - `data.tensors: true` sets `tensors` of the backbone.
    - `data.grid`, the grid of a source or that of a store determine `model.grid`.

    Args:
        config: Of the verb `fit`.
        words: Of its command line.

    Raises:
        InputError: Two settings contradict each other; the message states both values and where each was given.
    """
    given = dict(given_settings(words))
    _check_equal(given, "cutoff")
    tensors = [given.get(f"{group}.tensors") for group in (_DATA, _MODEL)]
    if tensors[0] is not None and tensors[1] is not None and tensors[0].value is True and tensors[1].value is False:
        raise InputError(_conflict("tensors", tensors[0], tensors[1]))
    options = getattr(config.model.backbone, "init_args", None) or Namespace()  # type: ignore[no-untyped-call]
    metadata = _metadata_of(config.data.store)
    if "cutoff" in options:
        if f"{_DATA}.cutoff" in given:
            options.cutoff = config.data.cutoff
        elif f"{_MODEL}.cutoff" in given or metadata is None:
            config.data.cutoff = options.cutoff
        else:
            config.data.cutoff = options.cutoff = metadata.cutoff
    if "tensors" in options and config.data.tensors and f"{_MODEL}.tensors" not in given:
        options.tensors = True
    _link_grid(config, given)
    follows_store = config.data.grid is None and not _has_grid(given)
    if metadata is not None and metadata.spectra_dtype is not None and follows_store:
        config.model.grid = Namespace(**dict(zip(_GRID, metadata.grid, strict=True)))  # type: ignore[no-untyped-call]


def _link_grid(config: Namespace, given: Mapping[str, Given]) -> None:
    """The grid of data or source, if one is given, is that of the model."""
    source = getattr(config.data.source, "init_args", None) or Namespace()  # type: ignore[no-untyped-call]
    for key, grid in (("data.grid", config.data.grid), ("data.source.grid", source.get("grid"))):
        if grid is None:
            continue
        if _has_grid(given) and config.model.grid is not None and _values(config.model.grid) != _values(grid):
            raise InputError(
                f"{key} is {EnergyGrid(*_values(grid))}, but model.grid is {EnergyGrid(*_values(config.model.grid))}; "
                f"give {key} alone, which then holds for both"
            )
        config.model.grid = Namespace(**vars(grid))  # type: ignore[no-untyped-call]


def _values(grid: Namespace) -> tuple[float, float, int]:
    start, stop, num = (grid[name] for name in _GRID)
    return start, stop, num


def given_settings(words: Sequence[str]) -> Iterator[tuple[str, Given]]:
    """Settings by dotted key without `init_args`, in the order in which jsonargparse applies them."""
    for file in config_files(words):
        yield from _flat(read_yaml(file), "", str(file))
    for word, following in zip(words, [*words[1:], ""], strict=True):
        option, sign, value = word.partition("=")
        if not option.startswith(("--data", "--model")):
            continue
        text = value if sign else following
        if text.endswith((".yaml", ".yml")) and Path(text).is_file():
            yield from _flat(read_yaml(Path(text)), option[2:], text)
        else:
            yield _key(option[2:]), Given(_plain(text), "command line")


def _flat(settings: Any, prefix: str, place: str) -> Iterator[tuple[str, Given]]:
    if not isinstance(settings, Mapping):
        yield _key(prefix), Given(settings, place)
        return
    for key, value in settings.items():
        yield from _flat(value, f"{prefix}.{key}" if prefix else str(key), place)


def _key(path: str) -> str:
    return ".".join(part for part in path.split(".") if part != "init_args")


def _plain(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _check_equal(given: Mapping[str, Given], name: str) -> None:
    data, model = given.get(f"{_DATA}.{name}"), given.get(f"{_MODEL}.{name}")
    if data is not None and model is not None and data.value != model.value:
        raise InputError(_conflict(name, data, model))


def _conflict(name: str, data: Given, model: Given) -> str:
    return (
        f"{_DATA}.{name} is {data.value} ({data.place}), but {_MODEL}.{name} is {model.value} ({model.place}); "
        "give one of them, which then holds for both"
    )


def _has_grid(given: Mapping[str, Given]) -> bool:
    return any(key == "model.grid" or key.startswith("model.grid.") for key in given)


def _metadata_of(store: str | None) -> Any:
    """What a store states of itself; None without a store, or where it cannot be opened, which is reported later."""
    return read_metadata(Path(store)) if store is not None and (Path(store) / METADATA).is_file() else None
