"""Rotations without e3nn in the forward pass: spherical harmonics, coupling constants, l = 2 as 3 × 3 matrices.

Order and signs are e3nn's: degree by degree, m from −l to l, y is the polar axis, so that l = 1 is (x, y, z).
Features of degree l have natural parity (−1)^l.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dielectric_gnn.utils.errors import InputError

MAX_DEGREE = 3


def validated_degree(l_max: int, owner: str, least: int = 1) -> int:
    """The degree, if spherical harmonics up to it are implemented.

    Raises:
        InputError: They are not; the message names `owner`.
    """
    if not least <= l_max <= MAX_DEGREE:
        raise InputError(f"{owner}: l_max is {l_max}, expected {least} to {MAX_DEGREE}")
    return l_max


def degree_sizes(degrees: Sequence[int]) -> list[int]:
    """Number of components of each degree.

    Example:
        >>> degree_sizes([0, 2])
        [1, 5]
    """
    return [2 * degree + 1 for degree in degrees]


def component_degrees(degrees: Sequence[int]) -> list[int]:
    """The degree of each component.

    Example:
        >>> component_degrees([0, 2])
        [0, 2, 2, 2, 2, 2]
    """
    return [degree for degree in degrees for _ in range(2 * degree + 1)]


def spherical_harmonics(directions: Tensor, l_max: int) -> Tensor:
    """Real spherical harmonics of unit vectors as polynomials: exact and differentiable in every direction.

    Equals `e3nn.o3.spherical_harmonics(..., normalize=False, normalization="component")`: |Y^l|² = 2l + 1.

    Shapes:
        directions (E, 3) → (E, (l_max + 1)²).

    Args:
        directions: Unit vectors.
        l_max: Highest degree, 0 to 3.
    """
    validated_degree(l_max, "spherical_harmonics", least=0)
    x, y, z = directions.unbind(dim=1)
    harmonics = [torch.ones_like(x)]
    if l_max >= 1:
        harmonics += [math.sqrt(3) * component for component in (x, y, z)]
    if l_max >= 2:
        xz, difference, equator = math.sqrt(3) * x * z, math.sqrt(3) / 2 * (z * z - x * x), x * x + z * z
        second = [xz, math.sqrt(3) * x * y, y * y - equator / 2, math.sqrt(3) * y * z, difference]
        harmonics += [math.sqrt(5) * component for component in second]
    if l_max >= 3:
        harmonics += [math.sqrt(7) * component for component in _third_degree(x, y, z, xz, difference, equator)]
    return torch.stack(harmonics, dim=1)


def _third_degree(
    x: Tensor, y: Tensor, z: Tensor, xz: Tensor, difference: Tensor, equator: Tensor
) -> tuple[Tensor, ...]:
    middle = math.sqrt(3 / 8) * (4 * y * y - equator)
    return (
        math.sqrt(5 / 6) * (xz * z + difference * x),
        math.sqrt(5) * xz * y,
        middle * x,
        y * (y * y - 1.5 * equator),
        middle * z,
        math.sqrt(5) * difference * y,
        math.sqrt(5 / 6) * (difference * z - xz * x),
    )


def coupling(l1: int, l2: int, l3: int) -> Tensor:
    """√(2 l3 + 1) times the Wigner 3j symbol: couples degrees l1 and l2 to l3 and keeps the size of components.

    Shapes:
        (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), float64.
    """
    # Importing e3nn takes seconds, and only the construction of some backbones needs it.
    from e3nn.o3 import wigner_3j

    symbol: Tensor = wigner_3j(l1, l2, l3, dtype=torch.float64)
    return math.sqrt(2 * l3 + 1) * symbol
