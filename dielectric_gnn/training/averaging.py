"""A check that a callback which averages weights leaves the tables of indices of a model as they are."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch.callbacks import Callback, WeightAveraging
from torch import nn

from dielectric_gnn.utils.errors import InputError

_COUNTER = "num_batches_tracked"
"""Integer buffer of batch norm, which nothing reads where the momentum is fixed."""


def check_averaging(model: nn.Module, callbacks: Sequence[Callback]) -> None:
    """Check that no average is taken of integer buffers.

    `torch.optim.swa_utils.AveragedModel` with `use_buffers` computes d·a + (1 - d)·b of them, too, and truncates the
    result: an index of 3 becomes 2.

    Raises:
        InputError: One would be.
    """
    integer = [
        name for name, buffer in model.named_buffers() if not (buffer.is_floating_point() or name.endswith(_COUNTER))
    ]
    for callback in callbacks:
        if integer and isinstance(callback, WeightAveraging) and getattr(callback, "_use_buffers", True):
            raise InputError(
                f"{type(callback).__name__} would average the integer buffer {integer[0]}, which changes its values; "
                "set use_buffers: false in its init_args"
            )
