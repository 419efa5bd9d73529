"""The oscillator dictionary as a layer: strengths in, spectra out."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.oscillators import Dictionary
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.utils.errors import InputError


class OscillatorBank(nn.Module):
    """Spectra of strengths in units of typical strengths: 1 + Σ_n scale_n g_n · 2 ω_n / (ω_n² − (ω + iΓ)²).

    The scale and Γ are set once from the training data (`prepare`) and stored in the checkpoint; the kernel is computed
    from them.

    Shapes:
        strengths (..., n) → (..., W, 2), Re and Im of ε, or of ε − 1.

    Args:
        grid: Photon energies, W of them.
        dictionary: Transition energies, n of them.
        broadening_ev: Γ in eV; None means that of the training data.
    """

    broadening: Tensor
    scale: Tensor
    typical_drude: Tensor
    kernel: Tensor

    def __init__(self, grid: EnergyGrid, dictionary: Dictionary, broadening_ev: float | None) -> None:
        super().__init__()
        if broadening_ev is not None and broadening_ev <= 0:
            raise InputError(f"broadening_ev is {broadening_ev}, expected more than 0 eV, or null for that of the data")
        if dictionary.stop < grid.stop:
            raise InputError(
                f"dictionary.stop is {dictionary.stop:g} eV, but the spectra reach {grid.stop:g} eV; raise it to that, "
                "and dictionary.num in proportion"
            )
        self.grid = grid
        self.dictionary = dictionary
        self.broadening_ev = broadening_ev
        num = dictionary.energies().size
        self.register_buffer("broadening", torch.tensor(math.nan, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(num))
        self.register_buffer("typical_drude", torch.ones(()))
        self.register_buffer("kernel", torch.full((num, 2 * grid.num), math.nan), persistent=False)
        self.register_load_state_dict_post_hook(_rebuild)  # type: ignore[no-untyped-call]

    @property
    def num(self) -> int:
        """N."""
        return self.scale.shape[0]

    def prepare(self, statistics: TrainingStatistics) -> None:
        """Set Γ and the scales of strengths and ω_D from the training data; scales that are set already are kept.

        Raises:
            InputError: The broadening of the data is unknown, or differs from that of the configuration.
        """
        stated = statistics.broadening
        if not self.broadening.isnan():  # a continued or fine-tuned model; strengths do not depend on Γ
            if stated is not None and stated != float(self.broadening):
                self.broadening.fill_(stated)
                self.build_kernel()
            return
        broadening = self.broadening_ev if stated is None else stated
        if broadening is None:
            raise InputError(
                "the oscillator head needs the broadening of the spectra, which these data do not state; set "
                "model.head.init_args.broadening_ev, or broadening_ev of the data source"
            )
        if self.broadening_ev not in (None, broadening):
            raise InputError(
                f"model.head.init_args.broadening_ev is {self.broadening_ev} eV, but the training spectra have "
                f"{stated} eV; drop the option"
            )
        # In place, because DistributedDataParallel holds references to these tensors.
        self.broadening.fill_(broadening)
        mean_eps_inter, mean_drude = statistics.means()
        if not mean_drude.isnan():
            self.typical_drude.copy_(mean_drude.clamp(min=0.1))
        mean = torch.view_as_complex(mean_eps_inter.double().cpu().contiguous()).numpy()
        self.scale.copy_(torch.from_numpy(self.dictionary.smooth_strengths(mean, self.grid, broadening)))
        self.build_kernel()

    def build_kernel(self) -> None:
        """Compute the kernel for the current broadening."""
        kernel = self.dictionary.kernel(self.grid, float(self.broadening))
        parts = torch.view_as_real(torch.from_numpy(kernel))
        self.kernel.copy_(parts.reshape(self.kernel.shape))

    def forward(self, strengths: Tensor) -> Tensor:
        """ε of the strengths."""
        return self.susceptibility(strengths) + self.kernel.new_tensor([1.0, 0.0])

    def susceptibility(self, strengths: Tensor) -> Tensor:
        """ε − 1 of the strengths, which for deviators is their contribution to ε."""
        # Under autocast too: Re and Im, rounded to half precision, would no longer be Kramers-Kronig partners.
        with torch.autocast(strengths.device.type, enabled=False):
            spectra = (strengths.to(self.kernel.dtype) * self.scale) @ self.kernel
        return spectra.view(*strengths.shape[:-1], self.grid.num, 2)


def _rebuild(bank: nn.Module, incompatible_keys: Any) -> None:
    if isinstance(bank, OscillatorBank) and not bank.broadening.isnan():
        bank.build_kernel()
