"""Command lines from typed functions, through jsonargparse: options, types, defaults and help come from the function.

A parameter without default is positional, a Boolean one is a flag, a list takes several words, and `_` is written `-`.
Imports no PyTorch, so that commands that do not need it start at once.
"""

from __future__ import annotations

import inspect
import re
from argparse import SUPPRESS, Action, ArgumentError, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import user_path
from dielectric_gnn.utils.text import on_one_line

_METAVARS = {float: "X", str: "TEXT", Path: "PATH"}
"""Placeholders of values in the help; those of integers, bounded or not, are N."""
_TYPES = {"int": "whole number", "float": "number"}
"""Names of types in messages."""


class _HelpFormatter(RawDescriptionHelpFormatter):
    """Help with the line breaks of the description, and with the defaults that are values."""

    def _get_help_string(self, action: Action) -> str:
        has_default = action.option_strings and action.default not in (None, False, [], SUPPRESS)
        return f"{action.help}{' (default: %(default)s)' if has_default else ''}"


def parse_words(
    function: Callable[..., Any],
    words: Sequence[str] | None,
    prog: str,
    description: str | None,
    keyword_options: Callable[..., Any] | None = None,
) -> dict[str, Any]:
    """Parse a command line into the arguments of a function.

    Args:
        function: Typed function whose docstring describes its arguments in Google style.
        words: Command line without the name of the command; None takes that of the process.
        prog: Name of the command.
        description: Text of the help page.
        keyword_options: Function to which the first one passes its `**options`: its parameters are options, too.

    Returns:
        Values by the names of the parameters.

    Raises:
        InputError: A word is not an option, or a value is not of its type.
    """
    parser = ArgumentParser(prog=prog, description=description, exit_on_error=False, formatter_class=_HelpFormatter)
    _add_parameters(parser, function)
    if keyword_options is not None:
        _add_parameters(parser, keyword_options, skip=set(inspect.signature(function).parameters))
    try:
        return vars(parser.parse_args(None if words is None else list(words)))
    except ArgumentError as error:
        raise InputError(f"{_message(str(error))}; see {prog} --help") from error


def _add_parameters(parser: ArgumentParser, function: Callable[..., Any], skip: set[str] | None = None) -> None:
    documented = {one.arg_name: one.description for one in parse_docstring(function.__doc__ or "").params}
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD and parameter.name not in (skip or ()):
            _add_parameter(parser, parameter, documented.get(parameter.name) or "")


def _add_parameter(parser: ArgumentParser, parameter: inspect.Parameter, text: str) -> None:
    kind, default = _without_none(parameter.annotation), parameter.default
    option = f"--{parameter.name.replace('_', '-')}"
    if default is parameter.empty:
        parser.add_argument(parameter.name, type=_reader(kind), metavar=parameter.name.upper(), help=text)
    elif kind is bool:
        parser.add_argument(option, action="store_true", help=text)
    elif get_origin(kind) in (list, Sequence):
        (item,) = get_args(kind)
        values = list(default) if isinstance(default, tuple) else default
        parser.add_argument(option, type=_reader(item), nargs="+", default=values, help=text, **_metavar(item))
    else:
        parser.add_argument(option, type=_reader(kind), default=default, help=text, **_metavar(kind))


def _without_none(annotation: Any) -> Any:
    """The type of an optional value: a default of None is not checked against the type."""
    if get_origin(annotation) in (Union, type(int | None)):
        (annotation,) = (one for one in get_args(annotation) if one is not type(None))
    return annotation


def _reader(kind: Any) -> Any:
    return user_path if kind is Path else kind


def _metavar(kind: Any) -> dict[str, Any]:
    """Placeholder of a value in the help; a Literal shows its values instead."""
    return {} if get_origin(kind) is Literal else {"metavar": _METAVARS.get(kind, "N")}


def _message(text: str) -> str:
    """The message of jsonargparse in one line, with options and types as a user writes them."""
    text = on_one_line(text)
    text = re.sub(r'Parser key "(\w+)"( element \d+)?:', lambda found: f"--{found[1].replace('_', '-')}:", text)
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", lambda found: _TYPES.get(found[1], found[1]), text)
    text = re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", text)
    text = re.sub(r"Expected an? (.*?)\. Got value: (.*)", r"expected \1, got \2", text)
    return re.sub(r"Not of type \w+: (\S+) does not conform to restriction v([<>=]+)(\S+)", r"\1, expected \2 \3", text)
