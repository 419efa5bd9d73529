"""The oscillator heads: causal, passive and equivariant for any weights; normalisation and checkpoints."""

import io
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from dielectric_gnn import optics
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.models.backbones import Goten, OptiMetal2B
from dielectric_gnn.models.heads import Head, OscillatorHead, OscillatorTensorHead
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.irreducible import to_matrices
from dielectric_gnn.targets.oscillators import Dictionary, lorentzians
from dielectric_gnn.targets.response import Response
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.testing import graph_of, random_rotation, sample_crystals, transformed
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.objective import MaeObjective, TensorObjective
from dielectric_gnn.training.spectra import spectra_of
from dielectric_gnn.utils.errors import InputError
from tests.crystals import prototype

GRID = EnergyGrid(0, 20, 201)
BROADENING = 0.3


def statistics_of(
    metals: list[CrystalRecord], grid: EnergyGrid = GRID, broadening: float | None = BROADENING
) -> TrainingStatistics:
    """Of the embedded metals, on another grid."""
    averages = [record.labels.average() for record in metals if record.labels is not None]
    eps = np.mean([eps for eps, _ in averages], axis=0)
    energies = EnergyGrid().energies()
    parts = [np.interp(grid.energies(), energies, part) for part in (eps.real, eps.imag)]
    mean = torch.from_numpy(np.stack(parts, axis=1)).float()
    drude = torch.tensor(np.mean([drude for _, drude in averages]), dtype=torch.float32)
    return TrainingStatistics(len(metals), [29], broadening, mean, drude, num_tensors=1)


def randomised(head: Head, seed: int, size: float) -> Head:
    """Any weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return head.eval()


@pytest.fixture
def statistics(metals: list[CrystalRecord]) -> TrainingStatistics:
    return statistics_of(metals)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("size", [0.1, 1.0, 5.0])
def test_any_weights_give_a_passive_response(statistics: TrainingStatistics, size: float) -> None:
    for seed in range(10):
        head = OscillatorHead(8, GRID)
        head.prepare(statistics)
        with torch.no_grad():
            response = randomised(head, seed, size)(torch.randn(16, 8) * 3)
        assert (response.eps_inter[:, 1:, 1] >= 0).all() and (response.drude >= 0).all()
        assert response.eps_inter[:, 0, 1].abs().max() == 0, "Im eps is odd in the energy"


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("size", [0.1, 1.0, 5.0])
def test_any_weights_give_a_passive_tensor(statistics: TrainingStatistics, size: float) -> None:
    for seed in range(10):
        head = OscillatorTensorHead(8, GRID, 6)
        head.prepare(statistics)
        with torch.no_grad():
            response = randomised(head, seed, size)(torch.randn(4, 8) * 3, torch.randn(4, 5, 6))
        for spectrum in spectra_of(response, GRID):
            assert spectrum.tensor is not None
            for part in (spectrum.tensor.eps_inter.imag, spectrum.tensor.drude_square):
                values = np.linalg.eigvalsh(to_matrices(part))
                assert values.min() >= -1e-12 * np.abs(values).max()


def strengths_of(head: OscillatorHead, features: torch.Tensor) -> NDArray[np.float64]:
    """f_n of one crystal."""
    with torch.no_grad():
        return (head.strengths(features) * head.bank.scale)[0].double().numpy()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("seed", range(3))
def test_kramers_kronig_transform_of_im_returns_re(statistics: TrainingStatistics, seed: int) -> None:
    """Numerically (Maclaurin's formula), from Im far beyond the window; the tail beyond that falls as the cube."""
    head = OscillatorHead(8, GRID)
    head.prepare(statistics)
    randomised(head, seed, 0.7)
    features = torch.randn(1, 8, generator=torch.Generator().manual_seed(seed))
    step = 0.02
    energies = np.arange(1, 40_000) * step
    eps = 1 + strengths_of(head, features) @ lorentzians(head.bank.dictionary.energies(), energies, BROADENING)
    with torch.no_grad():
        shown = torch.view_as_complex(head(features).eps_inter)[0].numpy()
    np.testing.assert_allclose(shown[1:], eps[4:1000:5], rtol=1e-9)
    for place in range(4, 1000, 50):
        others = np.arange(energies.size)[(place + 1) % 2 :: 2]
        integrand = energies[others] * eps.imag[others] / (energies[others] ** 2 - energies[place] ** 2)
        transformed_re = 1 + 2 / np.pi * 2 * step * integrand.sum()
        assert abs(transformed_re - eps.real[place]) < 1e-3 * max(1, abs(eps.real[place]))


@pytest.mark.parametrize("tensorial", [False, True])
def test_single_precision_and_autocast_keep_re_and_im_together(metals: list[CrystalRecord], tensorial: bool) -> None:
    """The score that needs no label, whose transform knows nothing of dictionaries; for tensors, along every axis."""
    grid = EnergyGrid()
    head = OscillatorTensorHead(8, grid, 6) if tensorial else OscillatorHead(8, grid)
    head.prepare(statistics_of(metals, grid))
    randomised(head, 0, 0.5)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(4, 8, generator=generator)]
    inputs += [torch.randn(4, 5, 6, generator=generator)] if tensorial else []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        response = head(*inputs)
    assert response.eps_inter.dtype == torch.float32
    for spectrum in spectra_of(response, GRID):
        spectra = spectrum.eps_inter[None] if spectrum.tensor is None else spectrum.tensor.eps_inter[:3]
        residual = optics.kramers_kronig_residual(grid.energies(), np.ascontiguousarray(spectra))
        assert residual.max() < 1e-4


def test_no_pole_in_the_upper_half_plane() -> None:
    """An analytic function is its own average over any circle in which it has no pole."""
    dictionary = Dictionary()
    circle = np.exp(2j * np.pi * np.arange(4096) / 4096)
    for centre, radius in ((5 + 4j, 4), (2j, 1.999), (60 + 55j, 55)):
        for gamma in (0.1, 0.3):
            transitions = dictionary.energies()
            values = lorentzians(transitions, centre + radius * circle, gamma).mean(axis=1)
            exact = lorentzians(transitions, np.array([centre]), gamma)[:, 0]
            np.testing.assert_allclose(values, exact, rtol=0, atol=1e-6)
    pole = 5 - 0.1j
    values = lorentzians(np.array([5.0]), pole + 0.05 * circle, 0.1)
    assert abs((values * 0.05 * circle).mean()) > 0.5, "and where there is one, the test sees it"


def test_kernel_is_real_at_zero_and_gives_the_static_limit() -> None:
    dictionary = Dictionary(num=10, num_tail=3)
    kernel = dictionary.kernel(EnergyGrid(0, 20, 21), 0.1)
    assert kernel.shape == (13, 21) and not kernel[:, 0].imag.any()
    np.testing.assert_allclose(kernel[:, 0].real, 2 * dictionary.energies() / (dictionary.energies() ** 2 + 0.01))


def test_embedded_spectra_are_within_reach_of_the_dictionary(metals: list[CrystalRecord]) -> None:
    """tools/fit_dictionary.py does it for all of them."""
    dictionary = Dictionary()
    for record in metals[::25]:
        assert record.labels is not None and record.labels.broadening is not None
        kernel = dictionary.kernel(record.labels.grid, record.labels.broadening)
        eps = record.labels.eps_inter[0] - 1
        matrix, target = np.hstack([kernel.real, kernel.imag]).T, np.hstack([eps.real, eps.imag])
        strengths, _ = nnls(matrix, target)
        assert np.abs(matrix @ strengths - target).mean() < 0.02


def test_a_new_model_predicts_about_the_training_mean(metals: list[CrystalRecord]) -> None:
    statistics = statistics_of(metals, EnergyGrid())
    for head in (OscillatorHead(8, EnergyGrid()), OscillatorTensorHead(8, EnergyGrid(), 6)):
        head.prepare(statistics)
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.zero_()
            response = head.eval()(torch.zeros(1, 8), torch.zeros(1, 5, 6) if head.tensorial else None)
        # Twice the broadening: not the mean itself, but nearer to it than to the vacuum.
        error = (response.eps_inter[0] - statistics.mean_eps_inter).abs().mean()
        assert error < 0.25 * (statistics.mean_eps_inter - torch.tensor([1.0, 0.0])).abs().mean()
        if not head.tensorial:
            assert float(response.drude) == pytest.approx(float(statistics.mean_drude), rel=1e-5)


@pytest.mark.parametrize("tensorial", [False, True])
def test_checkpoint_restores_the_head_without_data(statistics: TrainingStatistics, tensorial: bool) -> None:
    build = partial(OscillatorTensorHead, 8, GRID, 6) if tensorial else partial(OscillatorHead, 8, GRID)
    features = (torch.randn(3, 8), torch.randn(3, 5, 6)) if tensorial else (torch.randn(3, 8),)
    head = build()
    head.prepare(statistics)
    buffer = io.BytesIO()
    torch.save(head.state_dict(), buffer)
    buffer.seek(0)
    other = build()
    with torch.no_grad():
        assert other.eval()(*features).eps_inter.isnan().all(), "not prepared: nothing that could be taken for a result"
        other.load_state_dict(torch.load(buffer, weights_only=True))
        assert torch.equal(other.eval()(*features).eps_inter, head.eval()(*features).eps_inter)
    assert not any("kernel" in key for key in head.state_dict())


def test_normalisation_is_computed_once(statistics: TrainingStatistics) -> None:
    head = OscillatorHead(8, GRID)
    head.prepare(statistics)
    scale = head.bank.scale.clone()
    head.prepare(replace(statistics, mean_eps_inter=2 * statistics.mean_eps_inter))
    assert torch.equal(head.bank.scale, scale) and (scale > 0).all()


def test_broadening_must_be_known_and_agree(statistics: TrainingStatistics) -> None:
    with pytest.raises(InputError, match=r"needs the broadening.*broadening_ev"):
        OscillatorHead(8, GRID).prepare(replace(statistics, broadening=None))
    with pytest.raises(InputError, match=r"broadening_ev is 0\.1 eV, but the training spectra have 0\.3 eV"):
        OscillatorHead(8, GRID, broadening_ev=0.1).prepare(statistics)
    with pytest.raises(InputError, match=r"broadening_ev is -1"):
        OscillatorHead(8, GRID, broadening_ev=-1)
    head = OscillatorHead(8, GRID, broadening_ev=0.1)
    head.prepare(replace(statistics, broadening=None))
    assert float(head.bank.broadening) == 0.1
    with pytest.raises(InputError, match="a dictionary of 0 energies"):
        Dictionary(num=0)


@pytest.mark.usefixtures("float64")
def test_tensors_turn_with_the_crystal(statistics: TrainingStatistics) -> None:
    torch.manual_seed(0)
    backbone = Goten(width=16, tensors=True)
    model = DielectricModule(backbone, head=OscillatorTensorHead, objective=TensorObjective(), grid=GRID).eval()
    model.head.prepare(statistics)
    record, rotation = prototype("Pm"), random_rotation(7)
    with torch.no_grad():
        one, other = (
            model(graph_of([crystal], model.cutoff)) for crystal in (record, transformed(record, rotation, np.zeros(3)))
        )
    matrices = [to_matrices(spectra_of(response, GRID)[0].require_tensor().eps_inter) for response in (one, other)]
    turned = rotation @ matrices[0] @ rotation.T
    assert np.abs(turned - matrices[1]).max() < 1e-10 * np.abs(turned).max()
    assert np.abs(matrices[0] - matrices[1]).max() > 1e-6


@pytest.mark.parametrize("tensorial", [False, True])
def test_every_parameter_learns(statistics: TrainingStatistics, tensorial: bool) -> None:
    torch.manual_seed(0)
    model = DielectricModule(
        Goten(width=16, tensors=True) if tensorial else OptiMetal2B(width=16),
        head=OscillatorTensorHead if tensorial else OscillatorHead,
        objective=TensorObjective() if tensorial else MaeObjective(),
        grid=GRID,
    )
    model.head.prepare(statistics)
    response = model(graph_of(sample_crystals(), model.cutoff, torch.float32))
    target = response.map(lambda tensor: tensor.detach() + 1 if tensor.is_floating_point() else tensor)
    target = Response(target.eps_inter, target.drude, anisotropy=target.anisotropy)
    model.objective.per_material(response, target)["loss"].mean().backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not idle
