"""Splits by composition, and training subsets."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.limits import METADATA_MB, TooLargeError, read_bounded
from dielectric_gnn.utils.schemas import read_schema

SPLIT_NAMES = ("train", "val", "test")

SplitMethod: TypeAlias = Literal["published", "seeded"]
"""How a split is drawn: as in the published study, or with given shares and seed."""

SubsetMethod: TypeAlias = Literal["nested", "published"]
"""How a training subset is drawn: as a subset of every larger one, or as in the published study."""

SHARES = (0.8, 0.1, 0.1)
"""Default shares of formulas in training, validation and test."""

_PUBLISHED_SEED = 42
_PUBLISHED_SHARES = (0.8, 0.1)


def composition_split(
    material_ids: Sequence[str],
    formulas: Sequence[str],
    fractions: tuple[float, float, float] = SHARES,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Split so that all materials of one reduced formula are in the same part, as in arXiv:2602.05702.

    The fractions apply to the number of distinct formulas, which are shuffled with `seed`.

    Args:
        material_ids: The materials.
        formulas: Their reduced formulas.
        fractions: Shares of train, validation and test; they must add up to 1.
        seed: Seed of the shuffle.

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


def published_split(material_ids: Sequence[str], formulas: Sequence[str]) -> dict[str, list[str]]:
    """The split that the study of arXiv:2602.05702 draws from its raw data; for all its materials, the published split.

    The distinct reduced formulas are sorted and shuffled by NumPy's legacy generator with seed 42; the first 80 % of
    them are training, the next 10 % validation, the rest test, each count rounded down.

    Args:
        material_ids: The materials.
        formulas: Their reduced formulas.

    Returns:
        Material ids under `train`, `val` and `test`, in the order given.

    Raises:
        InputError: There are too few formulas: a part would be empty.
    """
    unique = np.unique(np.asarray(formulas, dtype=np.str_))
    np.random.RandomState(_PUBLISHED_SEED).shuffle(unique)
    num_train, num_val = (int(share * unique.size) for share in _PUBLISHED_SHARES)
    parts = np.split(unique, [num_train, num_train + num_val])
    if any(part.size == 0 for part in parts):
        raise InputError(
            f"{unique.size} distinct formulas are too few for the published split, which needs 10; set split to "
            "seeded, which keeps at least one for validation and test each"
        )
    side = {formula: name for name, part in zip(SPLIT_NAMES, parts, strict=True) for formula in part.tolist()}
    return {
        name: [m for m, formula in zip(material_ids, formulas, strict=True) if side[formula] == name]
        for name in SPLIT_NAMES
    }


def grouped_folds(groups: Sequence[str], num: int, seed: int = 0) -> NDArray[np.int64]:
    """Number of the fold of each material, such that no group is in two folds.

    The distinct groups are shuffled and dealt out in turn, so that folds have equal numbers of groups, to within one.

    Args:
        groups: Group of each material, for example its reduced formula, (D,).
        num: Number of folds.
        seed: Seed of the shuffle.

    Returns:
        Numbers from 0 to `num` − 1, (D,).

    Raises:
        InputError: `num` is less than 2, or more than the number of groups.
    """
    unique, place = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    if not 2 <= num <= unique.size:
        raise InputError(f"{num} folds, expected 2 to {unique.size}, the number of distinct groups (formulas)")
    fold = np.empty(unique.size, dtype=np.int64)
    fold[np.random.default_rng(seed).permutation(unique.size)] = np.arange(unique.size) % num
    return fold[place]


def nested_subset(material_ids: Sequence[str], size: int | None, seed: int = 0) -> list[str]:
    """The first `size` ids of one seeded permutation: every smaller subset is inside every larger one.

    Args:
        material_ids: All training materials.
        size: Number of materials; None keeps all, in the order given.
        seed: Seed of the permutation.

    Raises:
        InputError: `size` is not between 1 and the number of materials.
    """
    if size is None:
        return list(material_ids)
    return [material_ids[row] for row in nested_rows(np.array(material_ids, dtype=np.str_), size, seed)]


def subset_rows(
    ids: NDArray[np.str_], listed: Path | None, size: int | None, subset_seed: int, method: SubsetMethod = "nested"
) -> NDArray[np.int64]:
    """Positions of the training materials that are used: all, those in a list, or `size` drawn by `method`."""
    if listed is not None:
        return listed_rows(listed, ids)
    if size is None:
        return np.arange(ids.size)
    return published_rows(ids, size) if method == "published" else nested_rows(ids, size, subset_seed)


def published_rows(material_ids: NDArray[np.str_], size: int) -> NDArray[np.int64]:
    """Positions of the training materials that the study draws: `random.Random(42).sample` of the list sorted by id.

    Its prepared files contain the materials in the order of their ids. Smaller sets are not subsets of larger ones.

    Raises:
        InputError: As `nested_subset`.
    """
    _check_size(size, material_ids)
    order = np.argsort(material_ids)
    if size == material_ids.size:
        return order
    return order[random.Random(_PUBLISHED_SEED).sample(range(material_ids.size), size)]


def nested_rows(material_ids: NDArray[np.str_], size: int, seed: int = 0) -> NDArray[np.int64]:
    """Positions of the materials that `nested_subset` returns, without a string for every material.

    Raises:
        InputError: As `nested_subset`.
    """
    _check_size(size, material_ids)
    # After sorting, the subset depends only on the ids, not on the order of files on a disk.
    return np.argsort(material_ids)[np.random.default_rng(seed).permutation(material_ids.size)[:size]]


def _check_size(size: int, material_ids: NDArray[np.str_]) -> None:
    if not 1 <= size <= material_ids.size:
        raise InputError(f"train_size is {size}, expected 1 to {material_ids.size}, the training materials")


def listed_rows(path: Path, material_ids: NDArray[np.str_]) -> NDArray[np.int64]:
    """Positions of the materials that a file lists, in its order.

    Args:
        path: One material id per line.
        material_ids: The training materials.

    Raises:
        InputError: As `read_ids`; or an id is listed twice or is no training material.
    """
    listed = np.array(read_ids(path), dtype=np.str_)
    order = np.argsort(material_ids)
    places = np.searchsorted(material_ids, listed, sorter=order).clip(max=material_ids.size - 1)
    rows = order[places]
    unknown = listed[material_ids[rows] != listed].tolist()
    if unknown:
        shown = ", ".join(map(repr, unknown[:3])) + (", …" if len(unknown) > 3 else "")
        raise InputError(
            f"{path}: {len(unknown)} of {listed.size} ids are not among the {material_ids.size} training materials "
            f"({shown}); remove them from the list, or read the data set that contains them"
        )
    found, counts = np.unique(listed, return_counts=True)
    if found.size < listed.size:
        raise InputError(f"{path}: id {str(found[counts.argmax()])!r} is listed {counts.max()} times, expected once")
    return rows


@with_config(ConfigDict(extra="forbid"))
class _SplitFile(TypedDict):
    """Content of the file of `data.split_ids`."""

    train: list[str]
    val: list[str]
    test: list[str]


def read_split(path: Path) -> dict[str, list[str]]:
    """A split from a JSON file with the ids of `train`, `val` and `test`, of which any may be empty.

    Raises:
        InputError: The file cannot be read, or is no such split.
    """
    try:
        with path.expanduser().open("rb") as file:
            text = read_bounded(file, METADATA_MB)
    except (OSError, TooLargeError) as error:
        raise InputError(f"{path}: not a readable split ({error})") from error
    cure = "expected lists of ids under train, val and test"
    found = read_schema(f"{path}: not a split", text, _SplitFile, cure)
    return {"train": found["train"], "val": found["val"], "test": found["test"]}


def split_positions(split: Mapping[str, Sequence[str]], ids: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """The parts of a split as positions among all materials.

    Raises:
        InputError: An id is no material, or occurs twice.
    """
    position = {material_id: row for row, material_id in enumerate(ids)}
    seen: dict[str, str] = {}
    for name in SPLIT_NAMES:
        for material_id in split[name]:
            if material_id not in position:
                raise InputError(f"the split puts {material_id!r} into {name}, but no such material was read")
            if material_id in seen:
                raise InputError(f"the split puts {material_id!r} into {seen[material_id]} and into {name}")
            seen[material_id] = name
    return {name: np.array([position[m] for m in split[name]], dtype=np.int64) for name in SPLIT_NAMES}


def read_ids(path: Path) -> list[str]:
    """Material ids from a file, one per line; empty lines and blanks around an id are ignored.

    Raises:
        InputError: The file cannot be read, or is empty.
    """
    try:
        lines = path.expanduser().read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable list of ids ({error})") from error
    ids = [line.strip() for line in lines if line.strip()]
    if not ids:
        raise InputError(f"{path}: the list is empty, expected one material id per line")
    return ids
