"""Resuming a training: weights, optimiser, schedule, position in the data and random states are restored.

`fine_tuning` loads weights only.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import Callback, WeightAveraging

from dielectric_gnn.training.checkpoint import SECTION, read_checkpoint
from dielectric_gnn.training.former_training import check_no_training, record_in, ways_on
from dielectric_gnn.training.run_folder import CHECKPOINTS
from dielectric_gnn.utils.errors import InputError

TRAINER_SETTINGS = ("max_epochs", "max_steps", "gradient_clip_val", "accumulate_grad_batches", "precision")
"""Settings of the trainer that a checkpoint stores: those that change the result of a training."""

_KEPT_BY_CHECKPOINT = ("model.optimizer", "model.lr_scaling", "fine_tune_from")
"""Settings for which the restored state counts; all others are taken from the configuration."""

_OWN_CHECKPOINTS = {"ModelCheckpoint", "BestCheckpoint"}
"""Callbacks that every training has; their state is found by what they monitor."""

_LONGER = "trainer.max_epochs"


@dataclass(frozen=True)
class Difference:
    """A setting that a checkpoint and the configuration state differently, and which of them counts."""

    key: str
    stored: Any
    configured: Any

    @property
    def winner(self) -> str:
        """`checkpoint` or `configuration`; of the seed, one part each."""
        if self.key == "seed_everything":
            return "configuration for the order of batches, checkpoint for the states of the generators"
        return "checkpoint" if self.key.startswith(_KEPT_BY_CHECKPOINT) else "configuration"


def differences(stored: Mapping[str, Any], configured: Mapping[str, Any]) -> list[Difference]:
    """Settings that differ, by dotted key; one that is absent on a side is None there.

    Early checkpoints state nothing of the trainer, or of its callbacks, which then do not differ.

    Example:
        >>> differences({"data": {"batch_size": 8}}, {"data": {"batch_size": 16}})
        [Difference(key='data.batch_size', stored=8, configured=16)]
    """
    if "trainer" not in stored:
        configured = {key: value for key, value in configured.items() if key != "trainer"}
    elif "callbacks" not in (stored["trainer"] or {}):
        settings = {key: value for key, value in (configured.get("trainer") or {}).items() if key != "callbacks"}
        configured = {**configured, **({"trainer": settings} if "trainer" in configured else {})}
    one, other = dict(_flat(stored)), dict(_flat(configured))
    keys = sorted({*one, *other})
    return [Difference(key, one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)]


def _flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(config, Mapping) and config:
        for key, value in config.items():
            yield from _flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, config


def difference_table(found: Sequence[Difference]) -> str:
    """One line per difference: key, both values, and which one counts."""
    header = ("setting", "checkpoint", "configuration", "counts")
    rows = [header, *((d.key, str(d.stored), str(d.configured), d.winner) for d in found)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(header))]
    return "".join("  " + "  ".join(map(str.ljust, row, widths)).rstrip() + "\n" for row in rows)


@dataclass(frozen=True)
class StoredTraining:
    """A checkpoint that a training continues, read once.

    Args:
        path: Of the file.
        checkpoint: Its content.
    """

    path: Path
    checkpoint: dict[str, Any]

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> StoredTraining:
        """Read a checkpoint; see `read_checkpoint`."""
        return cls(Path(path), read_checkpoint(path))

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that it was made from; empty for a model that was built in Python."""
        return self.checkpoint[SECTION]["config"] or {}


def checkpoint_to_continue(run_dir: Path, configured: Mapping[str, Any]) -> StoredTraining | None:
    """The `last.ckpt` of a run that the same command began, if for fewer epochs; None where there is none.

    Raises:
        InputError: The folder holds a training with other settings, or one whose `last.ckpt` is absent or damaged: a
            new one would overwrite what is left of it.
    """
    last = run_dir / CHECKPOINTS / "last.ckpt"
    if not last.exists():
        if not _stopped_in_first_epoch(run_dir, configured):
            check_no_training(run_dir)
        return None
    try:
        stored = StoredTraining.from_file(last)
    except InputError as error:
        raise InputError(f"{error}; {ways_on(run_dir, damaged=last)}") from error
    found = _without_callbacks(differences(stored.config, configured))
    if found and not _only_longer(found):
        without = ", without --fine_tune_from" if configured.get("fine_tune_from") else ""
        raise InputError(
            f"{run_dir} holds a training with other settings:\n{difference_table(found)}"
            f"continue it all the same with --ckpt_path {shlex.quote(str(last))}{without}, or choose another --run_dir"
        )
    return stored


def _stopped_in_first_epoch(run_dir: Path, configured: Mapping[str, Any]) -> bool:
    """Whether the same command was killed after the first `best.ckpt` and before the first `last.ckpt`.

    A new start then repeats less than one epoch, and a study continues without manual work.
    """
    record, best = record_in(run_dir), run_dir / CHECKPOINTS / "best.ckpt"
    if record is None or record.status == "finished" or record.epochs > 1 or not best.is_file():
        return False
    if os.path.lexists(run_dir / CHECKPOINTS / "last.ckpt"):
        return False  # a link into nowhere: there was a checkpoint
    try:
        checkpoint = read_checkpoint(best)
    except InputError:
        return False
    found = _without_callbacks(differences(checkpoint[SECTION]["config"] or {}, configured))
    return checkpoint.get("epoch") == 0 and (not found or _only_longer(found))


def _without_callbacks(found: Sequence[Difference]) -> list[Difference]:
    """Differences but for callbacks, which are listed and do not prevent resuming; see also `check_callbacks`."""
    return [difference for difference in found if not difference.key.startswith("trainer.callbacks")]


def _only_longer(found: Sequence[Difference]) -> bool:
    """Whether the only difference is a larger number of epochs."""
    first = found[0]
    if len(found) > 1 or first.key != _LONGER or not isinstance(first.stored, int):
        return False
    return isinstance(first.configured, int) and first.configured > first.stored >= 0


def continuation(training: StoredTraining, configured: dict[str, Any]) -> str:
    """Message of a resumed training: its checkpoint, and which settings differ.

    Args:
        training: The checkpoint that is continued.
        configured: What the checkpoints of this launch will state of their making. They name the same base of a
            fine-tuning as the one that is continued.

    Raises:
        InputError: The checkpoint is unusable, or has the state of another optimiser.
    """
    path, checkpoint, stored = training.path, training.checkpoint, training.config
    optimizers = [_class_of(config.get("model", {}).get("optimizer")) for config in (stored, configured)]
    if None not in optimizers and optimizers[0] != optimizers[1]:
        raise InputError(
            f"{path} holds the state of {optimizers[0]}, but the optimiser is {optimizers[1]}; use the same, or begin "
            f"a new training with these weights: --fine_tune_from {path} and another --run_dir"
        )
    words = f"continuing {path}, which has seen {checkpoint['global_step']} batches"
    base = configured.get("fine_tune_from")
    if base is not None:
        words += f"; the weights of {base} are not loaded again"
    found = differences(stored, configured)
    if found:
        words += f"\nit differs from the configuration:\n{difference_table(found)}"
    if any(difference.key == _LONGER for difference in found):
        words += "a learning-rate schedule that spans the training follows the new max_epochs from here on\n"
    configured["fine_tune_from"] = stored.get("fine_tune_from")
    return words


def check_callbacks(training: StoredTraining, callbacks: Sequence[Callback]) -> str:
    """Compare the callbacks whose state a checkpoint holds with those of a launch that continues it.

    Args:
        training: The checkpoint that is continued.
        callbacks: Of the trainer.

    Returns:
        A line that lists callbacks without a state in the checkpoint, which start anew; empty without any.

    Raises:
        InputError: A callback with a stored state is missing. Without the average of the weights, for example, the
            restored weights would be of another kind.
    """
    path, checkpoint = training.path, training.checkpoint
    stored = {str(key).split("{")[0] for key in checkpoint.get("callbacks") or {}} - _OWN_CHECKPOINTS
    if "averaging_state" in checkpoint and not any(isinstance(callback, WeightAveraging) for callback in callbacks):
        stored.add(WeightAveraging.__name__)
    present = {type(callback).__qualname__ for callback in callbacks}
    if missing := sorted(stored - present):
        raise InputError(
            f"{path} was written with the callback {', '.join(missing)}, whose state it holds, but this launch has "
            "none; give it again (trainer.callbacks), or begin a new training with these weights: "
            f"--fine_tune_from {path} and another --run_dir"
        )
    fresh = [type(callback).__qualname__ for callback in callbacks if callback.state_dict()]
    begun = sorted(set(fresh) - stored - _OWN_CHECKPOINTS)
    return f"no state in the checkpoint, so they begin anew: {', '.join(begun)}\n" if begun else ""


def _class_of(optimizer: Any) -> str | None:
    return optimizer.get("class_path") if isinstance(optimizer, Mapping) else None
