"""Checkpoints: what the toolkit adds to Lightning's, and reading them back without executing anything.

A checkpoint holds tensors and plain types only and is always read with `weights_only=True`. Its section
`dielectric_gnn` states the configuration it was made from, which `test` and `predict` use; `stored_config` says what
it may name. The file ends with a hash, so that a changed bit is noticed.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from pydantic import AfterValidator, ConfigDict, Field, with_config
from torch import Tensor
from typing_extensions import TypedDict

from dielectric_gnn import __version__
from dielectric_gnn.targets.training_statistics import PlainTrainingStatistics, TrainingStatistics
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.files import write_atomically
from dielectric_gnn.utils.schemas import check_schema, validated_plain_data
from dielectric_gnn.utils.sealed_zip import check_archive, seal

SECTION = "dielectric_gnn"
SCHEMA = 4
"""Since 2, OptiMetal3B states `angles` (before, it computed what `at_receiver` is) and the data state `split`; since 3,
class paths are those of the packages `models`, `targets` and `training`; since 4, the section has
`training_statistics` (before, `facts`)."""

_MOVED = {
    "dielectric_gnn.backbones": "dielectric_gnn.models.backbones",
    "dielectric_gnn.heads": "dielectric_gnn.models.heads",
    "dielectric_gnn.nn": "dielectric_gnn.models.layers",
    "dielectric_gnn.objective": "dielectric_gnn.training.objective",
    "dielectric_gnn.schedule": "dielectric_gnn.training.schedule",
    "dielectric_gnn.grid": "dielectric_gnn.targets.grid",
}
"""Packages and modules of schema 2 whose classes a configuration may name, and where they are now."""


class _Instance(TypedDict):
    class_path: str
    init_args: NotRequired[dict[str, Any] | None]


class _ModelSettings(TypedDict):
    backbone: _Instance


class _Configuration(TypedDict):
    model: _ModelSettings
    data: NotRequired[dict[str, Any] | None]


class _Section(TypedDict):
    """The toolkit's own section."""

    schema: Annotated[int, Field(ge=1)]
    version: str
    config: Annotated[_Configuration, AfterValidator(validated_plain_data)] | None
    training_statistics: PlainTrainingStatistics | None


@with_config(ConfigDict(arbitrary_types_allowed=True))
class _Checkpoint(TypedDict):
    """What is used of a checkpoint; the states of optimisers and callbacks are checked by those who take them over."""

    state_dict: dict[str, Tensor]
    epoch: NotRequired[Annotated[int, Field(ge=0)]]
    global_step: NotRequired[Annotated[int, Field(ge=0)]]
    callbacks: NotRequired[dict[str, Any]]
    loops: NotRequired[dict[str, Any]]
    optimizer_states: NotRequired[list[dict[str, Any]]]
    lr_schedulers: NotRequired[list[dict[str, Any]]]
    train_loss: NotRequired[dict[str, Tensor]]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically: a process that is killed leaves the previous file as it was."""

    def __init__(self) -> None:
        super().__init__()
        self._already_read: tuple[Path, dict[str, Any]] | None = None

    def use_already_read(self, path: Path, checkpoint: dict[str, Any]) -> None:
        """Give `checkpoint`, on the CPU, to the next load of `path`, in place of a second read of the file."""
        self._already_read = (path, checkpoint)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write `checkpoint` to `path`."""

        def save(temporary: Path) -> None:
            with temporary.open("wb") as file:  # given a path, torch would write its name, with a number, into the file
                torch.save(checkpoint, file)
            seal(temporary)

        write_atomically(Path(path), save, durable=True)

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read tensors and plain types; nothing in the file is executed."""
        known, self._already_read = self._already_read, None
        if known is not None and known[0] == Path(path):
            return known[1]
        return read_checkpoint(path, map_location)


def read_checkpoint(path: str | os.PathLike[str], map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint of this toolkit safely.

    Raises:
        InputError: The file is absent, damaged, unsafe, not a checkpoint of this toolkit, or of a newer schema.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file}: no such checkpoint; `fit` writes best.ckpt and last.ckpt into <run_dir>/checkpoints")
    check_archive(file)
    try:
        checkpoint = torch.load(file, map_location=map_location, weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{file}: not a readable checkpoint, truncated or unsafe? ({reason})") from error
    return {**checkpoint, SECTION: section_of(checkpoint, str(file))}


def add_section(
    checkpoint: dict[str, Any], config: dict[str, Any] | None, statistics: TrainingStatistics | None
) -> None:
    """Add the toolkit's own section to a Lightning checkpoint."""
    checkpoint[SECTION] = {
        "schema": SCHEMA,
        "version": __version__,
        "config": config,
        "training_statistics": None if statistics is None else statistics.to_plain(),
    }


def section_of(checkpoint: Any, name: str) -> dict[str, Any]:
    """The toolkit's own section of a checkpoint, as this version writes it.

    Raises:
        InputError: There is none, or it was written by a newer version.
    """
    section = checkpoint.get(SECTION) if isinstance(checkpoint, dict) else None
    if not isinstance(section, dict) or "state_dict" not in checkpoint:
        raise InputError(f"{name}: not a dielectric_gnn checkpoint; it has no section {SECTION!r}")
    if isinstance(section.get("schema"), int) and section["schema"] > SCHEMA:
        raise InputError(
            f"{name}: written by dielectric_gnn {section.get('version')} (schema {section['schema']}), this is "
            f"{__version__} (schema {SCHEMA}); update dielectric_gnn"
        )
    if section.get("schema") in (1, 2, 3) and "facts" in section:
        section = {("training_statistics" if key == "facts" else key): value for key, value in section.items()}
    cure = "it was damaged or tampered with: use another checkpoint"
    check_schema(name, checkpoint, _Checkpoint, cure)
    check_schema(f"{name}: section {SECTION}", section, _Section, cure)
    return _upgraded(section)


def _upgraded(section: dict[str, Any]) -> dict[str, Any]:
    """A section of any earlier schema, with what was meant before an option existed."""
    config = section["config"]
    if section["schema"] == 1 and config is not None:
        backbone = config["model"]["backbone"]
        if backbone["class_path"].rsplit(".", 1)[-1] == "OptiMetal3B":
            backbone = {**backbone, "init_args": {**(backbone.get("init_args") or {}), "angles": "at_receiver"}}
            config = {**config, "model": {**config["model"], "backbone": backbone}}
        config = {**config, "data": {**(config.get("data") or {}), "split": "seeded"}}
    if section["schema"] < SCHEMA:
        config = _with_present_paths(config)
    return {**section, "schema": SCHEMA, "config": config}


def _with_present_paths(config: Any) -> Any:
    """A configuration whose class paths are those of this version."""
    if isinstance(config, dict):
        return {
            key: _present_path(value) if key == "class_path" else _with_present_paths(value)
            for key, value in config.items()
        }
    return [_with_present_paths(item) for item in config] if isinstance(config, list) else config


def _present_path(path: Any) -> Any:
    for old, new in _MOVED.items():
        if isinstance(path, str) and path.startswith(f"{old}."):
            return new + path.removeprefix(old)
    return path


def fingerprint(paths: Sequence[str | os.PathLike[str]]) -> str:
    """A hash of the content of checkpoints: predictions of another model are told apart by it."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        with Path(path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def check_weights(
    saved: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
    section: Mapping[str, Any],
    config: Mapping[str, Any] | None,
) -> None:
    """Check that saved weights fit a model of weights `own`.

    Raises:
        InputError: They do not: the message names both architectures and the first weight that differs.
    """
    saved_shapes = {key: tuple(value.shape) for key, value in saved.items()}
    own_shapes = {key: tuple(value.shape) for key, value in own.items()}
    if saved_shapes == own_shapes:
        return
    key = next(k for k in sorted({*saved_shapes, *own_shapes}) if saved_shapes.get(k) != own_shapes.get(k))
    raise InputError(
        f"the checkpoint is of another architecture ({architecture(section['config'])}) than the configured model "
        f"({architecture(config)}): {key} is {saved_shapes.get(key, 'absent')} in the checkpoint and "
        f"{own_shapes.get(key, 'absent')} in the model; drop the model options to use the checkpoint's own"
    )


def architecture(config: Mapping[str, Any] | None) -> str:
    """Backbone and head of a configuration with their options, for messages."""
    if config is None:
        return "built in Python"
    model = config["model"]
    parts = [model[key] for key in ("backbone", "head") if isinstance(model.get(key), Mapping)]
    return " + ".join(f"{part['class_path'].rsplit('.', 1)[-1]} {dict(part.get('init_args') or {})}" for part in parts)
