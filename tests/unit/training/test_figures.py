"""Figures go to each kind of logger by the method that it has; stand-ins for packages that are not installed."""

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger
from matplotlib.figure import Figure

from dielectric_gnn.training.callbacks.figures import log_figure, takes_figures


class Recorder:
    """Keeps the arguments of a call."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, *args: Any, **options: Any) -> None:
        self.calls.append((*args, *options.items()))


class WandbStandIn:
    def __init__(self) -> None:
        self.log_image, self.experiment = Recorder(), object()


class MLFlowStandIn:
    run_id = "run"

    def __init__(self) -> None:
        self.experiment = type("Client", (), {})()
        self.experiment.log_figure = Recorder()


def test_stand_ins_have_what_the_loggers_of_lightning_have() -> None:
    assert hasattr(WandbLogger, "log_image") and hasattr(MLFlowLogger, "run_id")


def test_figures_for_weights_and_biases() -> None:
    logger: Any = WandbStandIn()
    figure = Figure()
    assert takes_figures(logger)
    log_figure(logger, "val/spectra", figure, 7)
    assert logger.log_image.calls == [("val/spectra", [figure], ("step", 7))]


def test_figures_for_mlflow() -> None:
    logger: Any = MLFlowStandIn()
    figure = Figure()
    assert takes_figures(logger)
    log_figure(logger, "val/spectra", figure, 7)
    assert logger.experiment.log_figure.calls == [("run", figure, "val/spectra/00000007.png")]


@pytest.mark.parametrize("kind", ["csv", "dummy"])
def test_other_loggers_get_none(kind: str, tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path) if kind == "csv" else DummyLogger()
    assert not takes_figures(logger)
