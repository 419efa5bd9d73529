"""Metrics of users: means over materials, grids that a metric does not support, names that occur twice."""

import pytest
import torch
from torch import Tensor

from dielectric_gnn.metrics.material_metric import MaterialMetric
from dielectric_gnn.models.backbones import OptiMetal2B
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.utils.errors import InputError


class DrudeBias(MaterialMetric):
    """Mean signed error of ω_D of metals, on grids that reach 10 eV."""

    key, heading = "drude_bias", "Δω_D (eV)"

    def supports_grid(self, grid: EnergyGrid) -> bool:
        return grid.stop >= 10

    def per_material(self, prediction: Response, target: Response, grid: EnergyGrid) -> Tensor:
        return (prediction.drude - target.drude).where(target.drude > 0, torch.nan)


class Clash(DrudeBias):
    """Has the key of a metric of the published table."""

    key = "mae"


def response(*drude: float) -> Response:
    return Response(torch.zeros(len(drude), 3, 2), torch.tensor(drude))


def test_the_mean_leaves_out_undefined_values_and_does_not_depend_on_batches() -> None:
    grid = EnergyGrid(0, 20, 3)
    prediction, target = response(2.0, 5.0, 9.0), response(1.0, 0.0, 6.0)
    one, split = DrudeBias(), DrudeBias()
    one.update(prediction, target, grid)
    for row in range(3):
        split.update(prediction.map(lambda x, r=row: x[r : r + 1]), target.map(lambda x, r=row: x[r : r + 1]), grid)
    assert float(one.compute()) == float(split.compute()) == 2.0


def test_a_metric_is_left_out_where_the_grid_does_not_support_it() -> None:
    for stop, expected in ((20.0, True), (5.0, False)):
        model = DielectricModule(OptiMetal2B(8), grid=EnergyGrid(0, stop, 11), extra_metrics=[DrudeBias()])
        assert ("drude_bias" in model.metric_keys) is expected
    assert model.config is not None and "DrudeBias" in str(model.config["model"]["extra_metrics"])


def test_a_key_that_occurs_twice_is_refused() -> None:
    with pytest.raises(InputError, match="'mae'"):
        DielectricModule(OptiMetal2B(8), extra_metrics=[Clash()])
