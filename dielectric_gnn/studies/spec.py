"""Specification of a study, and how it is read from a YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.names import check_name, check_seed
from dielectric_gnn.utils.text import on_one_line
from dielectric_gnn.utils.yaml_files import read_yaml

T = TypeVar("T")
SubsetSeed: TypeAlias = Literal["shared", "seed"]


@dataclass(frozen=True)
class LearningRate:
    """Learning rate of a model with N parameters: lr = value · (reference_parameters / N)^exponent.

    Args:
        value: Peak learning rate; None keeps that of the overlays.
        reference_parameters: Trainable parameters of the model for which the rate was tuned; None switches scaling off.
        exponent: Exponent γ.
    """

    value: float | None = None
    reference_parameters: int | None = None
    exponent: float = 1.0


@dataclass(frozen=True)
class Choice:
    """A backbone or a head of the grid.

    Args:
        configs: Overlays of `dielectric-gnn fit`.
        options: Options of `dielectric-gnn fit` by dotted key.
        learning_rate: Learning rate; for models only.
    """

    configs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    learning_rate: LearningRate = LearningRate()


@dataclass(frozen=True)
class Block:
    """A part of the grid: every combination of its lists is a run.

    Args:
        models: Names under `models`.
        sizes: Numbers D of training materials; None means all.
        seeds: Seeds of initial weights and the order of batches.
        widths: Widths of the backbone; None keeps that of the overlays.
        heads: Names under `heads`; None keeps the head of the overlays.
        options: Options of these runs.
        subset_seed: `shared`: all seeds of a size have the same training materials, as in the published study; `seed`:
            each seed draws its own, so that the scatter between runs contains that between training sets.
    """

    models: tuple[str, ...]
    sizes: tuple[int | None, ...]
    seeds: tuple[int, ...]
    widths: tuple[int | None, ...] = (None,)
    heads: tuple[str | None, ...] = (None,)
    options: Mapping[str, Any] = field(default_factory=dict)
    subset_seed: SubsetSeed = "shared"


@dataclass(frozen=True)
class Data:
    """The store that all runs share.

    Args:
        store: Folder of the store.
        build: Source from which `dielectric-gnn prepare build` builds the store if it does not exist, such as
            `synthetic:4000` or a folder.
        build_options: Further options of that command.
    """

    store: str
    build: str | None = None
    build_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """A study.

    Args:
        name: Short name, which run records state.
        models: Backbones by name.
        grid: Blocks of runs.
        heads: Heads by name.
        configs: Overlays of every run.
        options: Options of every run by dotted key.
        trainer: Overlay with the settings of the trainer, for `fit` and `test`.
        data: The store; None takes the data of overlays and options.
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
        InputError: The file cannot be read, a key is unknown or missing, or a value is of the wrong type.
    """
    top = _check_keys(Study, read_yaml(path), str(path))
    check_name(f"{path}: name", top["name"])
    check_folder(f"{path}: out", top.get("out"))
    top["models"] = {key: _choice(value, f"{path}, models.{key}") for key, value in _mapping(top, "models", path)}
    top["heads"] = {key: _choice(value, f"{path}, heads.{key}") for key, value in _mapping(top, "heads", path)}
    blocks = top["grid"] if isinstance(top["grid"], list) else [top["grid"]]
    top["grid"] = tuple(_block(block, f"{path}, grid[{place}]") for place, block in enumerate(blocks))
    if top.get("data") is not None:
        top["data"] = _build(Data, top["data"], f"{path}, data", {"build_options": str})
    _convert_lists(top, str(path), {"configs": str})
    return Study(**top)


def _choice(plain: Any, where: str) -> Choice:
    values = _check_keys(Choice, plain or {}, where)
    if "learning_rate" in values:
        values["learning_rate"] = _learning_rate(values["learning_rate"], f"{where}.learning_rate")
    _convert_lists(values, where, {"configs": str})
    return Choice(**values)


def _learning_rate(plain: Any, where: str) -> LearningRate:
    values = _check_keys(LearningRate, plain, where)
    for key, value in values.items():
        # YAML reads 1e-3 as text, but 1.0e-3 as a number.
        try:
            number = None if value is None else float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if number is not None and not (number >= 0 if key == "exponent" else number > 0):
            raise InputError(f"{where}.{key} is {value!r}, expected a positive number")
        values[key] = int(number) if key == "reference_parameters" and number is not None else number
    return LearningRate(**values)


def _block(plain: Any, where: str) -> Block:
    types = {"models": str, "sizes": int, "seeds": int, "widths": int, "heads": str}
    block = _build(Block, plain, where, types)
    for key in types:
        if not getattr(block, key):
            raise InputError(f"{where}: {key} is empty, so there are no runs; give at least one")
    for key in ("sizes", "widths"):
        if wrong := [value for value in getattr(block, key) if value is not None and value < 1]:
            raise InputError(f"{where}: {key} has {wrong[0]}, expected numbers of at least 1")
    if block.subset_seed not in get_args(SubsetSeed):
        raise InputError(f"{where}: subset_seed is {block.subset_seed!r}, expected {' or '.join(get_args(SubsetSeed))}")
    for seed in block.seeds:
        check_seed(f"{where}: a seed", seed)
    return block


def check_folder(where: str, folder: str | None) -> None:
    """Check the name of a folder.

    Raises:
        InputError: It is empty or has control characters.
    """
    if folder is not None and (not folder.strip() or folder.strip() != on_one_line(folder)):
        raise InputError(f"{where} is {folder!r}, expected the name of a folder, without control characters")


def _build(cls: type[T], plain: Any, where: str, lists: Mapping[str, type]) -> T:
    values = _check_keys(cls, plain, where)
    _convert_lists(values, where, lists)
    return cls(**values)


def _check_keys(cls: type[Any], plain: Any, where: str) -> dict[str, Any]:
    """Check the keys of a mapping against the fields of a class; returns the mapping."""
    known = [spec.name for spec in fields(cls)]
    if not isinstance(plain, Mapping):
        raise InputError(f"{where}: expected keys ({', '.join(known)}), got {plain!r}")
    if unknown := [str(key) for key in plain if key not in known]:
        raise InputError(f"{where}: unknown key {unknown[0]!r}; known are {', '.join(known)}")
    required = [spec.name for spec in fields(cls) if spec.default is MISSING and spec.default_factory is MISSING]
    if absent := [key for key in required if key not in plain]:
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


def _convert_lists(values: dict[str, Any], where: str, lists: Mapping[str, type]) -> None:
    """Convert lists to tuples, and single values to tuples of one; every member must be of its type."""
    for key, kind in lists.items():
        if key not in values:
            continue
        members = values[key] if isinstance(values[key], list) else [values[key]]
        for member in members:
            is_null = member is None and key in ("sizes", "widths", "heads")
            if not is_null and (not isinstance(member, kind) or isinstance(member, bool)):
                raise InputError(
                    f"{where}: {key} has {member!r}, expected {'text' if kind is str else 'whole numbers'}"
                )
        values[key] = tuple(members)
