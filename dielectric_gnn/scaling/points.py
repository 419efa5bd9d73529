"""Losses to be fitted: what was measured where, with which seed; read from a CSV or from run records."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dielectric_gnn.errors import InputError
from dielectric_gnn.run_record import RunRecord
from dielectric_gnn.scaling.laws import FloatArray

VALIDATION = "best_validation_loss"
"""Metric that is fitted unless another is named: the lowest validation loss of a run."""


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        name: For messages.
        group: Runs of one group (backbone and head) share a law.
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
    """Runs from a CSV with the columns `loss`, `x` or `D` or `N` or both, and if known `seed`, `run`, `group`, `flops`.

    Raises:
        InputError: A column or a number is missing; the message names the line.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(line for line in file if not line.startswith("#"))
            columns, rows = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a readable CSV ({error})") from error
    axes = [name for name in ("x", "N", "D") if name in columns]
    if "loss" not in columns or not axes or ("x" in axes and len(axes) > 1):
        raise InputError(f"{path}: its columns are {columns}; expected `loss` with `x`, `D`, `N`, or `N` and `D`")
    if not rows:
        raise InputError(f"{path}: no rows below the header; expected one per run")
    return [_row(path, number, row, axes) for number, row in enumerate(rows, start=1)]


def _row(path: Path, number: int, row: dict[str, str], axes: Sequence[str]) -> Run:
    where = f"{path}, row {number}"

    def value(key: str) -> float:
        try:
            return float(row[key])
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: {key} is {row[key]!r}, expected a number") from error

    return Run(
        row.get("run") or where,
        row.get("group") or "",
        {name: value(name) for name in axes},
        value("loss"),
        int(value("seed")) if row.get("seed") else None,
        value("flops") if row.get("flops") else None,
    )


def runs_of(records: Iterable[RunRecord], metric: str = VALIDATION) -> tuple[list[Run], list[str]]:
    """Runs from run records, and remarks about those that were left out because they are not finished.

    Raises:
        InputError: A finished run lacks the metric, which the message names with those that there are.
    """
    runs, remarks = [], []
    for record in records:
        name = f"{record.name or record.config_hash} (seed {record.seed})"
        if record.status != "finished":
            remarks.append(f"left out: {name} is {record.status}")
            continue
        loss = record.best_validation_loss if metric == VALIDATION else record.metrics.get(metric)
        if loss is None:
            known = ", ".join([VALIDATION, *sorted(record.metrics)])
            raise InputError(f"run {name} has no {metric!r}; it has {known}")
        values = {"N": float(record.num_parameters), "D": float(record.num_train)}
        group = f"{record.backbone} / {record.head}"
        runs.append(Run(name, group, values, loss, record.seed, record.training_flops))
    return runs, remarks


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
