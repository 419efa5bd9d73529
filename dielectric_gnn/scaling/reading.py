"""Runs from wherever they are stored: a folder of run records, a CSV file, a data frame or records in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from dielectric_gnn.scaling.checkpoints import runs_from_checkpoints
from dielectric_gnn.scaling.grouping import check_compatible, group_records, run_name
from dielectric_gnn.scaling.points import EPOCHS, Run, shortened
from dielectric_gnn.scaling.table import Row, Table, read_csv, table_from_dataframe
from dielectric_gnn.training.run_record import RunRecord, read_records
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import user_path

if TYPE_CHECKING:
    import pandas as pd

Source: TypeAlias = "str | Path | pd.DataFrame | Iterable[RunRecord]"
"""A folder with run records, a CSV file, a data frame with the columns of such a file, or run records."""

DEFAULT_METRIC = "best_validation_loss"
"""Metric of run records that is fitted unless another is named: the lowest validation loss of a run."""

_COLUMNS = ("loss", "x", "N", "D", "seed", "run", "group", "flops")
_HIGHER_IS_BETTER = ("r2", "sc")
"""Beginnings of the names of metrics that grow as a model learns."""


@dataclass(frozen=True)
class Reading:
    """How runs are read.

    Args:
        metric: Metric of run records; None takes the lowest validation loss.
        columns: Names of columns of a table by known name, where they differ.
        one_minus: Whether one minus the metric is fitted, for metrics that grow to one.
        checkpoints: Whether the validation losses within each training are read instead of one loss per training.
        repeats: Whether the epochs are a variable of the law.
    """

    metric: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    one_minus: bool = False
    checkpoints: bool = False
    repeats: bool = False

    def __post_init__(self) -> None:
        if self.checkpoints and self.repeats:
            raise InputError("checkpoints and repeats are two laws; give one of them")

    @property
    def known_columns(self) -> tuple[str, ...]:
        """Names of the columns of a table that are read."""
        return (*_COLUMNS, EPOCHS) if self.repeats else _COLUMNS


def read_runs(source: Source, reading: Reading = Reading()) -> tuple[list[Run], list[str]]:
    """Read runs from any source.

    Args:
        source: Folder, CSV file, data frame or run records.
        reading: How they are read.

    Returns:
        The runs, and remarks: what was left out, what has no effect, and what may distort a law.

    Raises:
        InputError: The source cannot be read, or its runs cannot share a law.
    """
    metric = reading.metric
    if metric is not None and metric.rpartition("/")[2].startswith(_HIGHER_IS_BETTER) and not reading.one_minus:
        raise InputError(
            f"metric {metric}: higher is better, but scaling laws decrease; fit one minus the metric (one_minus), or "
            "give an error or a loss, such as test/loss or test/mae"
        )
    runs, remarks = _read(source, reading)
    return ([_one_minus(run) for run in runs] if reading.one_minus else runs), remarks


def _read(source: Source, reading: Reading) -> tuple[list[Run], list[str]]:
    if isinstance(source, str | Path):
        path = user_path(str(source))
        if not path.exists():
            raise InputError(f"{path}: no such file or folder; give a folder with run records, or a CSV file")
        if path.is_file():
            return runs_from_csv(path, reading)
        return _from_records(read_records(path), reading)
    if hasattr(source, "columns"):
        return _runs_from_table(table_from_dataframe(source, reading.known_columns, reading.columns), reading)
    return _from_records(source, reading)


def _from_records(records: Iterable[RunRecord], reading: Reading) -> tuple[list[Run], list[str]]:
    if reading.checkpoints:
        return runs_from_checkpoints(list(records))
    return runs_from_records(records, reading.metric or DEFAULT_METRIC, reading.repeats)


def _one_minus(run: Run) -> Run:
    if not run.loss < 1.0:
        raise InputError(f"{run.name}: the metric is {run.loss:g}, expected less than 1 with one_minus")
    return replace(run, loss=1.0 - run.loss)


def metric_name(source: Source, reading: Reading = Reading()) -> str:
    """Name of the quantity that is fitted: `loss` or its column in a table, or a metric of run records."""
    is_table = Path(source).expanduser().is_file() if isinstance(source, str | Path) else hasattr(source, "columns")
    name = reading.columns.get("loss", "loss") if is_table else reading.metric or DEFAULT_METRIC
    return f"1 − {name}" if reading.one_minus else name


def runs_from_csv(path: Path, reading: Reading = Reading()) -> tuple[list[Run], list[str]]:
    """Runs from a CSV with the columns `loss`, `x` or `D` or `N` or both, and if known `seed`, `run`, `group`, `flops`.

    Returns:
        The runs, and remarks on columns that are not used and on a metric, which has no effect.

    Raises:
        InputError: A column or a number is missing; the message names the line.
    """
    return _runs_from_table(read_csv(path, reading.known_columns, reading.columns), reading)


def _runs_from_table(table: Table, reading: Reading) -> tuple[list[Run], list[str]]:
    metric = reading.metric
    axes: list[str] = [name for name in ("x", "N", "D") if name in table.columns]
    if "loss" not in table.columns or not axes or ("x" in axes and len(axes) > 1):
        raise InputError(
            f"{table.name}: its columns are {', '.join(table.header)}; expected `loss` with `x`, `D`, `N`, or `N` and "
            "`D`; name others by the option column, such as --column loss=val_loss"
        )
    if reading.repeats and not {"D", EPOCHS} <= set(table.columns):
        raise InputError(
            f"{table.name}: its columns are {', '.join(table.header)}; a law with repeated data requires `D`, of "
            "unique data, and `epochs`; name others by the option column, such as --column epochs=passes"
        )
    axes += [EPOCHS] if reading.repeats else []
    remarks = [f"metric {metric} has no effect: the column `loss` of {table.name} is fitted"] if metric else []
    runs, repeated = _without_repeats([_run(row, axes) for row in table.rows])
    return runs, [*remarks, *table.remarks, *repeated]


def _without_repeats(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Runs without those that repeat another in group, sizes and loss, if no seed tells them apart, and a remark."""
    first: dict[tuple[object, ...], Run] = {}
    repeated = []
    for place, run in enumerate(runs):
        key = (run.group, *run.values.values(), run.loss) if run.seed is None else (place,)
        if first.setdefault(key, run) is not run:
            repeated.append(f"{run.name} (as {first[key].name})")
    remarks = [f"left out: equal rows without a seed: {shortened(repeated)}"] if repeated else []
    return list(first.values()), remarks


def _run(row: Row, axes: Sequence[str]) -> Run:
    return Run(
        row.cells.get("run", row.where),
        row.cells.get("group", ""),
        {name: row.number(name) for name in axes},
        row.number("loss"),
        row.integer("seed") if "seed" in row.cells else None,
        row.number("flops") if "flops" in row.cells else None,
    )


def runs_from_records(
    records: Iterable[RunRecord], metric: str = DEFAULT_METRIC, repeats: bool = False
) -> tuple[list[Run], list[str]]:
    """Runs from run records, and remarks: what was left out, and what may distort a law.

    Runs that are not finished are left out, and those that were continued on other materials than they began with.

    Raises:
        InputError: A finished run lacks the metric, which the message names with the metrics that the run has; the
            metric is not finite; or runs of one group cannot share a law.
    """
    finished, remarks = [], []
    for record in records:
        if record.status != "finished":
            remarks.append(f"left out: {run_name(record)} is {record.status}")
        elif record.trained_on_several_sets:
            sizes = ", then ".join(str(segment["num_train"]) for segment in record.segments)
            remarks.append(f"left out: {run_name(record)} was continued on other materials (on {sizes})")
        else:
            finished.append(record)
    groups, group_remarks = group_records(finished)
    remarks += group_remarks
    runs: list[Run] = []
    errors: list[InputError] = []
    for group in dict.fromkeys(groups):
        members = [record for record, own in zip(finished, groups, strict=True) if own == group]
        try:
            found, own_remarks = _runs_of_group(group, members, metric, repeats)
        except InputError as error:
            errors.append(error)
            continue
        runs += found
        remarks += own_remarks
    if errors and not runs:
        raise errors[0]
    return runs, remarks + [f"left out: {error}" for error in errors]


def _runs_of_group(group: str, records: Sequence[RunRecord], metric: str, repeats: bool) -> tuple[list[Run], list[str]]:
    """Runs of one group, and remarks on what may distort its law."""
    losses = [_loss(record, metric) for record in records]
    if bad := [run_name(record) for record, loss in zip(records, losses, strict=True) if not math.isfinite(loss)]:
        raise InputError(
            f"{metric} is not finite in {shortened(bad)}: these trainings diverged; repeat them with a lower learning "
            "rate, or move their folders elsewhere"
        )
    remarks = check_compatible(group, records, metric, varied_length=repeats)
    runs = [
        Run(
            run_name(record),
            group,
            {
                "N": float(record.num_parameters),
                "D": float(record.num_train),
                **({EPOCHS: record.samples_seen / max(record.num_train, 1)} if repeats else {}),
            },
            loss,
            record.seed,
            record.training_flops,
        )
        for record, loss in zip(records, losses, strict=True)
    ]
    return runs, remarks


def _loss(record: RunRecord, metric: str) -> float:
    """The metric of a run; NaN if it was measured but was not finite."""
    loss = record.best_validation_loss if metric == DEFAULT_METRIC else record.metrics.get(metric)
    if loss is not None:
        return loss
    if metric == DEFAULT_METRIC and any("validation/loss" in point for point in record.learning_curve):
        return math.nan
    best = [DEFAULT_METRIC] if record.best_validation_loss is not None else []
    known = ", ".join([*best, *sorted(record.metrics)]) or "none"
    raise InputError(f"run {run_name(record)} has no metric {metric!r}; its metrics are {known}")
