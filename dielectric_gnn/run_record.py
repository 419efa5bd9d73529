"""What one training leaves behind for scaling analysis: one JSON file, of a schema with a version.

Reading and writing need the standard library alone, so that an analysis starts without PyTorch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from dielectric_gnn.errors import InputError
from dielectric_gnn.files import write_text

SCHEMA = 3
"""Version of the file's layout. Earlier records are still read: before 2 they state neither objective nor family,
before 3 no segments."""

RECORD = "run_record.json"
"""Name of the file in the folder of a run."""

_CURE = "repeat the `fit` command of the run: it goes on from its checkpoint and writes the record anew; then test it"

Status = Literal["running", "finished", "interrupted", "failed"]


@dataclass(frozen=True)
class RunRecord:
    """One training: what was trained on how much, at what cost, and how well it did.

    Args:
        study: Name of the study that the run belongs to; empty for a run on its own.
        name: Name of the run within the study.
        status: `finished` once the last epoch is done; `interrupted` by a signal; `failed` with an error; `running`.
        backbone: Class and message passing of the backbone in short, such as `OptiMetal2B-CGConv`.
        head: Class of the head.
        width: Channels of the backbone; None where it has no single width.
        num_parameters: N, trainable parameters.
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

    name: str
    status: Status
    backbone: str
    head: str
    num_parameters: int
    num_train: int
    subset: str
    seed: int | None
    epochs: int
    steps: int
    samples_seen: int
    width: int | None = None
    study: str = ""
    best_validation_loss: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    learning_curve: tuple[Mapping[str, float], ...] = ()
    training_flops: float | None = None
    flops_method: str | None = None
    cost: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    config_hash: str = ""
    objective: str = ""
    family: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    segments: tuple[Mapping[str, Any], ...] = ()
    schema_version: int = SCHEMA

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise InputError(f"the status of a run is {self.status!r}, expected one of {', '.join(get_args(Status))}")
        for key, fits, expected in _EXPECTED:
            if not fits(value := getattr(self, key)):
                raise InputError(f"{key} of run {self.name!r} is {value!r}, expected {expected}")
        for group, values in (("metrics", self.metrics), ("cost", self._counted_cost())):
            if bad := [key for key, value in values.items() if not _is_number(value)]:
                raise InputError(f"{group}.{bad[0]} of run {self.name!r} is {values[bad[0]]!r}, expected a number")
        for place, point in enumerate(self.learning_curve):
            if not isinstance(point, Mapping) or not all(
                value is None or _is_number(value) for value in point.values()
            ):
                raise InputError(f"learning_curve[{place}] of run {self.name!r} is {point!r}, expected numbers by name")

        for place, segment in enumerate(self.segments):
            if not _is_segment(segment):
                raise InputError(
                    f"segments[{place}] of run {self.name!r} is {segment!r}, expected epoch, samples_seen, num_train "
                    "and subset"
                )

    @property
    def trained_on_several_sets(self) -> bool:
        """Whether the training was continued on other materials than it began with."""
        return len({segment["subset"] for segment in self.segments}) > 1

    def _counted_cost(self) -> dict[str, Any]:
        return {key: value for key, value in self.cost.items() if key.endswith("_seconds") or key == "launches"}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_segment(value: Any) -> bool:
    if not isinstance(value, Mapping) or value.keys() != {"epoch", "samples_seen", "num_train", "subset"}:
        return False
    return _is_text(value["subset"]) and all(_is_whole(value[key]) for key in value if key != "subset")


_TEXT = ("name", "study", "backbone", "head", "subset", "config_hash", "objective", "family")
_COUNTS = ("num_parameters", "num_train", "epochs", "steps", "samples_seen")
_EXPECTED: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    *((key, _is_text, "text") for key in _TEXT),
    *((key, lambda value: _is_whole(value) and value >= 0, "a whole number, not negative") for key in _COUNTS),
    *((key, lambda value: value is None or _is_whole(value), "a whole number or null") for key in ("seed", "width")),
    *(
        (key, lambda value: value is None or _is_number(value), "a number or null")
        for key in ("best_validation_loss", "training_flops")
    ),
    ("flops_method", lambda value: value is None or _is_text(value), "text or null"),
)
"""What the fields of a record must be: a JSON file may say anything."""


def write_record(path: Path, record: RunRecord) -> None:
    """Write a record so that a reader sees the old file or the new one, never half of one.

    Numbers that are not finite become null: JSON has no others.
    """
    text = json.dumps(_finite(asdict(record)), indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n", durable=True)


def read_record(path: Path) -> RunRecord:
    """Read a record.

    Raises:
        InputError: The file is absent, is no JSON, is of another schema, or its fields are not those of a record.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable run record ({error})") from error
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits, and of deep nesting
        raise InputError(f"{path}: not a run record, broken JSON ({error}); {_CURE}") from error
    if not isinstance(plain, dict) or "schema_version" not in plain:
        raise InputError(f"{path}: not a run record, it states no schema_version; {_CURE}")
    if plain["schema_version"] not in range(1, SCHEMA + 1):
        raise InputError(
            f"{path}: a run record of schema {plain['schema_version']}, this version reads schemas 1 to {SCHEMA}; "
            "use the version of dielectric_gnn that wrote it, or train the run again"
        )
    known = {spec.name for spec in fields(RunRecord)}
    required = {"name", "status", "backbone", "head", "num_parameters", "num_train", "subset", "seed"}
    required |= {"epochs", "steps", "samples_seen"}
    if wrong := sorted((required - plain.keys()) | (plain.keys() - known)):
        raise InputError(f"{path}: fields of the run record are absent or unknown: {', '.join(wrong)}; {_CURE}")
    return _from_plain(path, plain)


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


def _from_plain(path: Path, plain: dict[str, Any]) -> RunRecord:
    mappings = ("metrics", "cost", "versions", "settings")
    bad = [key for key in mappings if not isinstance(plain.get(key, {}), dict)]
    bad += [key for key in ("learning_curve", "segments") if not isinstance(plain.get(key, []), list)]
    if bad:
        raise InputError(f"{path}: {', '.join(bad)} of the run record has the wrong type")
    # null stands for a number that was not finite.
    values = {key: math.nan if value is None else value for key, value in plain.get("metrics", {}).items()}
    lists = {key: tuple(plain.get(key, [])) for key in ("learning_curve", "segments")}
    try:
        # What earlier versions lack keeps its default.
        return RunRecord(**{**plain, **lists, "metrics": values, "schema_version": SCHEMA})
    except InputError as error:
        raise InputError(f"{path}: {error}; {_CURE}") from error


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value
