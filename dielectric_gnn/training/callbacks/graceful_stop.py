"""Ctrl-C, SIGTERM and the warning of a SLURM time limit end a training with a checkpoint, at the next batch."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info

_SIGUSR1: signal.Signals | None = getattr(signal, "SIGUSR1", None)
"""Windows has none."""

_SIGNALS = [number for number in (signal.SIGINT, signal.SIGTERM, _SIGUSR1) if number is not None]
_SYNC_EVERY_N_STEPS = 10


class TrainingInterrupted(SystemExit):
    """Raised once the checkpoint of an interrupted training is written; ends the process with 128 + signal."""


class GracefulStop(Callback):
    """On SIGINT, SIGTERM or SIGUSR1, finish the batch, write `last.ckpt` and stop; another SIGINT or SIGTERM kills.

    The handler itself only notes the signal: a checkpoint written inside it could meet half an optimiser step. After
    the last batch of an epoch, its validation comes first: continued from before it, a training would leave it out.
    Several processes must stop at the same batch: every ten steps, and in the last batch of an epoch, they exchange
    whether a signal was received, which requires a synchronisation with the GPU.

    SIGUSR1, which would end a process that does not expect it, is noted from `listen` on; before training begins, the
    others have their usual effect, since there is nothing to save.

    Args:
        path: Of `last.ckpt`, which another callback writes after every epoch.
        requeue: In a SLURM job that received SIGUSR1 (`sbatch --signal=USR1@120`), requeue the job.
    """

    def __init__(self, path: Path, requeue: bool = False) -> None:
        self.path = path
        self.requeue = requeue
        self._received: int | None = None
        self._at_epoch_end = False
        self._previous: dict[int, Any] = {}

    def listen(self) -> None:
        """Begin to note SIGUSR1."""
        if self._previous:
            return
        self._received, self._at_epoch_end = None, False
        self._previous = {number: signal.getsignal(number) for number in _SIGNALS}
        if _SIGUSR1 is not None:
            signal.signal(_SIGUSR1, self._note)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin to note SIGUSR1, if `listen` was not called before."""
        if stage == "fit":
            self.listen()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the other signals, too: from Lightning, whose handler talks to the other processes."""
        if self._received is not None:
            _restore_default_handlers()
            return
        for number in _SIGNALS:
            signal.signal(number, self._note)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop here, or after the epoch that ends, if a signal has come and the gradients of this batch are used up."""
        done, several = kwargs.get("batch_idx", args[-1]) + 1, trainer.world_size > 1
        interval = trainer.accumulate_grad_batches * (_SYNC_EVERY_N_STEPS if several else 1)
        if done % interval and not trainer.is_last_batch:
            return
        stop = self._received is not None
        if several:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop and trainer.is_last_batch:
            self._at_epoch_end = True
            rank_zero_info("\nending the epoch with its validation; Ctrl-C or SIGTERM stops at once")
        elif stop:
            trainer.save_checkpoint(self.path)
            self._stop(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop before this epoch if a signal came in the last batch of the one before, which left its checkpoint."""
        if self._at_epoch_end:
            self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        path = shlex.quote(str(self.path))
        rank_zero_info(
            f"\nInterrupted in epoch {trainer.current_epoch}; to resume, repeat the command (--ckpt_path {path})"
        )
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # SLURM sends it to a job that it requeues: records come first
        raise TrainingInterrupted(128 + (self._received or signal.SIGTERM))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Restore the previous signal handlers."""
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Requeue the job, now that the record of the run is written; or restore the previous signal handlers."""
        if not isinstance(exception, TrainingInterrupted):
            self._restore()
        elif self.requeue and self._received == _SIGUSR1 and trainer.is_global_zero:
            requeue_job()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        _restore_default_handlers()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._previous = {}


def _restore_default_handlers() -> None:
    """Let the next SIGINT or SIGTERM end the process at once."""
    if _SIGUSR1 is not None:
        signal.signal(_SIGUSR1, signal.SIG_IGN)  # only announces the time limit
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def requeue_job() -> None:
    """Requeue this SLURM job; a line in the log states where that is not possible."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
    if job is None:
        rank_zero_info("not requeued: this is no SLURM job")
        return
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        rank_zero_info(f"SLURM did not requeue job {job} ({str(reason).strip()}); submit it again")
    else:
        rank_zero_info(f"job {job} is requeued")
