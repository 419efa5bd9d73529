"""What a study's YAML file may say, and reading it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.names import check_name, check_seed
from dielectric_gnn.utils.text import on_one_line
from dielectric_gnn.utils.yaml_files import read_yaml

T = TypeVar("T")


@dataclass(frozen=True)
class LearningRate:
    """How the learning rate of a model follows from its size: lr = value · (reference_parameters / N)^exponent.

    Args:
        value: Peak rate; None keeps that of the overlays.
        reference_parameters: Trainable parameters of the model that the rate was tuned for; None: no scaling.
        exponent: γ.
    """

    value: float | None = None
    reference_parameters: int | None = None
    exponent: float = 1.0


@dataclass(frozen=True)
class Choice:
    """A backbone, or a head, that the grid names.

    Args:
        configs: Overlays of `dielectric-gnn fit`.
        options: Its options, by dotted key.
        learning_rate: Of models alone.
    """

    configs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: LearningRate = LearningRate()


@dataclass(frozen=True)
class Block:
    """A part of the grid: every combination of its lists is a run.

    Args:
        models: Names under `models`.
        sizes: D, training materials; None means all.
        seeds: Of initial weights and the order of batches.
        widths: Of the backbone; None keeps that of the overlays.
        heads: Names under `heads`; None keeps the head of the overlays.
        options: Options of these runs.
    """

    models: tuple[str, ...]
    sizes: tuple[int | None, ...]
    seeds: tuple[int, ...]
    widths: tuple[int | None, ...] = (None,)
    heads: tuple[str | None, ...] = (None,)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Data:
    """The store that all runs share.

    Args:
        store: Its folder.
        build: What `dielectric-gnn prepare` builds it from where it is absent: `synthetic:4000`, a folder.
        build_options: Further options of that command.
    """

    store: str
    build: str | None = None
    build_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """A study.

    Args:
        name: Short; run records state it.
        models: Backbones by name.
        grid: The runs.
        heads: Heads by name.
        configs: Overlays of every run.
        options: Options of every run, by dotted key.
        trainer: Overlay that says where it runs; for `fit` and `test`.
        data: The store; None leaves the data to overlays and options.
        out: Folder of the runs.
    """

    name: str
    models: Mapping[str, Choice]
    grid: tuple[Block, ...]
    heads: Mapping[str, Choice] = field(default_factory=dict)
    configs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    trainer: str | None = None
    data: Data | None = None
    out: str | None = None

    @property
    def folder(self) -> Path:
        """Folder of the runs."""
        return Path(self.out or f"runs/{self.name}").expanduser()


def read_study(path: Path) -> Study:
    """Read a study's YAML file.

    Raises:
        InputError: It cannot be read, has a key that a study does not have, lacks one, or a value of the wrong type.
    """
    top = _checked(Study, read_yaml(path), str(path))
    check_name(f"{path}: name", top["name"])
    check_folder(f"{path}: out", top.get("out"))
    top["models"] = {key: _choice(value, f"{path}, models.{key}") for key, value in _mapping(top, "models", path)}
    top["heads"] = {key: _choice(value, f"{path}, heads.{key}") for key, value in _mapping(top, "heads", path)}
    blocks = top["grid"] if isinstance(top["grid"], list) else [top["grid"]]
    top["grid"] = tuple(_block(block, f"{path}, grid[{place}]") for place, block in enumerate(blocks))
    if top.get("data") is not None:
        top["data"] = _build(Data, top["data"], f"{path}, data", {"build_options": str})
    _convert(top, str(path), {"configs": str})
    return Study(**top)


def _choice(plain: Any, where: str) -> Choice:
    values = _checked(Choice, plain or {}, where)
    if "learning_rate" in values:
        values["learning_rate"] = _rate(values["learning_rate"], f"{where}.learning_rate")
    _convert(values, where, {"configs": str})
    return Choice(**values)


def _rate(plain: Any, where: str) -> LearningRate:
    values = _checked(LearningRate, plain, where)
    for key, value in values.items():
        # YAML reads 1e-3 as text, 1.0e-3 as a number.
        try:
            number = None if value is None else float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if number is not None and not (number >= 0 if key == "exponent" else number > 0):
            raise InputError(f"{where}.{key} is {value!r}, expected a positive number")
        values[key] = int(number) if key == "reference_parameters" and number is not None else number
    return LearningRate(**values)


def _block(plain: Any, where: str) -> Block:
    kinds = {"models": str, "sizes": int, "seeds": int, "widths": int, "heads": str}
    block = _build(Block, plain, where, kinds)
    for key in kinds:
        if not getattr(block, key):
            raise InputError(f"{where}: {key} is empty, so there are no runs; give at least one")
    for key in ("sizes", "widths"):
        if wrong := [value for value in getattr(block, key) if value is not None and value < 1]:
            raise InputError(f"{where}: {key} has {wrong[0]}, expected numbers of at least 1")
    for seed in block.seeds:
        check_seed(f"{where}: a seed", seed)
    return block


def check_folder(where: str, folder: str | None) -> None:
    """Raise InputError if the name of a folder is empty or has characters that cannot be shown."""
    if folder is not None and (not folder.strip() or folder.strip() != on_one_line(folder)):
        raise InputError(f"{where} is {folder!r}, expected the name of a folder, without control characters")


def _build(cls: type[T], plain: Any, where: str, lists: Mapping[str, type]) -> T:
    values = _checked(cls, plain, where)
    _convert(values, where, lists)
    return cls(**values)


def _checked(cls: type[Any], plain: Any, where: str) -> dict[str, Any]:
    """The mapping, if its keys are those of the class."""
    known = [spec.name for spec in fields(cls)]
    if not isinstance(plain, Mapping):
        raise InputError(f"{where}: expected keys ({', '.join(known)}), got {plain!r}")
    if unknown := [str(key) for key in plain if key not in known]:
        raise InputError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(known)}")
    needed = [spec.name for spec in fields(cls) if spec.default is MISSING and spec.default_factory is MISSING]
    if absent := [key for key in needed if key not in plain]:
        raise InputError(f"{where}: {absent[0]} is missing")
    for key in ("name", "out", "trainer", "store", "build"):
        if key in plain and not isinstance(plain[key], str | None):
            raise InputError(f"{where}: {key} is {plain[key]!r}, expected text")
    if not isinstance(plain.get("options") or {}, Mapping):
        raise InputError(f"{where}: options is {plain['options']!r}, expected keys and values, such as a.b: 1")
    return {key: {} if key == "options" and value is None else value for key, value in plain.items()}


def _mapping(values: Mapping[str, Any], key: str, path: Path) -> Sequence[tuple[str, Any]]:
    given = values.get(key) or {}
    if not isinstance(given, Mapping) or (key == "models" and not given):
        raise InputError(f"{path}: {key} is {given!r}, expected names with configs and options of each")
    for name in given:
        check_name(f"{path}: a name under {key}", str(name))
    return [(str(name), value) for name, value in given.items()]


def _convert(values: dict[str, Any], where: str, lists: Mapping[str, type]) -> None:
    """Lists become tuples, single values lists of one; every member must be of its type."""
    for key, kind in lists.items():
        if key not in values:
            continue
        members = values[key] if isinstance(values[key], list) else [values[key]]
        for member in members:
            empty = member is None and key in ("sizes", "widths", "heads")
            if not empty and (not isinstance(member, kind) or isinstance(member, bool)):
                raise InputError(
                    f"{where}: {key} has {member!r}, expected {'text' if kind is str else 'whole numbers'}"
                )
        values[key] = tuple(members)
