"""What the options of several benchmarks have in common."""

from __future__ import annotations

import argparse


def positive(word: str) -> int:
    """An integer of at least 1."""
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number
