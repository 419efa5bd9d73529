"""Losses to be fitted: what was measured where, with which seed; read from a CSV or from run records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dielectric_gnn.scaling.grouping import check_mixture, groups_of, name_of
from dielectric_gnn.scaling.laws import FloatArray
from dielectric_gnn.scaling.table import Row, read_rows
from dielectric_gnn.training.run_record import RunRecord
from dielectric_gnn.utils.errors import InputError

VALIDATION = "best_validation_loss"
"""Metric that is fitted unless another is named: the lowest validation loss of a run."""

_COLUMNS = ("loss", "x", "N", "D", "seed", "run", "group", "flops")


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        name: For messages.
        group: Runs of one group (backbone, head and their options) share a law.
        values: Where it was: `x`, or `N` and `D`.
        loss: Its loss.
        seed: Its seed, where known.
        flops: Of the training, where counted.
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
        title: What they have in common.
        variables: Names of the quantities that vary: one, or `N` and `D`.
        runs: The runs.
    """

    title: str
    variables: tuple[str, ...]
    runs: tuple[Run, ...]

    @cached_property
    def logs(self) -> FloatArray:
        """Natural logarithms of the variables, (n, v)."""
        return np.log([[run.values[name] for name in self.variables] for run in self.runs])

    @cached_property
    def log_loss(self) -> FloatArray:
        """Logarithm of the losses, (n,)."""
        return np.log([run.loss for run in self.runs])

    @cached_property
    def sizes(self) -> FloatArray:
        """Distinct values of the variables, (m, v), ascending."""
        return np.unique(np.array([[run.values[name] for name in self.variables] for run in self.runs]), axis=0)

    @cached_property
    def members(self) -> list[FloatArray]:
        """Losses of the seeds at each size."""
        where = np.array([[run.values[name] for name in self.variables] for run in self.runs])
        losses = np.array([run.loss for run in self.runs])
        return [losses[(where == size).all(axis=1)] for size in self.sizes]

    def without(self, size: FloatArray) -> Points:
        """The runs of all other sizes."""
        kept = [run for run in self.runs if not np.array_equal([run.values[n] for n in self.variables], size)]
        return Points(self.title, self.variables, tuple(kept))

    def with_losses(self, losses: Iterable[float]) -> Points:
        """The same runs with other losses."""
        runs = (
            Run(r.name, r.group, r.values, float(v), r.seed, r.flops) for r, v in zip(self.runs, losses, strict=True)
        )
        return Points(self.title, self.variables, tuple(runs))


def points(title: str, x: Iterable[float], losses: Iterable[float], variable: str = "D") -> Points:
    """Points in one variable from plain numbers."""
    return Points(
        title,
        (variable,),
        tuple(
            Run(f"{variable} = {a:g}", title, {variable: float(a)}, float(b)) for a, b in zip(x, losses, strict=True)
        ),
    )


def read_csv(path: Path) -> list[Run]:
    """Runs from a CSV: those of `read_table`."""
    return read_table(path)[0]


def read_table(path: Path) -> tuple[list[Run], list[str]]:
    """Runs from a CSV with the columns `loss`, `x` or `D` or `N` or both, and if known `seed`, `run`, `group`, `flops`.

    Returns:
        The runs, and a remark if there are columns that are not used.

    Raises:
        InputError: A column or a number is missing; the message names the line.
    """
    columns, rows, remarks = read_rows(path, _COLUMNS)
    axes = [name for name in ("x", "N", "D") if name in columns]
    if "loss" not in columns or not axes or ("x" in axes and len(axes) > 1):
        raise InputError(
            f"{path}: of the columns that are known it has {', '.join(columns) or 'none'}; expected `loss` with `x`, "
            "`D`, `N`, or `N` and `D`"
        )
    return [_run(row, axes) for row in rows], remarks


def _run(row: Row, axes: Sequence[str]) -> Run:
    return Run(
        row.cells.get("run", row.where),
        row.cells.get("group", ""),
        {name: row.number(name) for name in axes},
        row.number("loss"),
        row.whole("seed") if "seed" in row.cells else None,
        row.number("flops") if "flops" in row.cells else None,
    )


def runs_of(records: Iterable[RunRecord], metric: str = VALIDATION) -> tuple[list[Run], list[str]]:
    """Runs from run records, and remarks: what was left out, and what may bend a law.

    Left out are runs that are not finished, and those that were continued on other materials than they began with.

    Raises:
        InputError: A finished run lacks the metric, which the message names with those that there are; the metric is
            not finite; or runs of one group cannot share a law.
    """
    finished, remarks = [], []
    for record in records:
        if record.status != "finished":
            remarks.append(f"left out: {name_of(record)} is {record.status}")
        elif record.trained_on_several_sets:
            sizes = ", then ".join(str(segment["num_train"]) for segment in record.segments)
            remarks.append(f"left out: {name_of(record)} was continued on other materials (on {sizes})")
        else:
            finished.append(record)
    losses = [_loss(record, metric) for record in finished]
    if bad := [name_of(record) for record, loss in zip(finished, losses, strict=True) if not math.isfinite(loss)]:
        raise InputError(
            f"{metric} is not finite in {_some(bad)}: these trainings diverged; repeat them with a lower learning "
            "rate, or take their folders away"
        )
    groups, told = groups_of(finished)
    remarks += told
    for group in dict.fromkeys(groups):
        members = [record for record, own in zip(finished, groups, strict=True) if own == group]
        remarks += check_mixture(group, members, metric)
    return [
        Run(
            name_of(record),
            group,
            {"N": float(record.num_parameters), "D": float(record.num_train)},
            loss,
            record.seed,
            record.training_flops,
        )
        for record, group, loss in zip(finished, groups, losses, strict=True)
    ], remarks


def _loss(record: RunRecord, metric: str) -> float:
    """The metric of a run; NaN where it was measured, and was not finite."""
    loss = record.best_validation_loss if metric == VALIDATION else record.metrics.get(metric)
    if loss is not None:
        return loss
    if metric == VALIDATION and any("validation/loss" in point for point in record.learning_curve):
        return math.nan
    there = [VALIDATION] if record.best_validation_loss is not None else []
    known = ", ".join([*there, *sorted(record.metrics)]) or "none at all"
    raise InputError(f"run {name_of(record)} has no {metric!r}; it has {known}")


def grouped(runs: Sequence[Run], axis: str | None = None) -> list[Points]:
    """The runs by group, each in the variable (or the two) that varies in it.

    Args:
        runs: All of them.
        axis: `N`, `D` or `ND` instead of what varies.

    Raises:
        InputError: Losses that are not positive numbers, runs that occur twice, or nothing that varies.
    """
    check(runs)
    found = []
    for group in dict.fromkeys(run.group for run in runs):
        members = tuple(run for run in runs if run.group == group)
        names = tuple(members[0].values)
        varying = tuple(axis) if axis else tuple(n for n in names if len({run.values[n] for run in members}) > 1)
        if not varying:
            raise InputError(
                f"{group or 'the runs'}: all have the same {' and '.join(names)}; a law needs several sizes"
            )
        if missing := [name for name in varying if name not in names]:
            raise InputError(f"{group or 'the runs'}: no column {missing[0]}; there are {', '.join(names)}")
        found += _slices(group or "all runs", varying, members)
    return found


def _slices(title: str, varying: tuple[str, ...], members: tuple[Run, ...]) -> list[Points]:
    """A law in D holds at one N, and the other way round: runs of other values make groups of their own."""
    others = [name for name in members[0].values if name not in varying]
    keys = [tuple(run.values[name] for name in others) for run in members]
    several = sorted(set(keys))
    if len(several) == 1:
        return [Points(title, varying, members)]
    return [
        Points(
            f"{title}, " + ", ".join(f"{name} = {value:g}" for name, value in zip(others, key, strict=True)),
            varying,
            tuple(run for run, own in zip(members, keys, strict=True) if own == key),
        )
        for key in several
    ]


def check(runs: Sequence[Run]) -> None:
    """Refuse losses and sizes that are not positive numbers, and runs that occur twice."""
    bad = [run.name for run in runs if not (math.isfinite(run.loss) and run.loss > 0)]
    if bad:
        raise InputError(f"the loss is no positive number in {_some(bad)}; repeat these runs or leave them out")
    bad = [run.name for run in runs if not all(math.isfinite(v) and v > 0 for v in run.values.values())]
    if bad:
        raise InputError(f"x, N or D is no positive number in {_some(bad)}")
    keys = [(run.group, *run.values.values(), run.seed) for run in runs]
    twice = {key for key, count in Counter(keys).items() if count > 1 and key[-1] is not None}
    if twice:
        names = [run.name for run, key in zip(runs, keys, strict=True) if key in twice]
        raise InputError(f"runs of the same size and seed: {_some(names)}; keep one of each")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
