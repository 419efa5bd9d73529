"""Command-line parsers made from typed functions: parameters become options, and docstrings become help texts."""

from __future__ import annotations

import inspect
import re
import sys
import types
from argparse import Action, RawDescriptionHelpFormatter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

from docstring_parser import DocstringStyle, parse
from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from dielectric_gnn.utils.entry import EXIT_MISTAKE
from dielectric_gnn.utils.files import user_path
from dielectric_gnn.utils.text import on_one_line

_CLASS = re.compile(r"<class '(?:\w+\.)*(\w+)'>")
_TYPES = {"int": "whole number", "float": "number"}
"""Names of types in messages."""


class _Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the line breaks of descriptions, and states type and default of every option."""

    def _expand_help(self, action: Action) -> str:
        return _CLASS.sub(r"\1", super()._expand_help(action))


class FunctionParser(ArgumentParser):
    """A parser whose arguments are the parameters of a function.

    A positional parameter without a default is a positional argument. Every other one is an option: `on_error` becomes
    `--on-error`, a boolean that is False by default becomes a flag, a list or tuple takes several words, a Literal
    takes one of its values, and a path may begin with `~`.

    Args:
        description: Beginning of the help page; its line breaks are kept.
        options: Of jsonargparse's parser.
    """

    def __init__(self, description: str | None = None, **options: Any) -> None:
        super().__init__(description=description, formatter_class=_Formatter, **options)

    def add_function(
        self, function: Callable[..., Any], skip: Collection[str] = (), spellings: Mapping[str, str] | None = None
    ) -> None:
        """Add the parameters of a function; its docstring is the description, unless there is one already.

        Args:
            function: A function with type hints and a docstring of Google's style.
            skip: Names of parameters that are left out.
            spellings: Options with another name than their parameter, such as `{"store": "--data.store"}`.
        """
        docstring = parse(inspect.getdoc(function) or "", style=DocstringStyle.GOOGLE)
        help_texts = {param.arg_name: " ".join((param.description or "").split()) for param in docstring.params}
        if self.description is None:
            self.description = "\n\n".join(filter(None, (docstring.short_description, docstring.long_description)))
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
            if name not in skip and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                option = (spellings or {}).get(name, f"--{name.replace('_', '-')}")
                self._add_parameter(parameter, parameter.annotation, help_texts.get(name), option)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """End the process with status 2 and one line, instead of jsonargparse's usage and several lines."""
        if not self.exit_on_error:  # the parser of a class within this one, which reports the error
            super().error(message, ex)
        sys.stderr.write(f"error: {_in_one_line(message)}; see {self.prog.replace(' [options]', '')} --help\n")
        self.exit(EXIT_MISTAKE)

    def _add_parameter(self, parameter: inspect.Parameter, hint: Any, help_text: str | None, option: str) -> None:
        settings: dict[str, Any] = {"help": help_text}
        required = parameter.default is inspect.Parameter.empty
        if hint is bool and parameter.default is False:
            settings["action"] = "store_true"
        else:
            settings |= _type_settings(hint)
            if not required:
                several = isinstance(parameter.default, tuple)  # jsonargparse assigns to the elements
                settings["default"] = list(parameter.default) if several else parameter.default
        if required and parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            self.add_argument(parameter.name, metavar=parameter.name.upper(), **settings)
        else:
            required_setting = {"required": True} if required else {}
            self.add_argument(option, dest=parameter.name, **settings, **required_setting)


def call_function(function: Callable[..., None], arguments: Namespace) -> None:
    """Call a function with what was parsed for its parameters; `~` in paths is the home folder."""
    function(**_values(arguments))


def parse_words(
    function: Callable[..., Any],
    words: Sequence[str] | None,
    prog: str,
    description: str | None,
    keyword_options: Callable[..., Any] | None = None,
) -> dict[str, Any]:
    """Parse a command line into the arguments of a function; a mistake ends the process with one line.

    Args:
        function: Typed function whose docstring describes its arguments in Google style.
        words: Command line without the name of the command; None takes that of the process.
        prog: Name of the command.
        description: Text of the help page.
        keyword_options: Function to which the first one passes its `**options`: its parameters are options, too.

    Returns:
        Values by the names of the parameters.
    """
    parser = FunctionParser(description, prog=prog)
    parser.add_function(function)
    if keyword_options is not None:
        parser.add_function(keyword_options, skip=inspect.signature(function).parameters)
    parsed = parser.parse_args(None if words is None else list(words))
    return _values(parsed)


def command_parser(prog: str, description: str | None, commands: Mapping[str, FunctionParser]) -> ArgumentParser:
    """A parser with sub-commands; each help page of a command begins with the command's own description."""
    parser = FunctionParser(description, prog=prog)
    subcommands = parser.add_subcommands(metavar="COMMAND")
    for name, subparser in commands.items():
        subcommands.add_subcommand(name, subparser, help=(subparser.description or "").split("\n")[0])
    return parser


def _type_settings(hint: Any) -> dict[str, Any]:
    """The `type` and `nargs` of an option whose parameter has a type hint; `X | None` is treated as `X`.

    A dataclass that may be None keeps its hint, from which jsonargparse makes one option for each field.
    """
    if get_origin(hint) in (Union, types.UnionType):
        part = next(part for part in get_args(hint) if part is not type(None))
        if is_dataclass(part):
            return {"type": hint}
        hint = part
    arguments = get_args(hint)
    if get_origin(hint) is tuple:
        return {"type": arguments[0], "nargs": len(arguments)}
    if get_origin(hint) in (list, Sequence):
        return {"type": arguments[0], "nargs": "+"}
    if get_origin(hint) is Literal:
        return {"choices": list(arguments)}
    return {"type": hint}


def _in_one_line(message: str) -> str:
    """An error message of jsonargparse in one line, with options and types as a user writes them."""
    message = on_one_line(re.split(r"\s+Given value", message)[0])
    message = re.sub(r'Parser key "(\w+)"( element \d+)?:', lambda found: f"--{found[1].replace('_', '-')}:", message)
    message = re.sub(r'Parser key "([\w.]+)":', r"\1:", message)
    message = _CLASS.sub(lambda found: _TYPES.get(found[1], found[1]), message)
    message = re.sub(r"typing\.Literal\[(.*?)\]", r"one of \1", message)
    message = re.sub(r"Expected an? (.*?)\. Got value: (.*)", r"expected \1, got \2", message)
    restriction = r"Not of type \w+: (\S+) does not conform to restriction v([<>=]+)(\S+)"
    return re.sub(restriction, r"\1, expected \2 \3", message).rstrip(".")


def _values(arguments: Namespace) -> dict[str, Any]:
    """Parsed values by the names of their parameters."""
    return {name: _with_home(value) for name, value in vars(arguments).items()}


def _with_home(value: Any) -> Any:
    """A parsed value whose paths begin with the home folder instead of `~`."""
    if isinstance(value, list):
        return [_with_home(item) for item in value]
    return user_path(str(value)) if isinstance(value, Path) else value
