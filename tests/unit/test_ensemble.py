"""Ensembles average their members and report their spread."""

from functools import partial

import numpy as np
import pytest
import torch

from dielectric_gnn.backbones import OptiMetal2B
from dielectric_gnn.data.graph import CrystalGraph
from dielectric_gnn.ensemble import Ensemble
from dielectric_gnn.errors import InputError
from dielectric_gnn.heads import FreeFormHead
from dielectric_gnn.metrics import EnergyMeans
from dielectric_gnn.module import DielectricModule
from dielectric_gnn.objective import MaeObjective
from dielectric_gnn.response import Response
from dielectric_gnn.testing import graph_of, labelled, sample_crystals


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
    assert response.spread is not None
    for name in ("eps_inter", "drude"):
        values = np.stack([getattr(one, name).numpy() for one in alone])
        np.testing.assert_allclose(getattr(response, name), values.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(getattr(response.spread, name), values.std(0, ddof=1), rtol=1e-4, atol=1e-6)


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
