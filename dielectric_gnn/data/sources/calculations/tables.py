"""Tables of numbers in text files, as Fortran programs write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.data.sources.text_files import read_text
from dielectric_gnn.utils.errors import RecordError

Floats: TypeAlias = NDArray[np.float64]
Spectrum: TypeAlias = NDArray[np.complex128]

_NO_EXPONENT = re.compile(r"([+-]?[\d.]+)([+-]\d{3})")
"""Fortran leaves the letter out where an exponent has three digits: 1.234-101."""

_CURE = "the file is truncated or damaged, copy it again"


def read_table(path: Path, num_columns: int, max_mb: float, separator: str | None = None) -> tuple[list[str], Floats]:
    """A table, and the comment lines (`#`) before and in it.

    Args:
        path: The file.
        num_columns: How many columns each row must have.
        max_mb: Longest text.
        separator: Between columns; None means blanks.

    Returns:
        The comments, and the numbers (V, num_columns), V >= 2.

    Raises:
        RecordError: A row has another number of columns, or something in it is not a number; too few rows.
    """
    comments, blocks = read_blocks(path, num_columns, max_mb, separator)
    return comments, np.concatenate(blocks)


def read_blocks(
    path: Path, num_columns: int, max_mb: float, separator: str | None = None
) -> tuple[list[str], list[Floats]]:
    """The same, cut at empty lines."""
    comments: list[str] = []
    blocks: list[list[list[float]]] = [[]]
    for number, line in enumerate(read_text(path, max_mb).splitlines(), start=1):
        text = line.strip()
        if text.startswith("#"):
            comments.append(text)
        elif text:
            blocks[-1].append(_row(text.split(separator), num_columns, path, number))
        elif blocks[-1]:
            blocks.append([])
    filled = [np.array(block) for block in blocks if block]
    if sum(map(len, filled)) < 2:
        raise RecordError(str(path), f"it holds no table of {num_columns} columns; {_CURE}")
    return comments, filled


def number(text: str) -> float:
    """A number as Fortran writes it, with exponents after E or D, or after nothing.

    Raises:
        ValueError: It is none; `*****` is what Fortran writes of a number that is too large for its column.

    Example:
        >>> number("1.5D+01"), number("1.5-101"), number("Infinity")
        (15.0, 1.5e-101, inf)
    """
    try:
        return float(text)
    except ValueError:
        text = text.replace("D", "E").replace("d", "e")
        if match := _NO_EXPONENT.fullmatch(text):
            text = f"{match[1]}E{match[2]}"
        return float(text)


def three_numbers(words: Sequence[str]) -> list[float]:
    """A vector.

    Raises:
        ValueError: There are fewer than three words, or one is no number.
    """
    if len(words) < 3:
        raise ValueError(f"{' '.join(words)!r} is not three numbers")
    return [number(word) for word in words[:3]]


def stated_number(text: str, what: str, path: Path) -> float:
    """A number that a file states outside of its tables.

    Raises:
        RecordError: It is none, or it is not finite.
    """
    try:
        value = number(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise RecordError(str(path), f"{what} is {text!r}, expected a number; {_CURE}")
    return value


def as_complex(real: Floats, imaginary: Floats) -> Spectrum:
    """Both parts as they are; multiplication by the imaginary unit would turn infinite values into NaN."""
    spectrum = np.empty(real.shape, dtype=np.complex128)
    spectrum.real, spectrum.imag = real, imaginary
    return spectrum


def _row(words: list[str], num_columns: int, path: Path, line: int) -> list[float]:
    if len(words) != num_columns:
        raise RecordError(str(path), f"line {line} has {len(words)} columns, expected {num_columns}; {_CURE}")
    try:
        return [number(word) for word in words]
    except ValueError as error:
        raise RecordError(str(path), f"line {line} holds something that is no number ({error}); {_CURE}") from error


def read_components(
    files: Sequence[Path], read: Callable[[Path], tuple[str, Floats, Spectrum]]
) -> tuple[Floats, dict[str, Spectrum]]:
    """Energies, and ε by component, of a calculation with one file for each component.

    Args:
        files: At least one.
        read: Component, energies and ε of a file. Of a component and its transpose, the mean is taken.

    Raises:
        RecordError: The files have different energies.
    """
    parts = [read(path) for path in files]
    energies = parts[0][1]
    spectra: dict[str, list[Spectrum]] = {}
    for path, (component, other, spectrum) in zip(files, parts, strict=True):
        check_same_energies(energies, other, path)
        spectra.setdefault("".join(sorted(component)), []).append(spectrum)
    with np.errstate(invalid="ignore"):  # what is not finite is refused later
        return energies, {name: sum(found[1:], found[0]) * (1 / len(found)) for name, found in spectra.items()}


def check_same_energies(first: Floats, other: Floats, path: Path) -> None:
    """Raise RecordError unless two tables of one calculation have the same energies."""
    if first.shape != other.shape:
        raise RecordError(
            str(path), f"it has {other.size} energies, but the first table of the calculation has {first.size}; {_CURE}"
        )
    if not np.allclose(first, other, rtol=1e-6, atol=1e-6):
        raise RecordError(
            str(path), "its energies differ from those of the first table; keep the files of one calculation together"
        )
