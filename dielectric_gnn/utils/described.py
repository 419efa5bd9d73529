"""Objects that can be described as a configuration: class path and arguments of `__init__`.

A model that is built in Python is stored in a checkpoint in the same form as one that is built from YAML, so that it
can be loaded again.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import Any

_ARGUMENTS = "_arguments_of_init"


class Describable:
    """Base class of the parts of a model; it stores the arguments of `__init__` for `describe`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _store_arguments(cls.__init__)  # type: ignore[method-assign]


class CannotDescribeError(ValueError):
    """A part of a model, such as a lambda, cannot be written as a configuration."""


def describe(value: Any) -> Any:
    """Return a value in the form of a configuration: plain types, or `class_path` and `init_args`.

    Raises:
        CannotDescribeError: The value has no such form.

    Example:
        >>> from functools import partial
        >>> from torch.optim import AdamW
        >>> describe(partial(AdamW, lr=1e-3))
        {'class_path': 'torch.optim.adamw.AdamW', 'init_args': {'lr': 0.001}}
    """
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if inspect.isclass(value):
        return {"class_path": _class_path(value)}
    if isinstance(value, functools.partial) and inspect.isclass(value.func) and not value.args:
        return {"class_path": _class_path(value.func), "init_args": describe(value.keywords)}
    if dataclasses.is_dataclass(value):
        return {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
    if (arguments := getattr(value, _ARGUMENTS, None)) is not None:
        return {"class_path": _class_path(type(value)), "init_args": describe(arguments)}
    raise CannotDescribeError(f"{value!r} is neither a plain value, a class, a partial of one, nor a part of a model")


def _class_path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _store_arguments(init: Any) -> Any:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def keeping(self: Any, *args: Any, **kwargs: Any) -> None:
        if _ARGUMENTS not in self.__dict__:  # the outermost __init__ has the arguments of the user
            bound = signature.bind(self, *args, **kwargs)
            given = dict(list(bound.arguments.items())[1:])
            for name, parameter in signature.parameters.items():
                if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                    given.update(given.pop(name, {}))
            object.__setattr__(self, _ARGUMENTS, given)
        init(self, *args, **kwargs)

    return keeping
