"""Splits that no composition crosses, and strictly nested training subsets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dielectric_gnn.errors import InputError

SPLIT_NAMES = ("train", "val", "test")


def composition_split(
    material_ids: Sequence[str],
    formulas: Sequence[str],
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> dict[str, list[str]]:
    """Split so that all materials of one reduced formula fall on the same side, as in arXiv:2602.05702.

    The fractions apply to the number of distinct formulas, which are shuffled with `seed`.

    Args:
        material_ids: The materials.
        formulas: Their reduced formulas.
        fractions: Shares of train, validation and test; they must add up to 1.
        seed: Of the shuffle.

    Returns:
        Material ids under `train`, `val` and `test`, in the order given; no split is empty.

    Raises:
        InputError: Fractions that do not add up to 1, or fewer than three formulas.
    """
    if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise InputError(f"split fractions are {fractions}, expected three positive numbers that add up to 1")
    unique = sorted(set(formulas))
    if len(unique) < len(SPLIT_NAMES):
        raise InputError(f"{len(unique)} distinct formulas cannot be split into train, validation and test")
    order = np.random.default_rng(seed).permutation(len(unique))
    held_out = [max(1, round(fraction * len(unique))) for fraction in fractions[1:]]
    first_val = len(unique) - sum(held_out)
    side = {}
    for position, formula in enumerate(order):
        part = 0 if position < first_val else 1 if position < first_val + held_out[0] else 2
        side[unique[formula]] = SPLIT_NAMES[part]
    return {
        name: [m for m, formula in zip(material_ids, formulas, strict=True) if side[formula] == name]
        for name in SPLIT_NAMES
    }


def nested_subset(material_ids: Sequence[str], size: int | None, seed: int = 0) -> list[str]:
    """The first `size` ids of one seeded permutation: every smaller subset is inside every larger one.

    Args:
        material_ids: The whole training set.
        size: Number of materials; None keeps all, in the order given.
        seed: Of the permutation.

    Raises:
        InputError: `size` is not between 1 and the number of materials.
    """
    if size is None:
        return list(material_ids)
    if not 1 <= size <= len(material_ids):
        raise InputError(f"train_size is {size}, expected 1 to {len(material_ids)}, the training materials")
    # Sorting first makes the subset depend on the ids alone, not on the order of files on a disk.
    ordered = sorted(material_ids)
    order = np.random.default_rng(seed).permutation(len(ordered))
    return [ordered[position] for position in order[:size]]
