"""The metrics of the published table: computed per material, then averaged over materials.

The states are sums and counts, so a mean depends neither on the batch size nor on the number of processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torchmetrics import Metric

from dielectric_gnn import optics
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.irreducible import norm_square, traceless_basis
from dielectric_gnn.targets.response import Response


@dataclass(frozen=True)
class Column:
    """One per-material metric: its key in logs and files, and its heading for people."""

    key: str
    heading: str
    digits: int = 3


COLUMNS = (
    Column("loss", "loss"),
    Column("mae", "MAE ε"),
    Column("mae_re", "MAE Re ε"),
    Column("mae_im", "MAE Im ε"),
    Column("r2_re", "R² Re ε"),
    Column("r2_im", "R² Im ε"),
    Column("sc_re", "SC Re ε"),
    Column("sc_im", "SC Im ε"),
    Column("drude_error", "abs. Δω_D (eV)"),
    Column("drude_error_percent", "rel. Δω_D (%)", 1),
    Column("delta_e", "ΔE", 2),
)
"""The columns of the published table, in its order."""

TENSOR_COLUMNS = (
    Column("tensor_error", "error of ε"),
    Column("deviator_error", "error of dev ε"),
    Column("drude_tensor_error", "error of R (eV)"),
    Column("axis_error", "optic axis (°)", 1),
)
"""What a tensor model reports beside them, where the whole tensor is known; the optic axis, of uniaxial crystals."""

Definitions: TypeAlias = Literal["default", "published"]
"""Of R² and of the relative error of ω_D: undefined where nothing can be divided by, or as in the study's code."""

SMALLEST_DRUDE = 1e-2
"""Below this ω_D (eV) the relative error of the Drude frequency is left undefined."""

_PUBLISHED_OFFSET = 1e-7

_ROUNDING = 1e-4
"""A smaller deviator is a rounding error of an isotropic material."""

_ONE_AXIS, _EQUAL = 0.99, 0.1


def material_metrics(
    prediction: Response,
    target: Response,
    grid: EnergyGrid,
    damping: float = optics.DEFAULT_DAMPING,
    definitions: Definitions = "default",
) -> dict[str, Tensor]:
    """Every metric of the published table (arXiv:2602.05702) but the loss, for each material on its own.

    MAE over energies; R² = 1 − Σ(p − t)² / Σ(t − t̄)²; similarity coefficient SC = 1 − ∫|p − t| / ∫|t|
    (trapezoid); |Δω_D| and its relative error; ΔE (CIE 1976) of the colours of the total responses, NaN where the grid
    does not cover the visible range.

    Args:
        prediction: Of B materials; quantities that are not predicted are NaN and so are their metrics.
        target: The labels.
        grid: Photon energies.
        damping: γ of the Drude term in eV, for the colour.
        definitions: Those of the published study's code add 1e-7 to what R² and the relative error of ω_D divide by, so
            that they are finite, if huge, for flat spectra and vanishing Drude frequencies.

    Returns:
        (B,) float64 for each key of `COLUMNS` except `loss`, on the device of the prediction.
    """
    device = prediction.drude.device
    predicted, true = prediction.eps_inter.double(), target.eps_inter.double()
    difference = (predicted - true).abs()
    mae = difference.mean(dim=1)
    spread = (true - true.mean(dim=1, keepdim=True)).square().sum(dim=1)
    published = definitions == "published"
    r2 = 1 - difference.square().sum(dim=1) / (spread + _PUBLISHED_OFFSET if published else spread)
    similarity = 1 - torch.trapezoid(difference, dim=1) / torch.trapezoid(true.abs(), dim=1)
    drude_error = (prediction.drude.double() - target.drude.double()).abs()
    true_drude = target.drude.double()
    relative = 100 * drude_error / (true_drude + _PUBLISHED_OFFSET if published else true_drude)
    values = {"mae": mae.mean(dim=1)}
    for axis, name in enumerate(("re", "im")):
        values |= {f"mae_{name}": mae[:, axis], f"r2_{name}": r2[:, axis], f"sc_{name}": similarity[:, axis]}
    values["drude_error"] = drude_error
    values["drude_error_percent"] = relative.where((true_drude >= SMALLEST_DRUDE) | published, torch.nan)
    difference_e = optics.colour_difference(_colour(prediction, grid, damping), _colour(target, grid, damping))
    values["delta_e"] = torch.from_numpy(difference_e).to(device)
    return values


def tensor_metrics(prediction: Response, target: Response) -> dict[str, Tensor]:
    """How far whole tensors are off, for each material; NaN where the label has no complete tensor.

    With T = a·1 + Σ_k s_k Q^k and means over energies, Re and Im: ⟨√(Δa² + |Δs|² / 3)⟩ = ⟨‖Δε‖_F / √3⟩; the same of the
    deviator, ⟨|Δs| / √3⟩, of anisotropic (not cubic) crystals; √(Δa² + |Δs|² / 3) of R, the root of ω_D²; and the angle
    between the optic axes.

    Returns:
        (B,) float64 for each key of `TENSOR_COLUMNS`, on the device of the prediction.
    """
    predicted, true = prediction.directions(), target.directions()
    isotropic = (prediction.eps_inter.double() - target.eps_inter.double()).square()
    deviator = norm_square(predicted.eps_inter.double() - true.eps_inter.double()) / 3
    root = (predicted.drude.double() - true.drude.double()).square()
    cosine = (optic_axis(predicted.eps_inter) * optic_axis(true.eps_inter, uniaxial=True)).sum(dim=1).abs()
    values = {
        "tensor_error": (isotropic + deviator).sqrt().mean(dim=(1, 2)),
        "deviator_error": deviator.sqrt().mean(dim=(1, 2)),
        "drude_tensor_error": (root[:, 0] + root[:, 1:].sum(dim=1) / 3).sqrt(),
        "axis_error": cosine.clamp(max=1).acos().rad2deg(),
    }
    anisotropic = norm_square(true.eps_inter).amax(dim=(1, 2)) > _ROUNDING**2
    values["deviator_error"] = values["deviator_error"].where(anisotropic, torch.nan)
    whole = true.component_mask.all(dim=1)
    return {key: torch.where(whole, value, torch.nan) for key, value in values.items()}


def optic_axis(deviator: Tensor, uniaxial: bool = False) -> Tensor:
    """Unit vector along which a dielectric tensor differs most from its other directions, for any crystal.

    The deviators of a uniaxial crystal at all energies are multiples of one, n nᵀ − 1 / 3. That one is estimated as the
    main direction of all of them in the space of deviators, and n is its eigenvector of largest eigenvalue. Parts of ε
    that are not known (NaN) do not count.

    Shapes:
        deviator (B, 5, W, 2) → (B, 3), float64; NaN where there is no anisotropy.

    Args:
        deviator: Of the dielectric tensor.
        uniaxial: NaN also for a crystal whose axis depends on the energy, or that has three different ones.
    """
    flat = deviator.double().nan_to_num(nan=0.0).flatten(2)
    values, vectors = torch.linalg.eigh(flat @ flat.mT)
    matrices = torch.einsum("bk,kij->bij", vectors[:, :, -1], traceless_basis().to(flat))
    lengths, axes = torch.linalg.eigh(matrices)
    largest = lengths.abs().argmax(dim=1)
    axis = axes.gather(2, largest[:, None, None].expand(-1, 3, 1)).squeeze(2)
    defined = values[:, -1] > _ROUNDING**2
    if uniaxial:
        others = torch.minimum(lengths[:, 1] - lengths[:, 0], lengths[:, 2] - lengths[:, 1])
        defined = (
            defined & (values[:, -1] > _ONE_AXIS * values.sum(dim=1)) & (others < _EQUAL * lengths.abs().amax(dim=1))
        )
    return torch.where(defined[:, None], axis, torch.nan)


def _colour(response: Response, grid: EnergyGrid, damping: float) -> optics.FloatArray:
    response = response.cpu()
    eps_inter = torch.view_as_complex(response.eps_inter.contiguous()).numpy()
    return optics.response_colour_or_nan(grid.energies(), eps_inter, response.drude.numpy(), damping)


class MeanState(Metric):
    """The state of a mean, its sum and its count, over batches and processes; subclasses define `update`."""

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        """The mean; NaN of nothing."""
        return self.total / self.count


class BatchMean(MeanState):
    """Mean over materials, from means of batches, without a synchronisation of host and device at every step.

    (The mean of torchmetrics looks for NaN at every update, and leaves such losses out of the mean.)
    """

    def update(self, mean: Tensor, num: int) -> None:
        """Add the mean () of `num` materials."""
        self.total += num * mean.double()
        self.count += num


class MaterialMeans(Metric):
    """Mean over materials of every per-material value; values that are NaN (undefined) do not count.

    Args:
        keys: Which values.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor

    def __init__(self, keys: tuple[str, ...]) -> None:
        super().__init__()
        self.keys = keys
        zeros = torch.zeros(len(keys), dtype=torch.float64)
        self.add_state("sums", default=zeros, dist_reduce_fx="sum")
        self.add_state("counts", default=zeros.clone(), dist_reduce_fx="sum")

    def update(self, values: dict[str, Tensor]) -> None:
        """Add the values, (B,) each, of B materials."""
        stacked = torch.stack([values[key].detach().double() for key in self.keys])
        defined = ~stacked.isnan()
        self.sums += stacked.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf).sum(dim=1)
        self.counts += defined.sum(dim=1)

    def compute(self) -> dict[str, Tensor]:
        """The means; NaN where nothing was defined."""
        return dict(zip(self.keys, self.sums / self.counts, strict=True))


class DrudeR2(Metric):
    """Coefficient of determination of the Drude frequency over the whole set, from sums alone.

    Args:
        definitions: As for `material_metrics`.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, definitions: Definitions = "default") -> None:
        super().__init__()
        self.offset = _PUBLISHED_OFFSET if definitions == "published" else 0.0
        self.add_state("sums", default=torch.zeros(4, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor) -> None:
        """Add predicted and true ω_D (B,) in eV; materials whose true ω_D is NaN (not known) do not count."""
        known = ~target.isnan()
        true = target.detach().double().where(known, 0)
        residual = (true - prediction.detach().double()).where(known, 0)
        ones = known.double()
        self.sums += torch.stack([ones.sum(), true.sum(), true.square().sum(), residual.square().sum()])

    def compute(self) -> Tensor:
        """R²; NaN for fewer than two distinct values, or where ω_D is not predicted."""
        count, total, squares, residuals = self.sums
        return 1 - residuals / (squares - total.square() / count + self.offset)


class MaterialTable(Metric):
    """Every value of every material, each material once: for medians, standard deviations and files.

    Args:
        keys: Which values.
    """

    full_state_update = False
    index: list[Tensor]
    rows: list[Tensor]

    def __init__(self, keys: tuple[str, ...]) -> None:
        super().__init__()
        self.keys = keys
        self.add_state("index", default=[], dist_reduce_fx="cat")
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    def update(self, index: Tensor, values: dict[str, Tensor]) -> None:
        """Add B materials: their positions in the data set (B,) and values (B,) each."""
        self.index.append(index.detach())
        self.rows.append(torch.stack([values[key].detach().double() for key in self.keys], dim=1))

    def table(self) -> tuple[Tensor, Tensor]:
        """What `compute` gives, (M,) and (M, len(keys)) for a single material as well, which torchmetrics squeezes."""
        index, rows = self.compute()
        return index.reshape(-1), rows.reshape(-1, len(self.keys))

    def compute(self) -> tuple[Tensor, Tensor]:
        """Positions (M,) in increasing order and rows (M, len(keys))."""
        index = torch.cat(self.index) if isinstance(self.index, list) else self.index
        rows = torch.cat(self.rows) if isinstance(self.rows, list) else self.rows
        order = index.argsort()
        return index[order], rows[order]


class EnergyMeans(Metric):
    """Mean over materials, at every photon energy, of the ensemble spread and of the absolute error.

    Args:
        num_energies: W.
    """

    full_state_update = False
    sums: Tensor
    counts: Tensor

    def __init__(self, num_energies: int) -> None:
        super().__init__()
        zeros = torch.zeros(num_energies, 4, dtype=torch.float64)
        self.add_state("sums", default=zeros, dist_reduce_fx="sum")
        self.add_state("counts", default=torch.zeros(4, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Response, target: Response) -> None:
        """Add B materials whose prediction has a spread."""
        if prediction.std is None:
            raise ValueError("EnergyMeans needs the response of an ensemble")
        mask = target.part_mask()
        error = (prediction.eps_inter - target.eps_inter).abs().where(mask[:, None], 0)
        self.sums += torch.cat([prediction.std.eps_inter, error], dim=2).double().sum(dim=0)
        self.counts += torch.cat([torch.ones_like(mask), mask], dim=1).double().sum(dim=0)

    def compute(self) -> Tensor:
        """(W, 4): spread of Re and Im, absolute error of Re and Im over the materials with that label."""
        return self.sums / self.counts
