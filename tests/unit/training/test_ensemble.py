"""Ensembles average their members and report their spread."""

from functools import partial

import numpy as np
import pytest
import torch

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.metrics.spectral import EnergyMeans
from dielectric_gnn.models.backbones import Goten, OptiMetal2B
from dielectric_gnn.models.heads import FreeFormHead, FreeFormTensorHead
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.testing import graph_of, labelled, sample_crystals
from dielectric_gnn.training.ensemble import Ensemble
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.objective import MaeObjective, TensorObjective
from dielectric_gnn.training.spectra import spectra_of
from dielectric_gnn.utils.errors import InputError


@pytest.fixture
def graph() -> CrystalGraph:
    return graph_of([labelled(record) for record in sample_crystals()], 5.5, torch.float32)


def member(seed: int, **options: float) -> DielectricModule:
    torch.manual_seed(seed)
    return DielectricModule(OptiMetal2B(8, **options)).eval()  # type: ignore[arg-type]


def test_mean_and_sample_standard_deviation(graph: CrystalGraph) -> None:
    members = [member(seed) for seed in range(3)]
    with torch.no_grad():
        response = Ensemble(members)(graph)
        alone = [one(graph) for one in members]
    assert response.std is not None
    for name in ("eps_inter", "drude"):
        values = np.stack([getattr(one, name).numpy() for one in alone])
        np.testing.assert_allclose(getattr(response, name), values.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(getattr(response.std, name), values.std(0, ddof=1), rtol=1e-4, atol=1e-6)


def test_mean_of_members_is_never_worse_than_their_mean_error(graph: CrystalGraph) -> None:
    """The triangle inequality: what makes ensembles worth having."""
    members = [member(seed) for seed in range(3)]
    ensemble = Ensemble(members)
    with torch.no_grad():
        together = ensemble.evaluate_response(ensemble(graph), graph)["loss"]
        alone = torch.stack([one.evaluate_response(one(graph), graph)["loss"] for one in members]).mean(0)
    assert (together <= alone + 1e-9).all()


def test_members_must_fit_together() -> None:
    with pytest.raises(InputError, match="at least two checkpoints"):
        Ensemble([member(0)])
    with pytest.raises(InputError, match=r"agree in cutoff, but one has 5\.5 and another 4\.0"):
        Ensemble([member(0), member(1, cutoff=4.0)])
    imaginary = DielectricModule(
        OptiMetal2B(8),
        head=partial(FreeFormHead, components=["im"], drude=False),
        objective=MaeObjective(drude_weight=0, components=["im"]),
    )
    with pytest.raises(InputError, match="agree in outputs"):
        Ensemble([member(0), imaginary])


def tensor_member(seed: int, num_tensors: int) -> DielectricModule:
    """A tensor model of some size of response, trained on so many tensors as it says."""
    torch.manual_seed(seed)
    model = DielectricModule(
        Goten(width=16, tensors=True), head=FreeFormTensorHead, objective=TensorObjective(), grid=EnergyGrid(0, 20, 21)
    )
    torch.nn.init.constant_(model.head.drude_mlp.layers[-1].bias, 2.0 + 5 * seed)
    torch.nn.init.normal_(model.head.drude_deviator.out.weight)
    model.training_statistics = TrainingStatistics(9, [29], 0.1, torch.zeros(21, 2), torch.tensor(1.0), num_tensors)
    return model.eval()


@pytest.mark.usefixtures("float64")
def test_tensors_of_an_ensemble_agree_with_its_averages() -> None:
    members = [tensor_member(seed, 5) for seed in range(3)]
    graph = graph_of(sample_crystals(), members[0].cutoff)
    with torch.no_grad():
        response = Ensemble(members)(graph)
        alone = [one(graph) for one in members]
    for spectrum in spectra_of(response, members[0].grid):
        assert spectrum.tensor is not None
        assert spectrum.tensor.drude_square[:3].mean() == pytest.approx(spectrum.drude**2, rel=1e-12)
        np.testing.assert_allclose(spectrum.tensor.eps_inter[:3].mean(axis=0), spectrum.eps_inter, atol=1e-12)
    roots = torch.stack([one.anisotropy.drude for one in alone])
    assert response.anisotropy is not None and response.std is not None
    torch.testing.assert_close(response.anisotropy.drude, roots.mean(0))
    torch.testing.assert_close(response.std.drude, torch.stack([one.drude for one in alone]).std(0))
    assert (response.drude < torch.stack([one.drude for one in alone]).mean(0)).any(), "members differ in direction"


@pytest.mark.parametrize("order", [1, -1])
def test_members_that_saw_averages_only_are_named(order: int) -> None:
    mixed = [tensor_member(0, 5), tensor_member(1, 0), tensor_member(2, 5)][::order]
    with pytest.raises(InputError, match=r"of the 3 members of the ensemble, number 2 .* averages only"):
        Ensemble(mixed)


@pytest.mark.usefixtures("float64")
def test_members_that_all_saw_averages_only_are_averaged() -> None:
    members = [tensor_member(seed, 0) for seed in range(2)]
    graph = graph_of(sample_crystals(), members[0].cutoff)
    with torch.no_grad():
        torch.testing.assert_close(
            Ensemble(members)(graph).drude, torch.stack([one(graph).drude for one in members]).mean(0)
        )


def test_energy_means_over_uneven_batches() -> None:
    torch.manual_seed(0)
    shape = (5, 7, 2)
    prediction, target, spread = (Response(torch.randn(shape), torch.rand(5)) for _ in range(3))
    metric = EnergyMeans(7)
    for rows in (slice(0, 1), slice(1, 5)):
        part = Response(spread.eps_inter[rows].abs(), spread.drude[rows])
        metric.update(
            Response(prediction.eps_inter[rows], prediction.drude[rows], part),
            Response(target.eps_inter[rows], target.drude[rows]),
        )
    error = (prediction.eps_inter - target.eps_inter).abs().mean(0)
    expected = torch.cat([spread.eps_inter.abs().mean(0), error], dim=1)
    torch.testing.assert_close(metric.compute(), expected.double())
