"""What a model learns in place of the spectra themselves."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from dielectric_gnn.optics.kramers_kronig import kramers_kronig_matrix
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response


class SpectrumTransform(nn.Module):
    """The identity: the model learns Re ε and Im ε. Base class of other transforms.

    `forward` goes from responses to what is learned, in the same form, and `inverse` back. Neither changes the Drude
    frequency.
    """

    def forward(self, response: Response) -> Response:
        """From Re ε and Im ε, (B, W, 2) of B materials, to what is learned."""
        return response

    def inverse(self, learned: Response) -> Response:
        """From what is learned to Re ε and Im ε."""
        return learned


class CausalTransform(SpectrumTransform):
    """The model learns √(Im ε) and Re ε − 1 − M Im ε, with M from `kramers_kronig_matrix`.

    Any values of the two give a spectrum with Im ε ≥ 0, whose Re ε follows from Im ε by the Kramers-Kronig relation up
    to the second, which is the slowly varying contribution of transitions above the window. Sums and means of smooth
    values give smooth spectra. The root also makes regressions by least squares less dependent on the few high values
    near ω = 0.

    Where Im ε < 0, which no passive material has, `forward` takes it as 0. If one of the two is NaN throughout, because
    it is not known, Re ε is NaN, too.

    Args:
        grid: Photon energies.
    """

    matrix: Tensor

    def __init__(self, grid: EnergyGrid) -> None:
        super().__init__()
        self.register_buffer("matrix", _transposed_matrix(grid), persistent=False)

    def forward(self, response: Response) -> Response:
        """From Re ε and Im ε, (B, W, 2), to Re ε − 1 − M Im ε and √(Im ε)."""
        real, imaginary = response.eps_inter.to(self.matrix.dtype).unbind(dim=-1)
        imaginary = imaginary.clamp(min=0)
        learned = torch.stack([real - 1 - self._real(imaginary), imaginary.sqrt()], dim=-1)
        return Response(learned.to(response.eps_inter.dtype), response.drude)

    def inverse(self, learned: Response) -> Response:
        """The way back."""
        missing, root = learned.eps_inter.to(self.matrix.dtype).unbind(dim=-1)
        imaginary = root.square()
        return Response(torch.stack([1 + missing + self._real(imaginary), imaginary], dim=-1), learned.drude)

    def _real(self, imaginary: Tensor) -> Tensor:
        # Under autocast too: Re and Im, rounded to half precision, would no longer be Kramers-Kronig partners.
        with torch.autocast(imaginary.device.type, enabled=False):
            return imaginary @ self.matrix.to(imaginary.device)  # labels are transformed before they reach a GPU


@lru_cache(maxsize=4)
def _transposed_matrix(grid: EnergyGrid) -> Tensor:
    """The transpose of M in single precision, (W, W); parts of a model and members of ensembles share it."""
    return torch.from_numpy(kramers_kronig_matrix(grid.energies()).T).float()
