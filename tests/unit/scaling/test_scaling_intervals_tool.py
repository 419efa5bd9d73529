"""tools/check_scaling_intervals.py: coverage of the intervals and reliability of the verdict, with few draws."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.commands import load_tool

LOWEST_SHARE = 0.77
"""Of 30 draws with a probability of 0.9 each, fewer than this share occur once in a hundred times."""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool("check_scaling_intervals")


@pytest.mark.parametrize("kind", ["independent", "heteroscedastic", "t3", "shared"])
def test_intervals_cover_the_truth_and_breaks_are_not_invented(tool: ModuleType, kind: str) -> None:
    found = tool.tally("saturating", kind, 30)
    assert set(found.hits) == {"a", "x0", "Linf", "data needed"}
    for quantity in found.hits:
        assert found.share(quantity) >= LOWEST_SHARE, quantity
    assert found.verdict_share("broken") <= 0.05


def test_intervals_are_not_too_wide(tool: ModuleType) -> None:
    assert tool.tally("power", "independent", 30, level=0.5).share("a") < 0.7


def test_power_laws_and_breaks_are_found(tool: ModuleType) -> None:
    straight = tool.tally("power", "independent", 30)
    assert straight.verdict_share("power") > 0.75 and straight.verdict_share("broken") <= 0.05
    assert tool.tally("broken", "independent", 10).verdict_share("broken") > 0.75


def test_a_decisive_verdict_is_not_given_if_the_seeds_share_noise(tool: ModuleType) -> None:
    """The scatter of the seeds does not explain the deviations of the sizes, so they may be those of the law."""
    assert tool.tally("power", "shared", 30).verdict_share("broken") == 0.0


def test_the_optimum_is_covered(tool: ModuleType) -> None:
    assert tool.tally_optimum("shared", 20).share("optimum") >= LOWEST_SHARE


def test_bands_of_held_out_sizes_contain_the_means(tool: ModuleType) -> None:
    """Four of eight sizes are left for a broken law, which has as many parameters."""
    share, width = tool.tally_hold_out("broken", "independent", 10, 4)
    assert share > 0.8 and 0.1 < width < 3.0
