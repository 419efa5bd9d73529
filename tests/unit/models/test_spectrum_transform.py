"""Causal spectra: the way there and back, Im ε ≥ 0, and Kramers-Kronig consistency by numerical integration."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.layers.spectrum_transform import CausalTransform, SpectrumTransform
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.training.baseline_module import training_labels


@pytest.fixture(scope="module")
def labels(metals: list[CrystalRecord]) -> Response:
    store = CrystalStore.from_records(metals[:20], 5.5)
    return training_labels(store, np.arange(20))


def test_metals_come_back(labels: Response) -> None:
    transform = CausalTransform(EnergyGrid())
    learned = transform(labels)
    assert learned.drude is labels.drude
    torch.testing.assert_close(transform.inverse(learned).eps_inter, labels.eps_inter, rtol=1e-4, atol=1e-4)
    # What does not follow from Im ε is little, and varies slowly but for the rounding of labels in half precision.
    missing = learned.eps_inter[..., 0]
    assert missing.abs().mean() < 0.1 * (labels.eps_inter[..., 0] - 1).abs().mean()
    assert missing[:, 100:1900].diff(dim=1).abs().mean() < 1e-3


def test_the_identity_changes_nothing(labels: Response) -> None:
    assert SpectrumTransform()(labels) is labels and SpectrumTransform().inverse(labels) is labels


@pytest.mark.parametrize("grid", [EnergyGrid(0.0, 12.0, 601), EnergyGrid(0.5, 12.5, 601)], ids=str)
def test_any_values_give_a_causal_spectrum(grid: EnergyGrid) -> None:
    """Re ε is the principal value of the dispersion integral of Im ε, by SciPy, with its stated continuation."""
    energies = grid.energies()
    root = 0.8 + 0.9 * np.sin(0.7 * energies) + 0.3 * np.cos(2.1 * energies)  # of both signs
    missing = 0.1 + 0.02 * energies
    values = torch.from_numpy(np.stack([missing, root], axis=-1))[None]
    found = CausalTransform(grid).double().inverse(Response(values, torch.ones(1))).eps_inter[0].numpy()
    np.testing.assert_allclose(found[:, 1], root**2, rtol=1e-6)

    nodes = grid.stop * np.array([1, 1.005, 1.01, 1.02, 1.04, 1.07, 1.12, 1.25, 1.45, 1.8, 2.4, 3.5, 6.0, 12.0])
    heights = root[-1] ** 2 * np.append((nodes[:-1] / grid.stop) ** -3, 0.0)

    def loss(energy: float) -> float:
        if energy < grid.start:
            return float(energy / grid.start * root[0] ** 2)
        if energy > grid.stop:
            return float(np.interp(energy, nodes, heights))
        return float((0.8 + 0.9 * np.sin(0.7 * energy) + 0.3 * np.cos(2.1 * energy)) ** 2)

    for place in (57, 222, 400, 545):
        omega = energies[place]
        inner = quad(lambda x, w=omega: x * loss(x) / (x + w), 0, grid.stop, weight="cauchy", wvar=omega, limit=500)[0]
        outer = sum(
            quad(lambda x, w=omega: x * loss(x) / (x**2 - w**2), start, stop)[0] for start, stop in pairwise(nodes)
        )
        assert found[place, 0] == pytest.approx(1 + missing[place] + 2 / np.pi * (inner + outer), abs=5e-3)


def test_negative_losses_and_unknown_parts(labels: Response) -> None:
    transform = CausalTransform(EnergyGrid())
    eps_inter = labels.eps_inter[:2].clone()
    eps_inter[0, :50, 1] = -1.0
    eps_inter[1, :, 0] = torch.nan
    found = transform.inverse(transform(Response(eps_inter, labels.drude[:2]))).eps_inter
    assert found[0, :50, 1].max() == 0
    torch.testing.assert_close(found[..., 1], eps_inter[..., 1].clamp(min=0), rtol=1e-4, atol=1e-4)
    assert found[1, :, 0].isnan().all() and not found[0].isnan().any()


def test_half_precision_does_not_reach_the_integral() -> None:
    transform = CausalTransform(EnergyGrid())
    values = torch.rand(2, 2001, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = transform.inverse(Response(values, torch.ones(2))).eps_inter
    assert under.dtype == torch.float32
    torch.testing.assert_close(under, transform.inverse(Response(values, torch.ones(2))).eps_inter, rtol=0, atol=0)


def test_gradients_are_those_of_finite_differences() -> None:
    transform = CausalTransform(EnergyGrid(0.0, 2.0, 9)).double()
    values = torch.rand(2, 9, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: transform.inverse(Response(x, x[:, 0, 0])).eps_inter, values)


def test_the_matrix_is_no_part_of_checkpoints() -> None:
    assert not CausalTransform(EnergyGrid()).state_dict()
