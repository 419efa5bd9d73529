"""The record that a training leaves: complete, right, and without a trace in the training itself."""

import csv
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.backbones import OptiMetal2B
from dielectric_gnn.studies.callback import ScalingRecord
from dielectric_gnn.studies.flops import count_training_flops
from dielectric_gnn.studies.run_description import family_hash, subset_id
from dielectric_gnn.targets.grid import EnergyGrid
from dielectric_gnn.targets.response import Response
from dielectric_gnn.training.evaluation import ResponseModule, labels_of
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.training.objective import MaeObjective
from dielectric_gnn.training.run_record import RECORD, read_record
from tests.commands import SMALL, Command, run_command

TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")


@pytest.fixture(scope="module")
def metals_store(metals: list[CrystalRecord]) -> CrystalStore:
    return CrystalStore.from_records(metals, cutoff=5.5)


class TwoMaps(ResponseModule):
    """Elements of a crystal → hidden → spectrum, by two linear maps; the second adds its product in place."""

    def __init__(self) -> None:
        super().__init__(EnergyGrid(), MaeObjective(), frozenset({"re", "im", "drude"}), 5.5)
        self.first, self.second = nn.Linear(84, 7), nn.Parameter(torch.zeros(7, 4002))

    def forward(self, graph: CrystalGraph) -> Response:
        elements = torch.zeros(graph.num_crystals, 84).index_add(
            0, graph.batch, nn.functional.one_hot(graph.atomic_numbers, 84).float()
        )
        spectrum = torch.zeros(graph.num_crystals, 4002).addmm_(self.first(elements), self.second)
        return Response(spectrum.view(-1, 2001, 2), spectrum[:, 0])


def test_flops_are_those_of_the_linear_maps(metals_store: CrystalStore) -> None:
    """2·rows·in·out forward, and as much again for the gradient of the weights, and for that of an inner input."""
    counted = count_training_flops(TwoMaps(), metals_store, np.arange(12))
    assert counted.per_sample == 2 * 84 * 7 * 2 + 2 * 7 * 4002 * 3


def test_counting_leaves_no_trace(metals_store: CrystalStore) -> None:
    torch.manual_seed(0)
    module = DielectricModule(OptiMetal2B(width=16))
    graph = metals_store.gather(np.arange(8))
    module.objective.per_material(module(graph), labels_of(graph))["loss"].mean().backward()
    gradients = [None if value.grad is None else value.grad.clone() for value in module.parameters()]
    state = {key: value.clone() for key, value in module.state_dict().items()}
    generator = torch.get_rng_state()
    count_training_flops(module, metals_store, np.arange(12))
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    for value, gradient in zip(module.parameters(), gradients, strict=True):
        assert (value.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(value.grad, gradient)  # type: ignore[arg-type]


def test_training_is_the_same_with_and_without(
    command: Command, trained: Path, tmp_path: Path, repository: Path
) -> None:
    """Bit for bit, beside a run whose command has no such callback."""
    (tmp_path / "bare.py").write_text(
        "import sys\nimport dielectric_gnn.cli.training as cli\nfrom lightning.pytorch import Callback\n"
        "cli.ScalingRecord = lambda study: Callback()\ncli.run(sys.argv[1:])\n"
    )
    line = [tmp_path / "bare.py", "fit", "--config", "configs/base.yaml", *SMALL, "--run_dir", tmp_path / "run"]
    assert run_command(*line).returncode == 0
    assert not (tmp_path / "run" / RECORD).exists() and (trained / RECORD).exists()
    with_record, without = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (trained, tmp_path / "run")
    )
    for key, value in without["state_dict"].items():
        assert torch.equal(with_record["state_dict"][key], value), key
    assert with_record["global_step"] == without["global_step"] == 20


def test_the_record_says_what_the_logs_say(trained: Path) -> None:
    record = read_record(trained / RECORD)
    assert (record.status, record.name, record.study, record.seed) == ("finished", "run", "", 1)
    assert (record.backbone, record.head, record.width) == ("OptiMetal2B-CGConv", "FreeFormHead", 16)
    assert (record.num_parameters, record.num_train) == (278_627, 69)
    assert (record.epochs, record.steps, record.samples_seen) == (4, 20, 4 * 69)
    ids = (trained / "train_ids.txt").read_text().split()
    assert record.subset == subset_id(np.array(sorted(ids, reverse=True)))
    with (trained / "csv" / "version_0" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["val/loss"]]
    best = min(rows, key=lambda row: float(row["val/loss"]))
    assert record.best_validation_loss == record.metrics["validation/loss"] == float(best["val/loss"])
    assert record.metrics["validation/mae"] == float(best["val/mae"])
    assert [point["validation/loss"] for point in record.learning_curve] == [float(row["val/loss"]) for row in rows]
    assert record.settings["learning_rate"] == 1e-3 and record.settings["max_epochs"] == 4
    # The objective is the sum of its terms.
    terms = record.metrics["validation/loss_eps"] + record.metrics["validation/loss_drude"]
    assert terms == pytest.approx(record.metrics["validation/loss"], rel=1e-6)


def test_a_test_completes_the_record(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit = ("fit", "--config", "configs/base.yaml", *SMALL, "--trainer.max_epochs", "2", "--figures.every_n_epochs", "0")
    command(*fit, "--run_dir", str(run))
    trained_alone = (run / RECORD).read_bytes()
    best, last = (str(run / "checkpoints" / f"{name}.ckpt") for name in ("best", "last"))
    elsewhere = ("--data.source", "dielectric_gnn.data.sources.SyntheticMetals", "--data.source.num", "60",
                 "--data.source.broadening_ev", "0.3")  # fmt: skip
    command("test", "--ckpt_path", best, *elsewhere)
    assert (run / RECORD).read_bytes() == trained_alone, "not with other data"
    (run / "checkpoints" / "copy.ckpt").write_bytes(Path(last).read_bytes())
    command("test", "--ckpt_path", str(run / "checkpoints" / "copy.ckpt"))
    assert (run / RECORD).read_bytes() == trained_alone, "nor with another checkpoint"
    command("test", "--ckpt_path", best)
    record = read_record(run / RECORD)
    with (run / "test" / "summary.csv").open() as file:
        means = next(row for row in csv.DictReader(file) if (row["predictor"], row["statistic"]) == ("model", "mean"))
    assert f"{record.metrics['test/loss']:.3f}" == means["loss"]
    assert f"{record.metrics['test/mae']:.3f}" == means["MAE ε"]
    before = json.loads(trained_alone)
    after = json.loads((run / RECORD).read_text())
    assert {key: after["metrics"][key] for key in before["metrics"]} == before["metrics"]
    assert {**after, "metrics": 0, "cost": 0} == {**before, "metrics": 0, "cost": 0}


def test_epochs_without_validation_repeat_no_loss(command: Command, tmp_path: Path) -> None:
    """With a validation every other epoch: in the record, the lines, the log and the choice of best.ckpt."""
    run = tmp_path / "run"
    fit = ("fit", "--config", "configs/base.yaml", *SMALL, "--figures.every_n_epochs", "0", "--trainer.max_epochs", "6")
    shown = command(*fit, "--trainer.check_val_every_n_epoch", "2", "--run_dir", str(run)).stdout
    record = read_record(run / RECORD)
    losses = [point.get("validation/loss") for point in record.learning_curve]
    assert len(losses) == 6 and losses[::2] == [None] * 3 and None not in losses[1::2]
    assert len(set(losses[1::2])) == 3 and all("train/loss" in point for point in record.learning_curve)
    validated = [loss for loss in losses if loss is not None]
    assert record.best_validation_loss == record.metrics["validation/loss"] == min(validated)
    lines = [line for line in shown.splitlines() if line.startswith("epoch ")]
    assert ["val/loss" in line for line in lines] == [False, True] * 3
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == losses.index(min(validated))
    with (run / "csv" / "version_0" / "metrics.csv").open() as file:
        assert [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]] == validated


def test_a_loss_that_is_not_finite_is_never_the_best() -> None:
    callback = ScalingRecord()
    trainer: Any = SimpleNamespace(
        callback_metrics={}, current_epoch=0, global_step=1, world_size=1, is_global_zero=True, default_root_dir="."
    )
    for loss in (math.nan, 3.0, math.nan, 2.0, math.inf):
        trainer.callback_metrics = {"val/loss": torch.tensor(loss)}
        callback.on_validation_end(trainer, TwoMaps())
        callback.on_train_epoch_end(trainer, TwoMaps())
    assert callback.state_dict()["best"] == {"validation/loss": 2.0}
    assert len(callback.state_dict()["curve"]) == 5


def test_options_of_the_model_make_its_family(command: Command, trained: Path) -> None:
    """Not its width, the rate, the schedule or the data."""
    model = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)["dielectric_gnn"]["config"]["model"]
    record = read_record(trained / RECORD)
    assert record.family == family_hash(model)
    assert record.objective == (
        "MaeObjective(axes=[0, 1], drude_weight=1.0, eps_weight=1.0, quantities=['drude', 'im', 're'])"
    )
    assert record.settings["optimizer"].startswith("AdamW(") and "lr=" not in record.settings["optimizer"]
    assert record.settings["validation"].startswith(f"{record.settings['num_validation']}-")
    assert record.settings["test"].startswith(f"{record.settings['num_test']}-")

    def changed(part: str, **options: object) -> dict[str, Any]:
        return {**model, part: {**model[part], "init_args": {**model[part].get("init_args", {}), **options}}}

    same = changed("backbone", width=512), changed("optimizer", lr=1.0), {**model, "schedule": None}
    assert {family_hash(each) for each in same} == {record.family}
    others = changed("backbone", num_layers=5), changed("head", components=["im"]), changed("pooling", extra=1)
    assert len({record.family, *(family_hash(each) for each in others)}) == 4


def test_several_processes_leave_one_record(command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command("fit", "--config", "configs/base.yaml", *SMALL, "--trainer.max_epochs", "2", *TWO, "--run_dir", str(run))
    record = read_record(run / RECORD)
    # 69 materials on two processes: one sits out an epoch.
    assert (record.status, record.samples_seen, record.cost["world_size"]) == ("finished", 2 * 68, 2)
    assert record.training_flops and record.cost["cpu_seconds"] > 0
    assert [path.name for path in run.rglob("run_record*")] == [RECORD]
