"""Modules whose state is computed from the training data in closed form, instead of by gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class FittedModule(nn.Module):
    """A module whose buffers are set by a fit, so that their shapes depend on the training data.

    Before its fit, every buffer is empty. A state dict is loaded with the shapes that it has.
    """

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any, **kwargs: Any) -> None:
        self._take_shapes(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def _take_shapes(self, state_dict: Mapping[str, Any], prefix: str) -> None:
        for name, buffer in self.named_buffers(recurse=False):
            stored = state_dict.get(prefix + name)
            if isinstance(stored, Tensor) and stored.shape != buffer.shape:
                setattr(self, name, buffer.new_zeros(stored.shape))


def take_shapes(module: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """Give the buffers of all fitted parts of a module the shapes that they have in a state dict.

    To be called before shapes are compared: a checkpoint is of the same architecture whatever its training set was.
    """
    for name, part in module.named_modules():
        if isinstance(part, FittedModule):
            part._take_shapes(state_dict, f"{name}." if name else "")
