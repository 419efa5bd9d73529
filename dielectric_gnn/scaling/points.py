"""Measured losses: one `Run` per training, and `Points`, the runs that one scaling law is fitted to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dielectric_gnn.scaling.laws import FloatArray
from dielectric_gnn.utils.errors import InputError

EPOCHS = "epochs"
"""Name of the last variable of laws with repeated data; D then counts unique materials."""


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        name: Name for messages.
        group: Runs of one group (backbone, head and their options) share a law.
        values: Size of the training: `x`, `D` or `N`, or `N` and `D`; for laws with repeated data also `epochs`.
        loss: Its loss.
        seed: Its seed; None if unknown.
        flops: Floating-point operations of the training; None if they were not counted.
    """

    name: str
    group: str
    values: dict[str, float]
    loss: float
    seed: int | None = None
    flops: float | None = None


@dataclass(frozen=True)
class Points:
    """The runs that one law is fitted to.

    Args:
        title: What the runs have in common, for headings and messages.
        variables: Names of the quantities that vary: one of them, or `N` and `D`; then `epochs`, for a law with them.
        runs: The runs.
    """

    title: str
    variables: tuple[str, ...]
    runs: tuple[Run, ...]

    @classmethod
    def from_arrays(cls, title: str, x: Iterable[float], losses: Iterable[float], variable: str = "D") -> Points:
        """Points in one variable.

        Args:
            title: Name of the points.
            x: Values of the variable (n,).
            losses: Losses (n,).
            variable: Name of the variable.
        """
        pairs = [(float(value), float(loss)) for value, loss in zip(x, losses, strict=True)]
        runs = (Run(f"{variable} = {value:g}", title, {variable: value}, loss) for value, loss in pairs)
        return cls(title, (variable,), tuple(runs))

    @property
    def in_both(self) -> bool:
        """Whether the law is one in N and D."""
        return self.variables == ("N", "D")

    @property
    def has_repeats(self) -> bool:
        """Whether the law is one of repeated data: the epochs vary too."""
        return self.variables[-1] == EPOCHS

    @cached_property
    def values(self) -> FloatArray:
        """Values of the variables, (n, v)."""
        return np.array([[run.values[name] for name in self.variables] for run in self.runs])

    @cached_property
    def logs(self) -> FloatArray:
        """Natural logarithms of the variables, (n, v)."""
        return np.log(self.values)

    @cached_property
    def log_loss(self) -> FloatArray:
        """Natural logarithm of the losses, (n,)."""
        return np.log([run.loss for run in self.runs])

    @cached_property
    def sizes(self) -> FloatArray:
        """Distinct values of the variables, (m, v), ascending."""
        return np.unique(self.values, axis=0)

    @cached_property
    def losses_by_size(self) -> list[FloatArray]:
        """Losses of the seeds at each of the `sizes`."""
        losses = np.array([run.loss for run in self.runs])
        return [losses[(self.values == size).all(axis=1)] for size in self.sizes]

    def where(self, kept: Sequence[bool]) -> Points:
        """The runs for which `kept` is true."""
        return Points(self.title, self.variables, tuple(r for r, keep in zip(self.runs, kept, strict=True) if keep))

    def split_largest(self, number: int) -> tuple[Points, Points]:
        """The runs without those of the largest sizes (in N and D: of the largest N D), and those."""
        order = np.argsort(self.sizes.prod(axis=1), kind="stable")
        largest = self.sizes[order[-number:]]
        held = [(value == largest).all(axis=1).any() for value in self.values]
        return self.where([not one for one in held]), self.where(held)


def group_runs(runs: Sequence[Run], axis: str | None = None) -> list[Points]:
    """Group runs, each group in the variable or the two variables that vary in it.

    Args:
        runs: All runs.
        axis: `N`, `D` or `ND`: the variables of the laws; None takes those that vary.

    Raises:
        InputError: A loss or a size is not a positive number, a run occurs twice, or nothing varies.
    """
    found, errors = sound_groups(runs, axis)
    if errors:
        raise errors[0]
    return found


def sound_groups(runs: Sequence[Run], axis: str | None = None) -> tuple[list[Points], list[InputError]]:
    """The groups as in `group_runs` to which a law can be fitted, and what is wrong with the others."""
    found: list[Points] = []
    errors: list[InputError] = []
    for group in dict.fromkeys(run.group for run in runs):
        try:
            found += _group(group, tuple(run for run in runs if run.group == group), axis)
        except InputError as error:
            errors.append(error)
    return found, errors


def _group(group: str, members: tuple[Run, ...], axis: str | None) -> list[Points]:
    check_runs(members)
    names = tuple(members[0].values)
    varying = tuple(n for n in names if len({run.values[n] for run in members}) > 1)
    if EPOCHS in names:
        _check_repeats(group, names, varying, members)
    if axis:
        varying = (*axis, *(name for name in names if name == EPOCHS))
    if not varying:
        raise InputError(f"{group or 'the runs'}: all have the same {' and '.join(names)}; a law needs several sizes")
    if missing := [name for name in varying if name not in names]:
        raise InputError(f"{group or 'the runs'}: no column {missing[0]}; the columns are {', '.join(names)}")
    return _slices(group or "all runs", varying, members)


def _check_repeats(group: str, names: Sequence[str], varying: Sequence[str], members: Sequence[Run]) -> None:
    """Check that D and the epochs vary, without which the value of repetitions is unknown.

    Raises:
        InputError: They do not, or a run has less than one epoch.
    """
    where = group or "the runs"
    if short := [run.name for run in members if run.values[EPOCHS] < 1.0]:
        raise InputError(f"{where}: epochs is below 1 in {shortened(short)}; D counts the unique data of a run")
    for name in ("D", EPOCHS):
        if name not in varying:
            raise InputError(
                f"{where}: a law with repeated data requires several values of D and of epochs, and {name} "
                + (f"is {members[0].values[name]:g} in all runs" if name in names else "is not stated")
            )


def _slices(title: str, varying: tuple[str, ...], members: tuple[Run, ...]) -> list[Points]:
    """One group per value of the variable that a law does not have: a law in D holds at one N."""
    others = [name for name in members[0].values if name not in varying]
    keys = [tuple(run.values[name] for name in others) for run in members]
    distinct = sorted(set(keys))
    if len(distinct) == 1:
        return [Points(title, varying, members)]
    return [
        Points(
            f"{title}, " + ", ".join(f"{name} = {value:g}" for name, value in zip(others, key, strict=True)),
            varying,
            tuple(run for run, own in zip(members, keys, strict=True) if own == key),
        )
        for key in distinct
    ]


def check_runs(runs: Sequence[Run]) -> None:
    """Check that losses and sizes are positive numbers, and that no run occurs twice.

    Raises:
        InputError: They are not, or one does.
    """
    if bad := [run.name for run in runs if not _is_positive(run.loss)]:
        raise InputError(f"the loss is not a positive number in {shortened(bad)}; repeat these runs or leave them out")
    if bad := [run.name for run in runs if not all(map(_is_positive, run.values.values()))]:
        raise InputError(f"x, N or D is not a positive number in {shortened(bad)}")
    keys = [(run.group, *run.values.values(), run.seed) for run in runs]
    twice = {key for key, count in Counter(keys).items() if count > 1 and key[-1] is not None}
    if twice:
        names = [run.name for run, key in zip(runs, keys, strict=True) if key in twice]
        raise InputError(f"runs of the same size and seed: {shortened(names)}; keep one of each")


def shortened(names: Sequence[str], most: int = 5) -> str:
    """A list of names for a message, of which at most `most` are spelled out."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _is_positive(value: float) -> bool:
    return math.isfinite(value) and value > 0
