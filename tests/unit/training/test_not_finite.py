"""NaN and infinity in labels, losses and predictions: one line that names the material, never a figure or a mean."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.data.graphs.graph import CrystalGraph
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.store.writer import write_store
from dielectric_gnn.models.backbones import OptiMetal2B
from dielectric_gnn.prediction.summary import write_summary
from dielectric_gnn.prediction.writer import PredictionWriter
from dielectric_gnn.targets.response import Response
from dielectric_gnn.testing import labelled, sample_crystals
from dielectric_gnn.training.loss_monitor import LossMonitor, NonFiniteLoss
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.utils.errors import InputError, RecordError

# What the command silences, too (trainer_parts.quiet): these tests use a plain Trainer.
pytestmark = pytest.mark.filterwarnings("ignore:.*(many workers|logging interval|LeafSpec|is not empty|`torch.jit).*")

ROOT = Path(__file__).parents[3]


def trainer(folder: Path, epochs: int = 2, **options: object) -> Trainer:
    return Trainer(
        accelerator="cpu", max_epochs=epochs, default_root_dir=folder, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0, use_distributed_sampler=False,
        **options,  # type: ignore[arg-type]
    )  # fmt: skip


def damaged(data: CrystalDataModule, side: str, quantity: str, value: float) -> tuple[CrystalDataModule, str]:
    """A data module that has read its materials, one of which then gets a bad label; and the name of that one."""
    data.setup("fit")
    row = int(data.indices[side][1])
    labels = {"eps": data.store.eps_inter, "drude": data.store.drude}[quantity]
    assert labels is not None
    labels[row] = value
    return data, data.store.material_ids[row]


@pytest.mark.parametrize(("quantity", "value"), [("eps", np.nan), ("eps", np.inf), ("drude", np.inf)])
def test_a_label_that_is_not_finite_ends_a_training(quantity: str, value: float, tmp_path: Path) -> None:
    data, name = damaged(
        CrystalDataModule(ExampleMetals(parts=1), train_size=8, batch_size=4), "train", quantity, value
    )
    launch = trainer(tmp_path, limit_val_batches=0)
    model = DielectricModule(OptiMetal2B(8))
    with pytest.raises(InputError, match=rf"label of material {name} is not finite .*epoch 0, batch \d") as caught:
        launch.fit(model, datamodule=data)
    assert "\n" not in str(caught.value)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_nan_at_one_energy_of_re_is_no_missing_label(tmp_path: Path) -> None:
    data, name = damaged(CrystalDataModule(ExampleMetals(parts=1), train_size=8, batch_size=4), "train", "eps", 1.0)
    assert data.store.eps_inter is not None
    data.store.eps_inter[data.indices["train"][1], 3, 0] = np.nan
    with pytest.raises(InputError, match=f"label of material {name} is not finite"):
        trainer(tmp_path).fit(DielectricModule(OptiMetal2B(8)), datamodule=data)


def test_a_label_that_is_not_finite_ends_a_validation(tmp_path: Path) -> None:
    data, name = damaged(CrystalDataModule(ExampleMetals(parts=1), train_size=8), "val", "eps", np.nan)
    with pytest.raises(InputError, match=f"label of material {name} is not finite"):
        trainer(tmp_path).validate(DielectricModule(OptiMetal2B(8)), datamodule=data, verbose=False)


def test_a_training_that_diverges_names_the_material(tmp_path: Path) -> None:
    model = DielectricModule(OptiMetal2B(8))
    with torch.no_grad():
        next(iter(model.head.parameters())).fill_(torch.nan)
    with pytest.raises(InputError, match=r"loss of material \S+ is not finite .*batch 0.*diverged"):
        trainer(tmp_path).fit(model, datamodule=CrystalDataModule(ExampleMetals(parts=1), train_size=8))


def test_a_checkpoint_is_not_written_after_a_bad_loss(tmp_path: Path) -> None:
    """As on a GPU, where losses are looked at later: saving looks first."""
    launch = trainer(tmp_path, epochs=1)
    model = DielectricModule(OptiMetal2B(8))
    launch.fit(model, datamodule=CrystalDataModule(ExampleMetals(parts=1), train_size=8))
    model._loss_monitor.add(torch.tensor([1.0, torch.inf]), torch.tensor([5, 7]), 3)
    with pytest.raises(InputError, match=r"not finite .*batch 3"):
        launch.save_checkpoint(tmp_path / "bad.ckpt")
    assert not (tmp_path / "bad.ckpt").exists()


def test_the_first_non_finite_loss_is_found() -> None:
    watch = LossMonitor()
    rows = torch.tensor([4, 9])
    due = [watch.add(torch.ones(2), rows, batch) for batch in range(50)]
    assert due == [False] * 49 + [True] and watch.first_non_finite() is None
    for batch, losses in enumerate(([1.0, 2.0], [1.0, torch.nan], [torch.inf, 1.0])):
        watch.add(torch.tensor(losses), rows, batch)
    assert watch.first_non_finite() == NonFiniteLoss(9, 1)
    assert watch.first_non_finite() is None


class SometimesInfinite(DielectricModule):
    """Answers some materials with what is no number."""

    def forward(self, graph: CrystalGraph) -> Response:
        response = super().forward(graph)
        bad = (graph.index % 3 == 1)[:, None, None]
        return replace(response, eps_inter=torch.where(bad, torch.nan, response.eps_inter))


def structures(folder: Path) -> list[str]:
    """Five files of one crystal at five lattice constants."""
    text = (ROOT / "tests/data/odd_inputs/hostile_cells/slow_skew.vasp").read_text().replace("4e7", "0")
    for place in range(5):
        (folder / f"m{place}.vasp").write_text(text.replace("\n1.0\n", f"\n{1 + place / 100}\n"))
    return [str(folder)]


def test_a_prediction_that_is_not_finite_is_left_out_and_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    data = CrystalDataModule(crystals=structures(tmp_path / "in"), on_error="skip")
    writer = PredictionWriter(figures=True)
    model = SometimesInfinite(OptiMetal2B(8))
    trainer(tmp_path, callbacks=[writer]).predict(model, datamodule=data, return_predictions=False)
    folder = tmp_path / "predictions"
    with (folder / "rejects.csv").open() as file:
        rejects = list(csv.DictReader(file))
    assert [row["source"] for row in rejects] == ["m1", "m4"] and "not finite" in rejects[0]["problem"]
    with (folder / "summary.csv").open() as file:
        assert [row["material_id"] for row in csv.DictReader(file)] == ["m0", "m2", "m3"]
    assert (
        {path.stem for path in folder.glob("m*.png")} == {"m0", "m2", "m3"} == {p.stem for p in folder.glob("m*.csv")}
    )
    assert "2 predictions are not finite" in capsys.readouterr().out


def test_a_summary_of_nothing_is_written(tmp_path: Path) -> None:
    """Where no prediction is finite."""
    write_summary(tmp_path, [], "-q_lsp")
    assert len((tmp_path / "summary.csv").read_text().splitlines()) == 1 and (tmp_path / "index.html").is_file()


def test_a_prediction_that_is_not_finite_ends_a_run_that_skips_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    data = CrystalDataModule(crystals=structures(tmp_path / "in"))
    with pytest.raises(InputError, match="prediction for material m1 is not finite"):
        trainer(tmp_path).predict(SometimesInfinite(OptiMetal2B(8)), datamodule=data, return_predictions=False)


def with_label(change: str) -> CrystalRecord:
    record = labelled(sample_crystals()[0])
    assert record.labels is not None
    eps, drude = record.labels.eps_inter.copy(), record.labels.drude.copy()
    broadening = record.labels.broadening
    if change == "eps":
        eps[0, 3] = 1e39
    elif change == "both parts":
        eps[0, 3] = 1.7e308 * (1 + 1j)
    elif change == "drude":
        drude[1] = 1e39
    elif change == "broadening":
        broadening = 1e300
    return replace(record, labels=replace(record.labels, eps_inter=eps, drude=drude, broadening=broadening))


@pytest.mark.parametrize(
    ("change", "message"),
    [("eps", "eps_inter reaches"), ("both parts", "eps_inter"), ("drude", "drude_freq"), ("broadening", "broadening")],
)
def test_labels_beyond_all_precisions_are_refused(change: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        with_label(change)


def test_spectra_beyond_half_precision_are_refused_when_a_store_is_built(tmp_path: Path) -> None:
    record = labelled(sample_crystals()[0])
    assert record.labels is not None
    high = replace(record, labels=replace(record.labels, eps_inter=record.labels.eps_inter + 7e4))
    for dtype, fits in (("float16", False), ("float32", True)):
        records = [replace(high, material_id=f"m{place}") for place in range(3)]
        split = {"train": ["m0"], "val": ["m1"], "test": ["m2"]}
        try:
            write_store(tmp_path / dtype, records, 5.5, lambda *_, split=split: split, spectra_dtype=dtype)
            assert fits
        except RecordError as error:
            assert not fits and "float16" in str(error)


def gradient_of(value: float) -> Tensor:
    """Of an absolute error: what made a training on NaN go on to its end."""
    weight = torch.zeros((), requires_grad=True)
    (weight - value).abs().backward()
    assert weight.grad is not None
    return weight.grad


def test_why_the_loss_is_looked_at() -> None:
    assert gradient_of(float("nan")) == 0
