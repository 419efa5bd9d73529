"""No test of this folder may take much memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator

import pytest

_MAX_GROWTH_MB = 700
"""Of the largest memory of the process, in one test, with all its inputs."""


@pytest.fixture(autouse=True)
def bounded_memory() -> Iterator[None]:
    """Fail a test in which the process grew to a size that no small input is worth."""
    before = _peak_mb()
    yield
    assert _peak_mb() - before < _MAX_GROWTH_MB


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
