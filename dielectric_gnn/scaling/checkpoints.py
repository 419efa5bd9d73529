"""Validation losses within trainings as points: how the loss falls with the materials that were processed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dielectric_gnn.scaling.grouping import group_records, run_name
from dielectric_gnn.scaling.points import Run
from dielectric_gnn.training.run_record import RunRecord
from dielectric_gnn.utils.errors import InputError

_MAX_POINTS = 12
"""Points of one training, evenly spaced in ln x: losses of consecutive epochs are no independent measurements."""


def runs_from_checkpoints(records: Sequence[RunRecord]) -> tuple[list[Run], list[str]]:
    """One run per validation of each finished training; x is the number of materials processed so far.

    Trainings of one model and one D, which differ in the seed, share a law. The learning rate is still high in the
    middle of a training, so these losses are above those of trainings that end there.

    Raises:
        InputError: No record has a learning curve with validation losses.
    """
    finished = [record for record in records if record.status == "finished"]
    groups, remarks = group_records(finished)
    runs = [
        Run(f"{run_name(record)}, step {step:g}", f"{group}, N = {record.num_parameters:g}, D = {record.num_train:g}",
            {"x": step * record.samples_seen / record.steps}, loss, record.seed)
        for record, group in zip(finished, groups, strict=True)
        for step, loss in _points(record)
    ]  # fmt: skip
    if not runs:
        raise InputError("no finished run has a learning curve with validation losses; leave out checkpoints")
    return runs, [*remarks, *(f"left out: {run_name(r)} is {r.status}" for r in records if r.status != "finished")]


def _points(record: RunRecord) -> Iterator[tuple[float, float]]:
    """Step and validation loss of the chosen points of one training."""
    known = [
        (float(step), float(loss))
        for point in record.learning_curve
        if (loss := point.get("validation/loss")) is not None and (step := point.get("step")) and loss > 0
    ]
    if not known or not record.steps:
        return
    log_steps = np.log([step for step, _ in known])
    targets = np.linspace(log_steps[0], log_steps[-1], _MAX_POINTS)
    for place in sorted({int(np.abs(log_steps - target).argmin()) for target in targets}):
        yield known[place]
