"""One run record per training: written while it runs, completed by its test."""

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
from dielectric_gnn.training.former_training import record_in
from dielectric_gnn.training.run_folder import CHECKPOINTS
from dielectric_gnn.training.run_record import RECORD, RunRecord, Segment, Status, read_record, write_record
from dielectric_gnn.utils.entry import os_error_message
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.locks import locked

_SECONDS_BETWEEN_WRITES = 5.0


class ScalingRecord(Callback):
    """Writes `run_record.json` into the folder of a run: see `dielectric_gnn.training.run_record`.

    A continued training goes on with the record of its folder: curve, steps and samples are those that made the
    weights, the cost is what all launches together have spent. A test of `best.ckpt` on the run's own data completes
    it.

    Args:
        study: Name of the study that the run belongs to.
    """

    def __init__(self, study: str = "") -> None:
        self.study = study
        self._record: RunRecord | None = None  # on rank 0, while training
        self._flops_per_sample: float | None = None
        self._flops_method: str | None = None
        self._segments: list[Segment] = []
        self._curve: list[dict[str, float | None]] = []
        self._best: dict[str, float] = {}
        self._validated: dict[str, float] = {}
        self._samples = 0.0  # of all processes, up to the last complete epoch
        self._samples_here = 0  # of this process, since then
        self._compute_cost = ComputeCost()
        self._launches = 0
        self._rate = 0.0
        self._written = 0.0

    def state_dict(self) -> dict[str, Any]:
        """What a continued training needs, in plain types."""
        return {
            "curve": self._curve,
            "best": self._best,
            "samples": self._samples_now(),
            "spent": self._compute_cost.now(),
            "launches": self._launches,
            "rate": self._rate,
            "flops_per_sample": self._flops_per_sample,
            "flops_method": self._flops_method,
            "segments": self._segments,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self._curve = [dict(point) for point in state_dict["curve"]]
        self._best = dict(state_dict["best"])
        self._samples = float(state_dict["samples"])
        self._compute_cost.take_over(state_dict["spent"])
        self._launches = int(state_dict["launches"])
        self._rate = float(state_dict.get("rate", 0.0))  # early checkpoints lack it, and what follows
        self._flops_per_sample = state_dict.get("flops_per_sample")
        self._flops_method = state_dict.get("flops_method")
        self._segments = list(state_dict.get("segments", []))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say what is trained, and that it is running."""
        self._compute_cost.start(trainer.world_size, pl_module.device.type == "cuda")
        if getattr(trainer, "fast_dev_run", False) or not trainer.is_global_zero:
            return
        self._record = describe_run(trainer, pl_module, self.study)
        self._note_segment(trainer, self._record)
        previous = _record_of(_path(trainer), self._record)
        if previous is not None:
            # A launch that was killed has spent more than its last checkpoint knows.
            self._launches = max(self._launches, int(previous.cost.get("launches", 0)))
            self._compute_cost.take_over(previous.cost)
            tested = {key: value for key, value in previous.metrics.items() if key.startswith("test/")}
            self._record = replace(self._record, metrics=tested, cost=previous.cost)
            if previous.training_flops is not None and previous.samples_seen:
                self._flops_per_sample = previous.training_flops / previous.samples_seen
                self._flops_method = previous.flops_method
        self._launches += 1
        self._write(trainer, "running")

    def _note_segment(self, trainer: Trainer, now: RunRecord) -> None:
        """Add what is trained on from here on, if it differs from before."""
        if not self._segments and self._curve:  # a checkpoint of before: the record of the folder may know
            earlier = record_in(_path(trainer).parent) or now
            self._segments = [_segment(earlier, 0, 0)]
        if not self._segments or self._segments[-1]["subset"] != now.subset:
            self._segments.append(_segment(now, len(self._curve), round(self._samples)))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count what training costs per crystal; in every process, since a layer may talk to its like in the others."""
        if getattr(trainer, "fast_dev_run", False):
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        module: Any = pl_module
        counted = count_training_flops(module, data.store, data.indices["train"])
        self._flops_per_sample, self._flops_method = counted.per_sample, counted.method

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the learning rate before the schedule changes it."""
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the crystals."""
        self._samples_here += batch.num_crystals

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the metrics; the best ones stay."""
        values = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        self._validated = {f"validation/{name.removeprefix('val/')}": value for name, value in values.items()}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add a point to the learning curve, and sums over the processes."""
        self._samples += _sum(trainer, self._samples_here)
        self._samples_here = 0
        self._compute_cost.collect(lambda seconds: _sum(trainer, seconds))
        point: dict[str, float | None] = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "lr": self._rate,
        }
        if "train/loss" in trainer.callback_metrics:
            point["train/loss"] = float(trainer.callback_metrics["train/loss"])
        validated, self._validated = self._validated, {}
        if "validation/loss" in validated:
            point["validation/loss"] = validated["validation/loss"]
            if _is_better(validated["validation/loss"], self._best.get("validation/loss")):
                self._best = validated
        self._curve.append(point)
        if time.perf_counter() - self._written > _SECONDS_BETWEEN_WRITES:
            self._write(trainer, "running")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Say how it ended: a signal interrupts a training, an error makes it fail."""
        stopped = isinstance(exception, KeyboardInterrupt | SystemExit)
        try:
            self._write(trainer, "interrupted" if stopped else "failed")
        except OSError as error:  # often what ended the training: the other callbacks still have their turn
            sys.stderr.write(f"{_path(trainer)} keeps its former state: {os_error_message(error)}\n")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say that it is finished."""
        self._write(trainer, "finished")
        self._record = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a damaged record is told before the work, not after it.

        Raises:
            InputError: The run has a record that cannot be read.
        """
        _record_of_tested(trainer, pl_module)
        self._compute_cost = ComputeCost()
        self._compute_cost.start(trainer.world_size, pl_module.device.type == "cuda")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Complete the record of the run, if it is its best checkpoint that was tested, on its own data."""
        self._compute_cost.collect(lambda seconds: _sum(trainer, seconds))
        record = _record_of_tested(trainer, pl_module) if trainer.is_global_zero else None
        if record is None:
            return
        values = {key: float(value) for key, value in trainer.callback_metrics.items() if key.startswith("test/")}
        folder = _path(trainer).parent
        try:
            with locked(folder, "a test that completes its record"):
                record = read_record(folder / RECORD)  # which a training may have replaced during the test
                metrics = {key: value for key, value in record.metrics.items() if not key.startswith("test/")} | values
                cost = {**record.cost, "test_cpu_seconds": self._compute_cost.now()["cpu_seconds"]}
                write_record(folder / RECORD, replace(record, metrics=metrics, cost=cost))
        except InputError as error:
            rank_zero_info(f"{folder / RECORD} is not completed by this test; repeat it later ({error})")

    def _samples_now(self) -> float:
        """Seen up to now; in an epoch that is not over, the other processes count as much as this one."""
        return self._samples + self._samples_here * self._compute_cost.world_size

    def _write(self, trainer: Trainer, status: Status) -> None:
        if self._record is None:
            return
        samples = round(self._samples_now())
        # The schedule keeps the peak as the initial rate.
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
        self._written = time.perf_counter()


def _segment(record: RunRecord, epoch: int, samples_seen: int) -> Segment:
    return {"epoch": epoch, "samples_seen": samples_seen, "num_train": record.num_train, "subset": record.subset}


def _is_better(loss: float, best: float | None) -> bool:
    """Whether a validation loss is the lowest so far; one that is not finite never is."""
    return math.isfinite(loss) and (best is None or not loss >= best)


def _path(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / RECORD


def _record_of(path: Path, described: RunRecord) -> RunRecord | None:
    """The record that earlier launches of the same training left; that of another training is replaced."""
    try:
        found = read_record(path)
    except InputError:
        return None
    same = (found.config_hash, found.seed, found.subset) == (described.config_hash, described.seed, described.subset)
    return found if same else None


def _record_of_tested(trainer: Trainer, module: LightningModule) -> RunRecord | None:
    """The record of the run that a test belongs to, if it tests the best checkpoint on the run's own data."""
    path = _path(trainer)
    best, tested = path.parent / CHECKPOINTS / "best.ckpt", Path(str(trainer.ckpt_path or ""))
    if not (path.is_file() and best.is_file() and tested.is_file() and tested.samefile(best)):
        return None
    record = read_record(path)
    return record if config_hash(getattr(module, "config", None)) == record.config_hash else None


def _sum(trainer: Trainer, value: float) -> float:
    if trainer.world_size == 1:
        return float(value)
    tensor = torch.tensor(float(value), dtype=torch.float64, device=trainer.strategy.root_device)
    total: Tensor = trainer.strategy.reduce(tensor, reduce_op="sum")
    return float(total)
