"""Validation of the configuration stored in a checkpoint, before anything is imported or built from it.

A checkpoint may come from an untrusted source, while jsonargparse, which builds models from configurations, trusts its
input: it imports the objects that class paths refer to, calls functions where callables are expected, and opens files.
Therefore a stored configuration is first validated against the signatures of the classes it describes. A class path is
accepted only where a class is expected, and only for a class of the expected type that is defined in this package, in
torch.optim, or in a module that the user has named. Strings are accepted only where strings are expected. Paths among
the settings of the data are used only if the user gives them as well.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import shlex
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.utils.errors import InputError

GROUPS: dict[str, type] = {"model": DielectricModule, "data": CrystalDataModule}
"""Parts of a stored configuration from which objects are built."""

_PACKAGES = ("dielectric_gnn", "torch.optim")
_PLAIN = (str, int, float, complex, bytes, Enum, os.PathLike)
_DEPTH = 20
_REPLACED = ("source", "store", "crystals", "train_ids", "train_size", "split_ids")
"""Settings that are replaced entirely by those of the user."""


def check_stored(name: str, config: Mapping[str, Any], named: Iterable[str] = ()) -> None:
    """Check a stored configuration, so that building from it instantiates expected classes only.

    Args:
        name: Of the checkpoint, for messages.
        config: Of its section.
        named: Class paths from outside this package that the user named: classes of their modules may be used too.

    Raises:
        InputError: A value does not match the signatures. No modules other than those of this package and of `named`
            have been imported.
    """
    check = _Check(name, frozenset(named))
    for group, owner in GROUPS.items():
        check.arguments(config.get(group) or {}, owner, group, 0)


def foreign_classes(config: Any) -> Iterator[str]:
    """Class paths in a configuration of the user that lie outside this package and torch.optim."""
    if isinstance(config, Mapping):
        path = config.get("class_path")
        if isinstance(path, str) and not _inside(path):
            yield path
        for value in config.values():
            yield from foreign_classes(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from foreign_classes(value)


def default_settings(
    name: str, config: Mapping[str, Any], given: Mapping[str, Any], structures_only: bool = False
) -> dict[str, Any]:
    """Settings of a checked configuration by dotted key, as defaults of a command that uses its checkpoint.

    Args:
        name: Of the checkpoint, for messages.
        config: Of its section.
        given: Settings of the data that the user gave. A source or store replaces what is stored of either, and the
            spectra of another source are resampled onto the grid of the model.
        structures_only: Whether no labelled materials are read, so that nothing stored of them is needed.

    Raises:
        InputError: The configuration names a path that the user did not give too.
    """
    data = dict(config.get("data") or {})
    if structures_only or given.get("source") is not None or given.get("store") is not None:
        data.update(source=None, store=None)
    if given.get("store") is not None:  # its labels are as it was built
        data.update(grid=None, insulators=None)
    source = _without_none(given.get("source"))
    if source is not None and source != _without_none((config.get("data") or {}).get("source")):
        data.update(grid=config["model"].get("grid") or dataclasses.asdict(EnergyGrid()))
    if structures_only or given.get("all_as") is not None:
        data.update(train_ids=None, split_ids=None)
    if given.get("train_ids") is not None or given.get("train_size") is not None:
        data.update(train_ids=None)
    data = {option: value for option, value in data.items() if given.get(option) is None or option not in _REPLACED}
    if paths := stored_paths({"data": data}):
        words = " ".join(map(shlex.quote, data_words(data)))
        key, value = next(iter(paths.items()))
        raise InputError(
            f"{name} was made with {key} {value}; a path stored in a checkpoint is opened only if you give it too: "
            f"add {words}"
        )
    groups = {"model": config["model"], "data": data}
    return {f"{group}.{key}": value for group, settings in groups.items() for key, value in settings.items()}


def _without_none(settings: Any) -> Any:
    """Settings without those that are None, which stored configurations leave out."""
    if isinstance(settings, list):
        return [_without_none(item) for item in settings]
    if not isinstance(settings, Mapping):
        return settings
    return {key: _without_none(value) for key, value in settings.items() if value is not None}


def data_words(data: Mapping[str, Any]) -> list[str]:
    """Command-line options for those settings of the data that contain paths.

    Example:
        >>> data_words({"store": "data/mine", "batch_size": 8})
        ['--data.store', 'data/mine']
    """
    words: list[str] = []
    for option in dict.fromkeys(key.split(".")[1] for key in stored_paths({"data": data})):
        value = data[option]
        if isinstance(value, Mapping) and "class_path" in value:
            words += [f"--data.{option}", value["class_path"]]
            defaults = inspect.signature(_class_at(value["class_path"])).parameters
            given = {
                f"{option}.{key}": item
                for key, item in (value.get("init_args") or {}).items()
                if key not in defaults or item != defaults[key].default
            }
        else:
            given = {option: value}
        for key, item in given.items():
            words += [f"--data.{key}", item if isinstance(item, str) else json.dumps(item)]
    return words


def stored_paths(config: Mapping[str, Any]) -> dict[str, Any]:
    """Strings among the settings of the data that may be paths, by dotted key.

    Example:
        >>> stored_paths({"data": {"store": "data/mine", "subset": "nested"}})
        {'data.store': 'data/mine'}
    """
    return dict(_free_texts(config.get("data") or {}, CrystalDataModule, "data"))


def _free_texts(settings: Mapping[str, Any], owner: type, where: str) -> Iterator[tuple[str, Any]]:
    hints = _hints(owner)
    for key, value in settings.items():
        place = f"{where}.{key}"
        if isinstance(value, Mapping) and isinstance(value.get("class_path"), str):
            yield from _free_texts(value.get("init_args") or {}, _class_at(value["class_path"]), place)
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            numbered = {str(number): item for number, item in enumerate(value)}
            yield from _free_texts(numbered, list, place)  # several instances, such as the sources of Fidelities
        elif isinstance(value, Mapping) and (kind := _dataclass_of(hints.get(key))) is not None:
            yield from _free_texts(value, kind, place)  # the names of its fields are no texts of the user
        elif _holds_text(value) and not (isinstance(value, str) and value in _choices(hints.get(key))):
            yield place, value


def _holds_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_text, (*value.keys(), *value.values())))
    if isinstance(value, list | tuple):
        return any(map(_holds_text, value))
    return isinstance(value, str)


class _Check:
    """The walk through one stored configuration."""

    def __init__(self, name: str, named: frozenset[str]) -> None:
        self.name = name
        self.named = named
        self.modules = {path.rpartition(".")[0] for path in named}

    def arguments(self, settings: Any, owner: type, where: str, depth: int) -> None:
        """Check the arguments that an instance of `owner` is made with."""
        hints = _hints(owner)
        if not isinstance(settings, Mapping):
            self.refuse(where, "it is not a mapping of options")
        if depth > _DEPTH:
            self.refuse(where, "it is nested too deeply")
        for key, value in settings.items():
            place = f"{where}.{key}"
            if key not in hints:
                self.refuse(place, f"{owner.__name__} has no such option")
            self.value(value, hints[key], place, depth + 1)

    def value(self, value: Any, hint: Any, where: str, depth: int) -> None:
        """Check one value against the type that is expected of it."""
        members = _members(hint)
        if depth > _DEPTH:
            self.refuse(where, "it is nested too deeply")
        if value is None or isinstance(value, bool | int | float):
            return  # refers to no class; the parser checks the type
        classes = [kind for kind in map(_built_kind, members) if kind is not None]
        if isinstance(value, str):
            if value not in _choices(hint) and (classes or not any(map(_is_text, members))):
                self.refuse(where, f"it is the string {value!r}, where no string is expected")
        elif isinstance(value, list | tuple):
            self.items(dict(enumerate(value)), [item for member in members for item in _items(member)], where, depth)
        elif not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            self.refuse(where, f"it is a {type(value).__name__}, expected numbers, strings, lists and mappings")
        elif "class_path" in value:
            self.built(value, classes, where, depth)
        elif (fields := _dataclass_of(hint)) is not None:
            self.arguments(value, fields, where, depth)
        else:
            self.items(value, [item for member in members for item in _values(member)], where, depth)

    def items(self, items: Mapping[Any, Any], kinds: Sequence[Any], where: str, depth: int) -> None:
        """Check the items of a list or mapping against the types that are expected of them."""
        if not kinds:
            self.refuse(where, "it contains several values, where one is expected")
        for key, item in items.items():
            self.value(item, Union[tuple(kinds)], f"{where}.{key}", depth + 1)  # noqa: UP007

    def built(self, value: Mapping[str, Any], classes: Sequence[type], where: str, depth: int) -> None:
        """Check the description of an instance."""
        path, arguments = value["class_path"], value.get("init_args")
        if extra := sorted({*value} - {"class_path", "init_args"}):
            self.refuse(f"{where}.{extra[0]}", "only class_path and init_args describe an instance")
        if not classes:
            self.refuse(where, f"it is the class path {path!r}, where no class is expected")
        if not isinstance(path, str) or not (isinstance(arguments, Mapping) or arguments is None):
            self.refuse(where, "its class_path is not a string, or its init_args are not a mapping")
        if not (_inside(path) or path in self.named or path.rpartition(".")[0] in self.modules):
            raise InputError(
                f"{self.name}: {where} is {path}, which is not part of dielectric_gnn; if you trust that code, give "
                "the same class path yourself (--config or --model.backbone; trust=[...] in Python) and make sure it "
                "can be imported"
            )
        found = _class_at(path)
        expected = " or ".join(kind.__name__ for kind in classes)
        if not (inspect.isclass(found) and issubclass(found, tuple(classes))):
            self.refuse(where, f"it is {path}, expected a subclass of {expected}")
        if not (_inside(f"{found.__module__}.") or path in self.named or found.__module__ in self.modules):
            self.refuse(where, f"{path} is defined in {found.__module__}; give that path")
        self.arguments(arguments or {}, found, where, depth + 1)

    def refuse(self, where: str, reason: str) -> None:
        """Reject the checkpoint because of the value at a key.

        Raises:
            InputError: Always.
        """
        raise InputError(
            f"{self.name}: its configuration cannot be used: {where}: {reason}. `fit` does not write such a "
            "configuration: use a checkpoint from a source that you trust"
        )


def _inside(path: str) -> bool:
    """Whether a class path lies in this package or in torch.optim."""
    return path.startswith(tuple(f"{package}." for package in _PACKAGES))


def _class_at(path: str) -> Any:
    """The object at a class path; None if it does not exist."""
    module, _, attribute = path.rpartition(".")
    if not all(part.isidentifier() for part in path.split(".")):
        return None
    try:
        return getattr(import_module(module), attribute, None)
    except ImportError:
        return None


@cache
def _hints(owner: Any) -> dict[str, Any]:
    """Types of the arguments of a class, including those passed on to its base classes."""
    hints: dict[str, Any] = {}
    for base in inspect.getmro(owner) if inspect.isclass(owner) else ():
        signature = base.__dict__.get("__init__")
        if inspect.isfunction(signature):
            variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
            parameters = inspect.signature(signature).parameters.values()
            known = get_type_hints(signature, include_extras=True)
            own = {p.name: known.get(p.name, str) for p in parameters if p.kind not in variable and p.name != "self"}
            hints = {**own, **hints}
            if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
                break
    return hints


def _members(hint: Any) -> list[Any]:
    """The types of which a value may be one."""
    if get_origin(hint) is Annotated:
        return _members(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return [member for argument in get_args(hint) for member in _members(argument)]
    return [hint]


def _dataclass_of(hint: Any) -> type | None:
    """The dataclass whose fields a mapping may state where `hint` is expected; None if there is none."""
    kinds = map(_built_kind, _members(hint))
    return next((kind for kind in kinds if kind is not None and dataclasses.is_dataclass(kind)), None)


def _choices(hint: Any) -> tuple[Any, ...]:
    """The values that are listed by a type."""
    return tuple(choice for member in _members(hint) if get_origin(member) is Literal for choice in get_args(member))


def _items(member: Any) -> tuple[Any, ...]:
    """Types of the items, if a type is that of a list or tuple."""
    if member in (list, tuple):
        return (str, list, dict)
    if get_origin(member) not in (list, tuple, Sequence, Iterable):
        return ()
    return tuple(argument for argument in get_args(member) if argument is not ...)


def _values(member: Any) -> tuple[Any, ...]:
    """Types of the values, if a type is that of a mapping from texts."""
    if member is dict:
        return (str, list, dict)
    return get_args(member)[1:] if get_origin(member) in (dict, Mapping) else ()


def _is_text(member: Any) -> bool:
    """Whether a string is a value of a type, or is converted to one without an import."""
    return inspect.isclass(member) and get_origin(member) is None and issubclass(member, (str, Enum, os.PathLike))


def _built_kind(member: Any) -> type | None:
    """The class whose subclasses may be built where `member` is expected: itself, or the return type of a callable."""
    if get_origin(member) in (Callable, type):
        result = get_args(member)[-1]
        return result if inspect.isclass(result) else None
    if not inspect.isclass(member) or get_origin(member) is not None or issubclass(member, _PLAIN):
        return None
    return None if member in (types.NoneType, object, list, tuple, dict) else member
