"""Fixtures shared by all tests. Warnings are errors; pyproject.toml lists the exemptions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals
from tests.commands import command, trained

__all__ = ["command", "trained"]  # fixtures of the real command

collect_ignore = ["data"]
"""Files to read, among them Python modules that must never be imported: not to be searched for doctests."""

# Two files of tests run at a time, on as few as two cores, and idle threads spin.
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of tests/fuzz; pytest takes options from here only."""
    parser.addoption(
        "--fuzz-minutes",
        type=float,
        metavar="N",
        help="fuzz readers for about N minutes, with other inputs every time (default: one minute, the same inputs)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Hand the option to tests/fuzz/properties.py, which needs it when tests are imported."""
    if (minutes := config.getoption("--fuzz-minutes")) is not None:
        os.environ["FUZZ_MINUTES"] = str(minutes)


@pytest.fixture(scope="session")
def metals() -> list[CrystalRecord]:
    """The embedded metals."""
    return list(ExampleMetals(parts=1).records())


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def float64() -> Iterator[None]:
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(default)


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parents[1]
