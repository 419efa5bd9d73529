"""Numbers in JSON, and paths in messages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from dielectric_gnn.utils.json_values import finite_or_none, json_value
from dielectric_gnn.utils.text import path_text


def test_what_json_lacks_becomes_null() -> None:
    assert [finite_or_none(value) for value in (1.5, float("nan"), float("-inf"))] == [1.5, None, None]
    assert type(finite_or_none(np.float64(2.0))) is float
    nested = {1: (1, True, None, "nan"), "deep": {"loss": [np.float64("nan"), float("inf"), 0.5]}}
    plain = json_value(nested)
    assert plain == {"1": [1, True, None, "nan"], "deep": {"loss": [None, None, 0.5]}}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_infinities_may_be_kept_as_text() -> None:
    values = [float("inf"), -np.float64("inf"), float("nan"), 1.0]
    assert json_value(values, keep_infinities=True) == ["inf", "-inf", None, 1.0]


def test_paths_in_messages_are_one_printable_line() -> None:
    assert path_text(Path("a b.zip"), "x\n\x1b[2Jy.json") == "a b.zip:x \\x1b[2Jy.json"
    assert path_text(Path("plain/Ag.cif")) == "plain/Ag.cif"
    assert path_text(Path("odd\udcff.cif")) == "odd\\udcff.cif"
