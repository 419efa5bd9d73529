"""Run records: one JSON file per training for scaling analysis, with a schema version.

Reading and writing them does not import PyTorch, so that an analysis starts quickly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict

from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import write_text
from dielectric_gnn.utils.json_values import json_value
from dielectric_gnn.utils.schemas import read_schema, validated_plain_data

SCHEMA = 3
"""Version of the file's layout. Earlier records are still read: before 2 they state neither objective nor family,
before 3 no segments."""

RECORD = "run_record.json"
"""Name of the file in the folder of a run."""

_CURE = (
    "repeat the `fit` command of the run, which resumes from its checkpoint and writes the record again, then `test`"
)

Status = Literal["running", "finished", "interrupted", "failed"]
Count = Annotated[int, Field(ge=0)]
Measured = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""JSON null represents a number that is not finite."""


def _validated_cost(cost: Mapping[str, Any]) -> Mapping[str, Any]:
    """The cost; the entries that are summed over launches must be numbers."""
    for key, value in cost.items():
        if (key.endswith("_seconds") or key == "launches") and (
            isinstance(value, bool) or not isinstance(value, int | float)
        ):
            raise ValueError(f"{key} is {value!r}, expected a number")
    return validated_plain_data(cost)


class Segment(TypedDict):
    """A part of a training on one set of materials: where it began, and on what."""

    epoch: Count
    samples_seen: Count
    num_train: Count
    subset: str


class _Version(TypedDict):
    schema_version: Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class RunRecord:
    """One training: what was trained on how much, at what cost, and how well it did.

    Args:
        study: Name of the study that the run belongs to; empty for a run on its own.
        name: Name of the run within the study.
        status: `finished` once the last epoch is done; `interrupted` by a signal; `failed` with an error; `running`.
        backbone: Class and message passing of the backbone in short, such as `OptiMetal2B-CGConv`.
        head: Class of the head; empty for a baseline.
        width: Channels of the backbone; None where it has no single width.
        num_parameters: N, trainable parameters; of a baseline, the values of its fitted state.
        num_train: D, training materials.
        subset: Identifier of the set of training materials: equal for equal sets.
        seed: Of initial weights and the order of batches.
        epochs: Complete epochs.
        steps: Optimiser steps.
        samples_seen: Materials that went through the network in training, counted once per epoch.
        best_validation_loss: Lowest validation loss over the epochs; None before the first.
        metrics: `validation/...` of the best epoch and, once tested, `test/...`: means over materials.
        learning_curve: Per epoch, numbers by name: `epoch`, `step`, `train/loss`, `validation/loss`, `lr`.
        training_flops: Floating-point operations of the training; see `flops_method`. None where not counted.
        flops_method: How they were counted.
        cost: `cpu_seconds` and `wall_seconds` (training, all launches and processes together), `gpu_seconds`,
            `test_cpu_seconds`, `devices`, `accelerator`, `world_size`, `precision`, `threads`, `launches`.
        versions: Of the software.
        config_hash: Of model and data settings.
        objective: Class and settings of what was minimised; empty where unknown.
        family: Hash of what models of one scaling law have in common: the settings of backbone (without its width),
            pooling and head; empty where unknown.
        settings: Of the training: `learning_rate` (peak, after scaling), `optimizer`, `batch_size`, `max_epochs`,
            `source` of the materials, `validation` and `test` (identifiers as `subset`), ...
        segments: What was trained on when, in order: `epoch` and `samples_seen` at which a segment begins, `num_train`
            and `subset`. More than one: the training was continued on other materials. Empty where unknown.
        schema_version: Of this layout.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    name: str
    status: Status
    backbone: str
    head: str
    num_parameters: Count
    num_train: Count
    subset: str
    seed: int | None
    epochs: Count
    steps: Count
    samples_seen: Count
    width: int | None = None
    study: str = ""
    best_validation_loss: float | None = None
    metrics: dict[str, Measured] = field(default_factory=dict)
    learning_curve: tuple[dict[str, float | None], ...] = ()
    training_flops: float | None = None
    flops_method: str | None = None
    cost: Annotated[dict[str, Any], AfterValidator(_validated_cost)] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    config_hash: str = ""
    objective: str = ""
    family: str = ""
    settings: Annotated[dict[str, Any], AfterValidator(validated_plain_data)] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    schema_version: Annotated[int, Field(ge=1, le=SCHEMA)] = SCHEMA

    @property
    def trained_on_several_sets(self) -> bool:
        """Whether the training was continued on other materials than it began with."""
        return len({segment["subset"] for segment in self.segments}) > 1


def write_record(path: Path, record: RunRecord) -> None:
    """Write a record atomically.

    Numbers that are not finite become null, since JSON cannot represent them.
    """
    text = json.dumps(json_value(asdict(record)), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n", durable=True)


def read_record(path: Path) -> RunRecord:
    """Read a record.

    Raises:
        InputError: The file is absent, is no JSON, is of another schema, or its fields are not those of a record.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable run record ({error})") from error
    written = read_schema(f"{path}: not a run record", text, _Version, _CURE)["schema_version"]
    if written > SCHEMA:
        raise InputError(
            f"{path}: a run record of schema {written}, this version reads schemas 1 to {SCHEMA}; "
            "use the version of dielectric_gnn that wrote it, or train the run again"
        )
    record = read_schema(f"{path}: run record", text, RunRecord, _CURE)
    return replace(record, schema_version=SCHEMA)  # fields that earlier schemas lack have their default


def read_records(folder: Path) -> list[RunRecord]:
    """Every record below a folder (files called `run_record.json`), in the order of their paths.

    Raises:
        InputError: The folder does not exist or holds none; or as `read_record`.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of run records")
    found = [read_record(path) for path in sorted(folder.rglob(RECORD))]
    if not found:
        raise InputError(f"{folder}: no {RECORD} in it; every training writes one into its folder")
    return found
