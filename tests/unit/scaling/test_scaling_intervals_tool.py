"""tools/check_scaling_intervals.py: coverage of the intervals and reliability of the verdict."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.commands import load_tool


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool("check_scaling_intervals")


def test_intervals_cover_the_truth(tool: ModuleType) -> None:
    for name, share in tool.coverage(200, 0.01).items():
        assert 0.85 <= share <= 0.95, name


def test_power_laws_are_left_straight(tool: ModuleType) -> None:
    shares = tool.verdicts("power", 60, 0.01)
    assert shares.get("broken", 0.0) < 0.05 and shares["power"] > 0.75, shares


@pytest.mark.parametrize("truth", ["broken", "saturating"])
def test_other_laws_are_found(tool: ModuleType, truth: str) -> None:
    shares = tool.verdicts(truth, 40, 0.01)
    assert shares[truth] > 0.4 and shares[truth] + shares.get(None, 0.0) > 0.9, shares
