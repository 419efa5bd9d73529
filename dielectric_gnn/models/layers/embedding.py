"""Elements as features."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from dielectric_gnn.data.elements import element_properties
from dielectric_gnn.data.record import MAX_ATOMIC_NUMBER

NUM_GROUPS = 18
NUM_PERIODS = 6

_PERIOD_LENGTHS = (2, 8, 8, 18, 18, 32)


class NodeEmbedding(nn.Module, ABC):
    """Turns atomic numbers into features.

    Shapes:
        atomic_numbers (N,) from 1 to 83 → (N, dim).

    Args:
        dim: Number of features.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    @abstractmethod
    def forward(self, atomic_numbers: Tensor) -> Tensor:
        """Features of each atom."""


class AtomEmbedding(NodeEmbedding):
    """A learned vector for each of the 83 elements from H to Bi.

    Args:
        dim: Its length.
    """

    def __init__(self, dim: int = 64) -> None:
        super().__init__(dim)
        self.vectors = nn.Embedding(MAX_ATOMIC_NUMBER, dim)

    def forward(self, atomic_numbers: Tensor) -> Tensor:
        """Features of each atom."""
        features: Tensor = self.vectors(atomic_numbers - 1)
        return features


class GroupPeriodEmbedding(NodeEmbedding):
    """One-hot group (18) and one-hot period (6) of each element, without parameters.

    Elements absent from the training set share group and period with others
    (doi:10.1103/PhysRevMaterials.8.L122201).
    """

    table: Tensor

    def __init__(self) -> None:
        super().__init__(NUM_GROUPS + NUM_PERIODS)
        table = torch.zeros(MAX_ATOMIC_NUMBER + 1, self.dim)
        for number in range(1, MAX_ATOMIC_NUMBER + 1):
            group, period = group_and_period(number)
            table[number, group - 1] = 1
            table[number, NUM_GROUPS + period - 1] = 1
        self.register_buffer("table", table, persistent=False)

    def forward(self, atomic_numbers: Tensor) -> Tensor:
        """Features of each atom."""
        return self.table.index_select(0, atomic_numbers)


class ElementProperties(NodeEmbedding):
    """Standardised properties of the elements, without parameters: similar elements have similar features.

    Electronegativity, radii, ionisation energies, electrons by shell, atomic volume, melting point and others, from
    the table of `data.elements`; each has mean 0 and variance 1 over the elements from H to Bi.

    Args:
        group_period: Whether the features of `GroupPeriodEmbedding` follow.
    """

    table: Tensor

    def __init__(self, group_period: bool = True) -> None:
        values = element_properties()[1 : MAX_ATOMIC_NUMBER + 1]
        standardised = ((values - values.mean(dim=0)) / values.std(dim=0, correction=0)).float()
        parts = [torch.cat([standardised.new_zeros(1, standardised.shape[1]), standardised])]
        if group_period:
            parts.append(GroupPeriodEmbedding().table)
        table = torch.cat(parts, dim=1)
        super().__init__(table.shape[1])
        self.register_buffer("table", table, persistent=False)

    def forward(self, atomic_numbers: Tensor) -> Tensor:
        """Features of each atom."""
        return self.table.index_select(0, atomic_numbers)


def group_and_period(atomic_number: int) -> tuple[int, int]:
    """Group (1–18) and period (1–6) of an element up to Rn; the lanthanides count as group 3.

    Example:
        >>> [group_and_period(z) for z in (1, 2, 6, 29, 58, 72, 83)]
        [(1, 1), (18, 1), (14, 2), (11, 4), (3, 6), (4, 6), (15, 6)]
    """
    place, period = atomic_number, 1
    while place > _PERIOD_LENGTHS[period - 1]:
        place -= _PERIOD_LENGTHS[period - 1]
        period += 1
    s_block = 1 if period == 1 else 2
    if place <= s_block:
        return place, period
    from_right = _PERIOD_LENGTHS[period - 1] - place
    return max(NUM_GROUPS - from_right, 3), period
