"""Materials without a Drude frequency or without Re ε: their terms are left out, and nothing else changes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.frames import with_full_tensors
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals, RecordSource
from dielectric_gnn.data.store.check import verify_store
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.data.store.means import training_statistics
from dielectric_gnn.data.store.prepare import BuildOptions, build_store
from dielectric_gnn.metrics.spectral import DrudeR2, EnergyMeans, material_metrics, tensor_metrics
from dielectric_gnn.models.backbones import Goten, OptiMetal2B
from dielectric_gnn.models.heads import FreeFormTensorHead, OscillatorHead
from dielectric_gnn.targets.response import Response
from dielectric_gnn.training.callbacks.report import TestReport
from dielectric_gnn.training.evaluation import labels_of
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.objective import MaeObjective, Objective, TensorObjective
from dielectric_gnn.utils.errors import InputError

# What the command silences, too (trainer_parts.quiet): these tests use a plain Trainer.
pytestmark = pytest.mark.filterwarnings("ignore:.*(many workers|logging interval|LeafSpec|is not empty|`torch.jit).*")


def without(record: CrystalRecord, drude: bool = False, real: bool = False) -> CrystalRecord:
    """A material without one or both labels."""
    labels = record.labels
    assert labels is not None
    if drude:
        labels = replace(labels, drude=np.full_like(labels.drude, np.nan))
    if real:
        labels = replace(labels, eps_inter=np.nan + 1j * labels.eps_inter.imag)
    return replace(record, labels=labels)


NO_DRUDE, NO_REAL = {1, 4}, {3, 4}
"""Places of materials without these labels, among eight."""


def with_gaps(records: list[CrystalRecord]) -> list[CrystalRecord]:
    return [without(one, place in NO_DRUDE, place in NO_REAL) for place, one in enumerate(records)]


class MetalsWithGaps(RecordSource):
    """Embedded metals: every third without a Drude frequency, every fifth without Re ε."""

    def records(self, on_error: Any = "raise") -> Iterator[CrystalRecord]:
        for place, record in enumerate(ExampleMetals(parts=1).records()):
            yield without(record, drude=place % 3 == 0, real=place % 5 == 0)

    def split(self) -> dict[str, list[str]]:
        return ExampleMetals(parts=1).split()


def trainer(folder: Path, *callbacks: Any) -> Trainer:
    return Trainer(
        accelerator="cpu", max_epochs=1, default_root_dir=folder, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
        callbacks=list(callbacks),
    )  # fmt: skip


def model_of(objective: Objective) -> DielectricModule:
    torch.manual_seed(1)
    if objective.tensorial:
        return DielectricModule(Goten(width=8, tensors=True), head=FreeFormTensorHead, objective=objective).double()
    return DielectricModule(OptiMetal2B(8), objective=objective).double()


def dropped_loss(objective: Any, response: Response, target: Response) -> Tensor:
    """The mean loss from complete labels, with the terms of some materials dropped, in plain formulas."""
    rows = []
    for row in range(len(target.drude)):
        one, true = (part.map(lambda values, row=row: values[row : row + 1]) for part in (response, target))
        terms = objective.per_material(one, true)
        squares = (one.eps_inter - true.eps_inter).square()
        if objective.tensorial:
            assert one.anisotropy is not None and true.anisotropy is not None
            deviator = one.anisotropy.eps_inter - true.anisotropy.eps_inter
            squares = squares + deviator.square().sum(dim=1) / 3 + 1e-12
        parts = squares.sqrt().mean(dim=(0, 1))
        loss = objective.eps_weight * (parts[1] / 2 + (0 if row in NO_REAL else parts[0] / 2))
        rows.append(loss + (0 if row in NO_DRUDE else objective.drude_weight * terms["drude"][0]))
    return torch.stack(rows).mean()


@pytest.mark.parametrize("objective", [MaeObjective(0.7, 1.3), TensorObjective(0.7, 1.3)])
def test_loss_and_gradient_are_those_of_dropped_terms(
    metals: list[CrystalRecord], float64: None, objective: MaeObjective | TensorObjective
) -> None:
    records = [with_full_tensors(record) for record in metals[:60:7][:8]]
    model = model_of(objective)
    gradients, losses = [], []
    for labelled in (records, with_gaps(records)):
        store = CrystalStore.from_records(labelled, model.cutoff, np.float64, tensors=objective.tensorial)
        graph = store.gather(range(8)).to(dtype=torch.float64)
        model.zero_grad()
        response = model(graph)
        complete = labelled is records
        target = labels_of(graph)
        loss = dropped_loss(objective, response, target) if complete else model.loss(graph, response)
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert abs(losses[0] - losses[1]) < 1e-12 * abs(losses[0])
    assert gradients[0].abs().max() > 1e-3
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-12, atol=1e-12)


def test_metrics_are_those_of_the_labels_that_are_known(metals: list[CrystalRecord]) -> None:
    stores = [CrystalStore.from_records(list(records), 4.0) for records in (metals[:8], with_gaps(metals[:8]))]
    full, gaps = (labels_of(store.gather(range(8))) for store in stores)
    prediction = full.map(lambda values: values + 0.1)
    model = DielectricModule(OptiMetal2B(8))
    expected, found = (material_metrics(prediction, target, model.grid) for target in (full, gaps))
    missing = {"drude_error": NO_DRUDE, "drude_error_percent": NO_DRUDE, "mae_im": set(), "sc_im": set()}
    missing |= dict.fromkeys(("mae", "mae_re", "r2_re", "sc_re"), NO_REAL) | {"delta_e": NO_DRUDE | NO_REAL}
    for key, rows in missing.items():
        assert set(found[key].isnan().nonzero().flatten().tolist()) == rows, key
        kept = [row for row in range(8) if row not in rows]
        torch.testing.assert_close(found[key][kept], expected[key][kept], rtol=0, atol=0)
    kept = [row for row in range(8) if row not in NO_DRUDE]
    scores = [DrudeR2(), DrudeR2()]
    noise = torch.linspace(-0.5, 0.7, 8)
    scores[0].update(full.drude + noise, gaps.drude)
    scores[1].update((full.drude + noise)[kept], full.drude[kept])
    assert float(scores[0].compute()) == pytest.approx(float(scores[1].compute()), rel=1e-12)


def test_mean_errors_per_energy_count_the_labels_that_are_known(metals: list[CrystalRecord]) -> None:
    gaps = labels_of(CrystalStore.from_records(with_gaps(metals[:8]), 4.0).gather(range(8)))
    prediction = Response(
        torch.zeros_like(gaps.eps_inter), torch.zeros(8), Response(gaps.eps_inter * 0 + 2, gaps.drude)
    )
    prediction = replace(prediction, std=Response(torch.full_like(gaps.eps_inter, 2.0), gaps.drude))
    metric = EnergyMeans(gaps.eps_inter.shape[1])
    metric.update(prediction, gaps)
    kept = [row for row in range(8) if row not in NO_REAL]
    means = metric.compute()
    torch.testing.assert_close(means[:, 2], gaps.eps_inter[kept, :, 0].double().abs().mean(0))
    torch.testing.assert_close(means[:, 3], gaps.eps_inter[..., 1].double().abs().mean(0))
    assert (means[:, :2] == 2).all()


def test_tensor_metrics_of_materials_without_re_or_drude(metals: list[CrystalRecord]) -> None:
    hexagonal = [with_full_tensors(one) for one in metals if "hcp" in one.material_id][:5]
    full, gaps = (
        labels_of(CrystalStore.from_records(records, 4.0, tensors=True).gather(range(5)))
        for records in (hexagonal, with_gaps(hexagonal))
    )
    expected, found = (tensor_metrics(full, target) for target in (full, gaps))
    assert found["tensor_error"].isnan().tolist() == [row in NO_REAL for row in range(5)]
    assert found["drude_tensor_error"].isnan().tolist() == [row in NO_DRUDE for row in range(5)]
    assert (found["axis_error"].isnan() == expected["axis_error"].isnan()).all()
    assert found["axis_error"].nan_to_num().max() < 5


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_statistics_and_stores_hold_what_is_known(metals: list[CrystalRecord], tmp_path: Path, dtype: Any) -> None:
    build_store(MetalsWithGaps(), tmp_path / "store", BuildOptions(tensors=True, spectra=dtype, on_error="skip"), "x")
    store, split = open_store(tmp_path / "store")
    assert "sound" in verify_store(tmp_path / "store")[0]
    rows = split["train"]
    statistics = training_statistics(store, rows)
    assert store.drude is not None and store.eps_inter is not None
    drude, eps = store.drude[rows].astype(float), store.eps_inter[rows].astype(float)
    has_real = np.isfinite(eps[..., 0]).all(axis=1)
    assert 0 < statistics.num_drude == np.isfinite(drude).sum() < rows.size  # type: ignore[operator]
    assert 0 < statistics.num_real == has_real.sum() < rows.size  # type: ignore[operator]
    mean, mean_drude = statistics.means()
    assert float(mean_drude) == pytest.approx(np.nanmean(drude), rel=1e-6)
    np.testing.assert_allclose(mean[:, 0], eps[has_real, :, 0].mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean[:, 1], eps[..., 1].mean(axis=0), rtol=1e-5, atol=1e-6)
    assert "Drude frequency" in statistics.describe_labels()


@pytest.mark.parametrize("tensors", [False, True])
def test_fit_and_test_with_gaps(tmp_path: Path, tensors: bool, caplog: pytest.LogCaptureFixture) -> None:
    data = CrystalDataModule(MetalsWithGaps(), train_size=24, tensors=tensors, on_error="skip")
    objective = TensorObjective() if tensors else MaeObjective()
    model = model_of(objective).float()
    launch = trainer(tmp_path, TestReport())
    with caplog.at_level(logging.INFO, logger="lightning.pytorch"):  # which tools/compare_tensors.py makes quieter
        launch.fit(model, datamodule=data)
    (line,) = (record.getMessage() for record in caplog.records if "labels of the 24" in record.getMessage())
    assert model.training_statistics is not None
    assert f"Drude frequency {model.training_statistics.num_drude}" in line and "Im eps 24" in line
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    launch.test(model, datamodule=data, verbose=False)
    assert (tmp_path / "test" / "quantiles.png").is_file()
    lines = (tmp_path / "test" / "per_material.csv").read_text().splitlines()
    columns, rows = lines[0].split(","), [line.split(",") for line in lines[1:]]
    for key, count in {"loss": 0, "mae_im": 0}.items():
        assert sum(row[columns.index(key)] == "nan" for row in rows) == count
    for key in ("mae_re", "drude_error"):
        assert 0 < sum(row[columns.index(key)] == "nan" for row in rows) < len(rows)


class NoDrude(MetalsWithGaps):
    """Embedded metals without any Drude frequency or Re ε."""

    def records(self, on_error: Any = "raise") -> Iterator[CrystalRecord]:
        yield from (without(record, drude=True, real=True) for record in ExampleMetals(parts=1).records())


def test_a_training_without_any_such_label_states_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DielectricModule(OptiMetal2B(8), head=OscillatorHead)
    launch = trainer(tmp_path, TestReport())
    data = CrystalDataModule(NoDrude(), train_size=16)
    with pytest.warns(UserWarning, match="no training material has a label of"):
        launch.fit(model, datamodule=data)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert model.training_statistics is not None and model.training_statistics.num_drude == 0
    launch.test(model, datamodule=data, verbose=False)
    assert torch.isfinite(launch.callback_metrics["test/loss"])
    assert "test/drude_error" not in launch.callback_metrics


class PlainDrude(MaeObjective):
    """An objective that does not consider missing labels."""

    def per_material(self, prediction: Response, target: Response) -> dict[str, Tensor]:
        return {"loss": (prediction.drude - target.drude).abs() + 0 * prediction.eps_inter.sum(dim=(1, 2))}


def test_an_objective_that_does_not_leave_out_missing_labels_is_named(tmp_path: Path) -> None:
    data = CrystalDataModule(MetalsWithGaps(), train_size=24)
    with pytest.raises(InputError, match="PlainDrude has to leave out"):
        trainer(tmp_path).fit(DielectricModule(OptiMetal2B(8), objective=PlainDrude()), datamodule=data)
