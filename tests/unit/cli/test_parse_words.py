"""Command lines from typed functions."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonargparse.typing import PositiveInt

from dielectric_gnn.cli.function_parser import parse_words
from tests.commands import environment


def fry(
    what: Path, out_folder: Path = Path("pan"), dry_run: bool = False, jobs: PositiveInt = 1, **options: Any
) -> None:
    """Fry.

    Args:
        what: The food.
        out_folder: Where it goes.
        dry_run: Print the recipe only.
        jobs: Number of pans.
        options: Options of `season`.
    """


def season(
    what: object, *, salt: float | None = None, herbs: Sequence[str] = (), heat: Literal["low", "high"] = "low"
) -> None:
    """Season.

    Args:
        what: The food.
        salt: Grams.
        herbs: Names of herbs.
        heat: Of the pan.
    """


def parse(*words: str) -> dict[str, Any]:
    return parse_words(fry, words, "fry", "How to fry.\n    An example.", keyword_options=season)


def test_defaults_are_those_of_the_functions() -> None:
    assert parse("egg") == {
        "what": Path("egg"), "out_folder": Path("pan"), "dry_run": False, "jobs": 1,
        "salt": None, "herbs": [], "heat": "low",
    }  # fmt: skip


def test_every_kind_of_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/cook")
    found = parse(
        "~/egg", "--out-folder", "~/plate", "--dry-run", "--jobs", "2", "--salt", "1e-1", "--herbs", "a=1", "1e3"
    )
    assert found == {
        "what": Path("/home/cook/egg"), "out_folder": Path("/home/cook/plate"), "dry_run": True, "jobs": 2,
        "salt": 0.1, "herbs": ["a=1", "1e3"], "heat": "low",
    }  # fmt: skip


def test_help_has_descriptions_defaults_and_line_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse("--help")
    text = capsys.readouterr().out
    assert end.value.code == 0 and "How to fry.\n    An example.\n" in text
    assert "Where it goes. (type: Path, default: pan)" in text and "--heat {low,high}" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "required: what"),
        (("egg", "--jobs", "0"), "--jobs: 0, expected > 0"),
        (("egg", "--jobs", "two"), "--jobs: .*two"),
        (("egg", "--salt", "much"), "--salt: expected number, got much"),
        (("egg", "--heat", "medium"), "--heat: invalid choice: 'medium'"),
        (("egg", "--out-folder"), "--out-folder: expected one argument"),
        (("egg", "--sugar", "1"), "unrecognized arguments: --sugar 1; see fry --help"),
    ],
)
def test_mistakes_are_one_line(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*words)
    shown = capsys.readouterr().err
    assert ended.value.code == 2 and shown.count("\n") == 1 and re.search(message, shown), shown


@pytest.mark.parametrize("module", ["fit_laws", "study"])
def test_commands_that_need_no_torch_do_not_import_it(module: str) -> None:
    code = f"import sys, dielectric_gnn.cli.{module}; print(sorted({{'torch', 'lightning'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
