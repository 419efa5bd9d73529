"""Parsers made from typed functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from dielectric_gnn.cli.function_parser import FunctionParser, call_function, command_parser

CALLS: list[dict[str, Any]] = []


def paint(
    wall: Path,
    *,
    colour: Literal["red", "blue"] = "red",
    coats: int = 2,
    thickness: float | None = None,
    dry_first: bool = False,
    rooms: list[str] | None = None,
    corners: tuple[Path, Path] | None = None,
) -> None:
    """Paint a wall.

    A long text with
      an indented line.

    Args:
        wall: The wall to be
            painted.
        colour: Of the paint.
        coats: Number of coats.
        thickness: In mm.
        dry_first: Wait first.
        rooms: Several names.
        corners: Two of them.
    """
    CALLS.append(dict(locals()))


def run(*words: str) -> dict[str, Any]:
    parser = FunctionParser()
    parser.add_function(paint)
    parsed = command_parser("house", "All about walls.", {"paint": parser}).parse_args(["paint", *words])
    call_function(paint, parsed["paint"])
    return CALLS.pop()


def test_words_become_arguments_of_the_types_of_the_function() -> None:
    defaults = {"colour": "red", "coats": 2, "thickness": None, "dry_first": False, "rooms": None, "corners": None}
    assert run("north") == {"wall": Path("north"), **defaults}
    given = run("--colour=blue", "--dry-first", "north", "--coats", "3", "--thickness", "1e-1")
    assert given == {
        **defaults,
        "wall": Path("north"),
        "colour": "blue",
        "dry_first": True,
        "coats": 3,
        "thickness": 0.1,
    }
    assert run("north", "--rooms", "hall", "7")["rooms"] == ["hall", "7"]
    assert run("north", "--corners", "a", "~/b")["corners"] == [Path("a"), Path.home() / "b"]
    assert run("~/north")["wall"] == Path.home() / "north"


def test_an_option_may_have_another_name_than_its_parameter() -> None:
    parser = FunctionParser("All about walls.")
    parser.add_function(paint, skip=("rooms", "corners"), spellings={"coats": "--data.coats"})
    call_function(paint, parser.parse_args(["north", "--data.coats", "5"]))
    assert CALLS.pop()["coats"] == 5 and parser.description == "All about walls."


def test_help_has_the_docstring_with_its_line_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    page = capsys.readouterr().out
    assert "Paint a wall.\n\nA long text with\n  an indented line." in page and "Args:" not in page
    assert "The wall to be painted. (required, type: Path)" in page
    assert "Number of coats. (type: int, default: 2)" in page and "--dry-first" in page


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ((), ("wall", "required")),
        (("north", "--coats", "many"), ("coats", "int", "many")),
        (("north", "--colour", "green"), ("--colour", "green", "red", "blue")),
        (("north", "--corners", "a"), ("--corners", "2")),
        (("north", "--size", "3"), ("--size",)),
    ],
)
def test_a_mistake_is_one_line_that_names_the_option(
    words: tuple[str, ...], parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*words)
    message = capsys.readouterr().err
    assert ended.value.code == 2 and message.startswith("error: ") and message.count("\n") == 1
    assert all(part in message for part in (*parts, "--help"))
