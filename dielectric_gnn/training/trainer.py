"""Lightning's Trainer with the project's defaults."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer as LightningTrainer

from dielectric_gnn.training.checkpoint import AtomicCheckpointIO


class Trainer(LightningTrainer):
    """A Lightning `Trainer` for use in Python.

    Its defaults are those of the command: no sanity check, batches that the data module distributes, and checkpoints
    that are written atomically, hold no code, and end with a hash. Every argument is Lightning's.

    Example:
        Trainer(max_epochs=60).fit(model, data)
    """

    def __init__(self, **arguments: Any) -> None:
        plugins = arguments.pop("plugins", None) or []
        plugins = [*plugins] if isinstance(plugins, list | tuple) else [plugins]
        defaults = {"num_sanity_val_steps": 0, "use_distributed_sampler": False, "enable_model_summary": False}
        super().__init__(**{**defaults, **arguments}, plugins=[*plugins, AtomicCheckpointIO()])
