"""Callback that writes the run record: during the training, and completed by the test."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from dielectric_gnn.studies.compute_cost import ComputeCost
from dielectric_gnn.studies.flops import count_training_flops
from dielectric_gnn.studies.run_description import config_hash, describe_device, describe_run
from dielectric_gnn.training.evaluation import trainable_parameters
from dielectric_gnn.training.former_training import record_in
from dielectric_gnn.training.run_folder import final_checkpoint
from dielectric_gnn.training.run_record import RECORD, RunRecord, Segment, Status, read_record, write_record
from dielectric_gnn.training.schedule import learning_rate
from dielectric_gnn.utils.entry import os_error_message
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.locks import locked

_SECONDS_BETWEEN_WRITES = 5.0


class ScalingRecord(Callback):
    """Writes `run_record.json` into the folder of a run: see `dielectric_gnn.training.run_record`.

    A resumed training continues the record in its folder: curve, steps and samples are those behind the weights, the
    cost is the sum over all launches. A test of `best.ckpt` (of `last.ckpt`, if nothing was validated) on the run's own
    data completes the record.

    Args:
        study: Name of the study of the run; empty for a run without study.
    """

    def __init__(self, study: str = "") -> None:
        self.study = study
        self._record: RunRecord | None = None  # on rank 0, while training
        self._flops_per_sample: float | None = None
        self._flops_method: str | None = None
        self._segments: list[Segment] = []
        self._curve: list[dict[str, float | None]] = []
        self._best: dict[str, float] = {}
        self._validation_metrics: dict[str, float] = {}
        self._samples = 0.0  # of all processes, up to the last complete epoch
        self._samples_here = 0  # of this process since then
        self._compute_cost = ComputeCost()
        self._launches = 0
        self._learning_rate = 0.0
        self._last_write = 0.0

    def state_dict(self) -> dict[str, Any]:
        """State for resuming, in plain types."""
        return {
            "curve": self._curve,
            "best": self._best,
            "samples": self._samples_now(),
            "spent": self._compute_cost.now(),
            "launches": self._launches,
            "rate": self._learning_rate,
            "flops_per_sample": self._flops_per_sample,
            "flops_method": self._flops_method,
            "segments": self._segments,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self._curve = [dict(point) for point in state_dict["curve"]]
        self._best = dict(state_dict["best"])
        self._samples = float(state_dict["samples"])
        self._compute_cost.include(state_dict["spent"])
        self._launches = int(state_dict["launches"])
        self._learning_rate = float(state_dict.get("rate", 0.0))  # early checkpoints lack this and the following keys
        self._flops_per_sample = state_dict.get("flops_per_sample")
        self._flops_method = state_dict.get("flops_method")
        self._segments = list(state_dict.get("segments", []))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write a record with the status `running`."""
        self._compute_cost.start(trainer.world_size, pl_module.device.type == "cuda")
        if getattr(trainer, "fast_dev_run", False) or not trainer.is_global_zero:
            return
        self._record = describe_run(trainer, pl_module, self.study)
        self._append_segment(trainer, self._record)
        previous = _previous_record(_path(trainer), self._record)
        if previous is not None:
            # The cost of a launch that was killed is larger than that in its last checkpoint.
            self._launches = max(self._launches, int(previous.cost.get("launches", 0)))
            self._compute_cost.include(previous.cost)
            tested = {key: value for key, value in previous.metrics.items() if key.startswith("test/")}
            self._record = replace(self._record, metrics=tested, cost=previous.cost)
            if previous.training_flops is not None and previous.samples_seen:
                self._flops_per_sample = previous.training_flops / previous.samples_seen
                self._flops_method = previous.flops_method
        self._launches += 1
        self._write(trainer, "running")

    def _append_segment(self, trainer: Trainer, now: RunRecord) -> None:
        """Append a segment if the training materials differ from those before."""
        if not self._segments and self._curve:  # an early checkpoint: the segment may be in the record of the folder
            earlier = record_in(_path(trainer).parent) or now
            self._segments = [_segment(earlier, 0, 0)]
        if not self._segments or self._segments[-1]["subset"] != now.subset:
            self._segments.append(_segment(now, len(self._curve), round(self._samples)))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count operations per material, in every process, because layers may communicate between processes.

        A baseline has no training steps to count.
        """
        if getattr(trainer, "fast_dev_run", False):
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        module: Any = pl_module
        if not trainable_parameters(module):
            return
        counted = count_training_flops(module, data.store, data.indices["train"])
        self._flops_per_sample, self._flops_method = counted.per_sample, counted.method

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the learning rate before the schedule changes it."""
        self._learning_rate = learning_rate(trainer.optimizers)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the materials."""
        self._samples_here += batch.num_crystals

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the metrics of the validation."""
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        self._validation_metrics = {f"validation/{name.removeprefix('val/')}": value for name, value in values.items()}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Append a point to the learning curve, and sum counts over the processes."""
        self._samples += _sum_over_processes(trainer, self._samples_here)
        self._samples_here = 0
        self._compute_cost.collect(lambda seconds: _sum_over_processes(trainer, seconds))
        point: dict[str, float | None] = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "lr": self._learning_rate,
        }
        if "train/loss" in trainer.callback_metrics:
            point["train/loss"] = float(trainer.callback_metrics["train/loss"])
        validated, self._validation_metrics = self._validation_metrics, {}
        if "validation/loss" in validated:
            point["validation/loss"] = validated["validation/loss"]
            if _is_better(validated["validation/loss"], self._best.get("validation/loss")):
                self._best = validated
        self._curve.append(point)
        if time.perf_counter() - self._last_write > _SECONDS_BETWEEN_WRITES:
            self._write(trainer, "running")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Write the status: `interrupted` by a signal, or `failed` with an error."""
        stopped = isinstance(exception, KeyboardInterrupt | SystemExit)
        try:
            self._write(trainer, "interrupted" if stopped else "failed")
        except OSError as error:  # often the error that ended the training; other callbacks must still run
            sys.stderr.write(f"{_path(trainer)} could not be updated: {os_error_message(error)}\n")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the status `finished`."""
        self._write(trainer, "finished")
        self._record = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, and check the record before the test.

        Raises:
            InputError: The record of the run cannot be read.
        """
        _record_of_tested(trainer, pl_module)
        self._compute_cost = ComputeCost()
        self._compute_cost.start(trainer.world_size, pl_module.device.type == "cuda")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Complete the record of the run, if its final checkpoint was tested on its own data."""
        self._compute_cost.collect(lambda seconds: _sum_over_processes(trainer, seconds))
        record = _record_of_tested(trainer, pl_module) if trainer.is_global_zero else None
        if record is None:
            return
        values = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("test/")}
        folder = _path(trainer).parent
        try:
            with locked(folder, "a test that completes its record"):
                record = read_record(folder / RECORD)  # a training may have replaced it during the test
                metrics = {key: value for key, value in record.metrics.items() if not key.startswith("test/")} | values
                cost = {**record.cost, "test_cpu_seconds": self._compute_cost.now()["cpu_seconds"]}
                write_record(folder / RECORD, replace(record, metrics=metrics, cost=cost))
        except InputError as error:
            rank_zero_info(f"{folder / RECORD} was not completed by this test; repeat the test later ({error})")

    def _samples_now(self) -> float:
        """Materials seen up to now; within an epoch, all processes are assumed to have seen as many as this one."""
        return self._samples + self._samples_here * self._compute_cost.world_size

    def _write(self, trainer: Trainer, status: Status) -> None:
        if self._record is None:
            return
        samples = round(self._samples_now())
        # Schedules store the peak learning rate as `initial_lr`.
        rates = [group.get("initial_lr", group["lr"]) for each in trainer.optimizers for group in each.param_groups]
        record = replace(
            self._record,
            status=status,
            epochs=len(self._curve),
            steps=trainer.global_step,
            samples_seen=samples,
            best_validation_loss=self._best.get("validation/loss"),
            metrics={**self._best, **self._record.metrics},
            learning_curve=tuple(self._curve),
            training_flops=None if self._flops_per_sample is None else self._flops_per_sample * samples,
            flops_method=self._flops_method,
            cost={
                **self._record.cost,
                **self._compute_cost.now(),
                **describe_device(trainer),
                "launches": self._launches,
            },
            settings={**self._record.settings, **({"learning_rate": rates[0]} if rates else {})},
            segments=tuple(self._segments),
        )
        write_record(_path(trainer), record)
        self._last_write = time.perf_counter()


def _segment(record: RunRecord, epoch: int, samples_seen: int) -> Segment:
    return {"epoch": epoch, "samples_seen": samples_seen, "num_train": record.num_train, "subset": record.subset}


def _is_better(loss: float, best: float | None) -> bool:
    """Whether a validation loss is finite and the lowest so far."""
    return math.isfinite(loss) and (best is None or not loss >= best)


def _path(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / RECORD


def _previous_record(path: Path, described: RunRecord) -> RunRecord | None:
    """The record of earlier launches of the same training; None if there is none or it is of another training."""
    try:
        found = read_record(path)
    except InputError:
        return None
    same = (found.config_hash, found.seed, found.subset) == (described.config_hash, described.seed, described.subset)
    return found if same else None


def _record_of_tested(trainer: Trainer, module: LightningModule) -> RunRecord | None:
    """The record of the tested run, if its final checkpoint is tested on its own data; otherwise None."""
    path = _path(trainer)
    final, tested = final_checkpoint(path.parent), Path(str(trainer.ckpt_path or ""))
    if not (path.is_file() and final.is_file() and tested.is_file() and tested.samefile(final)):
        return None
    record = read_record(path)
    return record if config_hash(getattr(module, "config", None)) == record.config_hash else None


def _sum_over_processes(trainer: Trainer, value: float) -> float:
    if trainer.world_size == 1:
        return float(value)
    tensor = torch.tensor(float(value), dtype=torch.float64, device=trainer.strategy.root_device)
    total: Tensor = trainer.strategy.reduce(tensor, reduce_op="sum")
    return float(total)
