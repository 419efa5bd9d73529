"""The benchmark of a GPU: what it reports, and that it finds results that differ."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from dielectric_gnn.cli.benchmark import gpu
from dielectric_gnn.cli.benchmark.device import equality
from dielectric_gnn.cli.benchmark.device.data_parallel import measure_data_parallel
from dielectric_gnn.cli.benchmark.device.models import BACKBONES, batch, combinations, crystals
from dielectric_gnn.cli.benchmark.device.report import Report
from dielectric_gnn.cli.benchmark.device.steps import measure_epoch, measure_step
from dielectric_gnn.cli.benchmark.predict import Model
from dielectric_gnn.data.graphs.graph import DEFAULT_CUTOFF
from dielectric_gnn.data.store.resident import ResidentStore
from dielectric_gnn.utils.errors import InputError

CPU = torch.device("cpu")


def test_tensors_are_combined_with_equivariant_backbones_only() -> None:
    heads = [(name, head) for name, head, _ in combinations(("optimate", "cg"))]
    average = ["FreeFormHead", "LowRankHead", "OscillatorHead"]
    tensor = ["FreeFormTensorHead", "OscillatorTensorHead"]
    assert heads == [*(("optimate", head) for head in average), *(("cg", head) for head in average + tensor)]


@pytest.mark.parametrize("name", BACKBONES)
def test_all_models_have_one_cutoff(name: Model) -> None:
    """The width is not taken for another argument of a backbone that has none."""
    assert BACKBONES[name](16).cutoff == DEFAULT_CUTOFF


def test_a_device_that_computes_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is a single weight, changed by a thousandth when the model is moved to the device."""
    (_, _, build), *_ = combinations(("optimetal2b_cgc",))
    graph = batch(4, CPU)
    assert equality.compare(build, 8, graph, CPU)["equal"] is True

    def move(self: nn.Module, *args: object) -> nn.Module:
        with torch.no_grad():
            next(parameter for name, parameter in self.named_parameters() if "head" in name).mul_(1.001)
        return self

    monkeypatch.setattr(nn.Module, "to", move)
    assert equality.compare(build, 8, graph, CPU)["equal"] is False


def test_resident_batches_that_differ_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    store = crystals(4, 0.02)
    found = equality.compare_resident(store, CPU)
    assert found["equal"] is True and float(found["arrays"]) >= 7
    gather = ResidentStore.gather
    monkeypatch.setattr(ResidentStore, "gather", lambda self, rows: gather(self, rows[::-1]))
    assert equality.compare_resident(store, CPU)["equal"] is False


def test_more_materials_per_step_need_more_arithmetic_but_not_more_launches() -> None:
    few, many = (measure_step("optimetal2b_cgc", 8, batch(number, CPU), False, 1, 1e9) for number in (2, 8))
    assert few["launches"] == many["launches"]

    def operations(row: dict[str, str | float | bool]) -> float:
        return float(row["share of matrix products (%)"]) * float(row["ms per step"])

    assert operations(many) > 2 * operations(few)


def test_an_epoch_has_every_material(monkeypatch: pytest.MonkeyPatch) -> None:
    resident = ResidentStore(crystals(4, 0.02), CPU)
    gathered: list[int] = []
    gather = ResidentStore.gather

    def counted(self: ResidentStore, rows: list[int]) -> object:
        gathered.append(len(rows))
        return gather(self, rows)

    monkeypatch.setattr(ResidentStore, "gather", counted)
    row = measure_epoch("optimetal2b_cgc", 8, resident, 10, 4, bf16=False)
    assert row["materials"] == 10 and float(row["seconds"]) > 0
    assert gathered[1:] == [4, 4, 2]  # the first batch makes the state of the optimiser


def test_ddp_leaves_no_process_group() -> None:
    row = measure_data_parallel("optimetal2b_cgc", 8, batch(4, CPU), 1)
    assert row["equal"] is True and row["backend"] == "gloo"
    assert not torch.distributed.is_initialized()


def test_rows_that_fail_or_differ_or_come_too_late_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report({"device": "CPU"}, minutes=5)

    def fail() -> dict[str, float]:
        raise RuntimeError("out of memory\nby 3 | 4 GB")

    report.add("steps", {"backbone": "cg"}, fail)
    report.add("steps", {"backbone": "goten"}, lambda: {"ms": 1.23456, "equal": False})
    report.started -= 600
    report.add("epoch", {"backbone": "goten"}, fail)
    assert "RuntimeError: out of memory" in report.failed[0] and report.unequal == ["steps: goten 1.23 no"]
    assert report.left_out == ["epoch: goten"]
    assert capsys.readouterr().out.count("\n") == 3
    assert json.loads(report.to_json())["tables"]["steps"][1]["ms"] == 1.23456
    table = [line for line in report.markdown().splitlines() if line.startswith("|")]
    assert table[0] == "| backbone | failed | ms | equal |" and table[3] == "| goten | – | 1.23 | no |"
    assert "3 \\| 4" in table[2]


def test_results_that_differ_end_with_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(report: Report, *_: object) -> None:
        report.add("equality", {"backbone": "cg"}, lambda: {"equal": False})

    monkeypatch.setattr(gpu, "_measure", measure)
    with pytest.raises(SystemExit) as ended:
        gpu.run(out=tmp_path, device="cpu", quick=True)
    assert ended.value.code == 1 and "not equal: equality: cg" in capsys.readouterr().err
    assert (tmp_path / "gpu.md").exists() and (tmp_path / "gpu.json").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_missing_device_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cuda"):
        gpu.run(out=tmp_path, device="cuda")
