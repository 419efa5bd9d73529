"""What heads return and objectives and metrics compare."""

from __future__ import annotations

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
    """

    eps_inter: Tensor
    drude: Tensor

    def to(self, *args: Any, **kwargs: Any) -> Response:
        """Move to a device or convert, as `torch.Tensor.to`."""
        return Response(self.eps_inter.to(*args, **kwargs), self.drude.to(*args, **kwargs))

    def cpu(self) -> Response:
        """The same values in main memory, as float32 or wider (half precisions are widened)."""
        eps_inter = self.eps_inter.detach().cpu()
        drude = self.drude.detach().cpu()
        wide = torch.promote_types(eps_inter.dtype, torch.float32)
        return Response(eps_inter.to(wide), drude.to(wide))
