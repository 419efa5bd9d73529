"""Properties of the chemical elements, from a table that is part of the package."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HEAVIEST = 103
"""Largest atomic number of the table (Lr)."""

ANGSTROM3_PER_ATOM = 1.66053906717
"""Volume per atom (Å³) of a molar volume of 1 cm³/mol: 10²⁴ / N_A."""

TABLE = Path(__file__).with_name("element_properties.csv")
"""Written by `tools/write_element_properties.py`, whose description states how missing values are filled."""


@cache
def _rows() -> tuple[tuple[str, ...], tuple[tuple[float, ...], ...]]:
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    header, *rows = csv.reader(line for line in lines if not line.startswith("#"))
    return tuple(header[1:]), tuple(tuple(map(float, row[1:])) for row in rows)


def property_names() -> tuple[str, ...]:
    """Names of the P properties, in the order of the columns of `element_properties`."""
    return _rows()[0]


def element_properties() -> Tensor:
    """Properties of every element, indexed by atomic number.

    Shapes:
        (104, P) float64; row 0 belongs to no element and is NaN.

    Units:
        Radii Å, energies eV, temperatures K, molar volume cm³/mol, mass u, thermal conductivity W/(m·K).

    Example:
        >>> copper = dict(zip(property_names(), element_properties()[29].tolist()))
        >>> copper["electronegativity"], copper["outer_electrons"], copper["d_electrons"]
        (1.9, 1.0, 10.0)
    """
    values = torch.tensor(_rows()[1], dtype=torch.float64)
    return torch.cat([values.new_full((1, values.shape[1]), torch.nan), values])


def atomic_volumes(atomic_numbers: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float64]:
    """Volumes per atom (n,) in Å³ of the solid elements, from their molar volumes."""
    return _atomic_volumes()[np.asarray(atomic_numbers)]


@cache
def _atomic_volumes() -> NDArray[np.float64]:
    return ANGSTROM3_PER_ATOM * element_properties()[:, property_names().index("molar_volume")].numpy()
