"""Metrics against independent references, and against batch size."""

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from torchmetrics.functional import r2_score

from dielectric_gnn import optics
from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.metrics.spectral import COLUMNS, BatchMean, DrudeR2, MaterialMeans, MaterialTable, material_metrics
from dielectric_gnn.models.backbones import OptiMetal2B
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.training.module import DielectricModule

GRID = EnergyGrid()


def responses() -> tuple[Response, Response]:
    torch.manual_seed(0)
    energies = torch.linspace(0, 20, GRID.num)
    target = torch.stack([10 * torch.exp(-energies / 3) - 1, energies * torch.exp(-energies)], dim=-1) * torch.rand(
        4, 1, 2
    )
    prediction = target + 0.2 * torch.randn(4, GRID.num, 2)
    return Response(prediction, torch.tensor([5.0, 0.1, 3.0, 8.0])), Response(
        target, torch.tensor([5.5, 0.0, 2.0, 8.0])
    )


def test_every_metric_equals_an_independent_computation() -> None:
    prediction, target = responses()
    values = material_metrics(prediction, target, GRID)
    energies = GRID.energies()
    for row in range(4):
        p, t = prediction.eps_inter[row].double().numpy(), target.eps_inter[row].double().numpy()
        assert float(values["mae"][row]) == pytest.approx(np.abs(p - t).mean())
        for axis, name in enumerate(("re", "im")):
            assert float(values[f"mae_{name}"][row]) == pytest.approx(np.abs(p - t)[:, axis].mean())
            expected_r2 = r2_score(torch.from_numpy(p[:, axis]), torch.from_numpy(t[:, axis]))
            assert float(values[f"r2_{name}"][row]) == pytest.approx(float(expected_r2), rel=1e-5)
            similarity = 1 - trapezoid(np.abs(p - t)[:, axis], energies) / trapezoid(np.abs(t[:, axis]), energies)
            assert float(values[f"sc_{name}"][row]) == pytest.approx(similarity)
        lab = [
            optics.colour_lab(optics.response_colour(energies, s[:, 0] + 1j * s[:, 1], float(d)))
            for s, d in ((p, prediction.drude[row]), (t, target.drude[row]))
        ]
        assert float(values["delta_e"][row]) == pytest.approx(np.linalg.norm(lab[0] - lab[1]), rel=1e-6)
    np.testing.assert_allclose(values["drude_error"], [0.5, 0.1, 1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(values["drude_error_percent"], [100 / 11, np.nan, 50, 0], atol=1e-4)


def test_perfect_prediction_scores_perfectly() -> None:
    _, target = responses()
    values = material_metrics(target, target, GRID)
    for key in ("mae", "mae_re", "mae_im", "drude_error", "delta_e"):
        assert (values[key] == 0).all()
    for key in ("r2_re", "r2_im", "sc_re", "sc_im"):
        assert (values[key] == 1).all()


def test_what_is_not_predicted_is_undefined_and_does_not_count() -> None:
    prediction, target = responses()
    eps = prediction.eps_inter.clone()
    eps[..., 0] = torch.nan
    values = material_metrics(Response(eps, torch.full((4,), torch.nan)), target, GRID)
    assert all(values[key].isnan().all() for key in ("mae", "mae_re", "r2_re", "drude_error", "delta_e"))
    assert values["sc_im"].isfinite().all()
    means = MaterialMeans(("mae_re", "sc_im"))
    means.update(values)
    result = means.compute()
    assert result["mae_re"].isnan() and float(result["sc_im"]) == pytest.approx(float(values["sc_im"].mean()))


def test_drude_r2_equals_the_library() -> None:
    true, predicted = torch.rand(50) * 10, torch.rand(50) * 10
    metric = DrudeR2()
    for part in (slice(0, 1), slice(1, 20), slice(20, 50)):
        metric.update(predicted[part], true[part])
    assert float(metric.compute()) == pytest.approx(float(r2_score(predicted, true)), rel=1e-5)


def test_table_orders_materials_and_keeps_values() -> None:
    table = MaterialTable(("a", "b"))
    table.update(torch.tensor([4, 1]), {"a": torch.tensor([4.0, 1.0]), "b": torch.tensor([40.0, 10.0])})
    table.update(torch.tensor([2]), {"a": torch.tensor([2.0]), "b": torch.tensor([20.0])})
    index, rows = table.compute()
    assert index.tolist() == [1, 2, 4] and rows.tolist() == [[1, 10], [2, 20], [4, 40]]


def test_reported_means_do_not_depend_on_batch_size() -> None:
    torch.manual_seed(0)
    module = DielectricModule(OptiMetal2B(16)).eval()
    results = []
    for batch_size in (1, 8):
        data = CrystalDataModule(ExampleMetals(parts=1), eval_batch_size=batch_size)
        data.setup("test")
        means = MaterialMeans(tuple(column.key for column in COLUMNS))
        with torch.no_grad():
            for graph in data.test_dataloader():
                means.update(module.evaluate_response(module(graph), graph))
        results.append(means.compute())
    for column in COLUMNS:
        assert float(results[0][column.key]) == pytest.approx(float(results[1][column.key]), rel=1e-4), column.key


def test_mean_of_batches_counts_materials_and_hides_no_nan() -> None:
    mean = BatchMean()
    mean.update(torch.tensor(1.0), 64)
    mean.update(torch.tensor(3.0), 1)
    assert mean.compute().item() == pytest.approx((64 * 1.0 + 3.0) / 65)
    mean.update(torch.tensor(torch.nan), 8)
    assert mean.compute().isnan()
    mean.reset()
    mean.update(torch.tensor(2.0), 3)
    assert mean.compute().item() == 2.0
