"""What heads return and objectives and metrics compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Response:
    """Optical response of B crystals: interband dielectric function and Drude frequency.

    A quantity that a model does not predict is NaN throughout; which ones a model predicts is declared by
    `Head.outputs`.

    Shapes:
        eps_inter: (B, W, 2), last axis (Re, Im); `torch.view_as_complex` turns it into (B, W).
        drude: (B,).

    Units:
        eps_inter: dimensionless, convention e^(-iωt): Im ε > 0 is loss. drude: eV.

    Args:
        eps_inter: Interband dielectric function.
        drude: Drude frequency.
        spread: Standard deviation of both over the members of an ensemble; None for a single model.
    """

    eps_inter: Tensor
    drude: Tensor
    spread: Response | None = None

    def to(self, *args: Any, **kwargs: Any) -> Response:
        """Move to a device or convert, as `torch.Tensor.to`."""
        return self._map(lambda tensor: tensor.to(*args, **kwargs))

    def cpu(self) -> Response:
        """The same values in main memory, as float32 or wider (half precisions are widened)."""
        return self._map(lambda tensor: tensor.detach().cpu().to(torch.promote_types(tensor.dtype, torch.float32)))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Response:
        spread = None if self.spread is None else self.spread._map(function)
        return Response(function(self.eps_inter), function(self.drude), spread)
