"""fit → test → predict through the real command, on the embedded ab initio metals."""

import csv
import json
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from dielectric_gnn import optics
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.metrics.spectral import COLUMNS
from dielectric_gnn.prediction.loading import load_model
from dielectric_gnn.training.checkpoint import read_checkpoint
from tests.commands import Command


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def test_fit_says_what_it_does_and_leaves_everything(trained: Path) -> None:
    log = (trained / "fit.log").read_text()
    assert "model: OptiMetal2B → VectorAttentionPooling → FreeFormHead, 278,627 trainable parameters" in log
    assert "69 train, 15 val, 18 test" in log
    assert [line.split()[1] for line in log.splitlines() if line.startswith("epoch")] == ["1/4", "2/4", "3/4", "4/4"]
    assert f"test --ckpt_path {trained}/checkpoints/best.ckpt" in log
    history = rows_of(trained / "csv" / "version_0" / "metrics.csv")
    losses = [float(row["val/loss"]) for row in history if row["val/loss"]]
    assert len(losses) == 4 and losses[-1] < losses[0]
    config = yaml.safe_load((trained / "csv" / "version_0" / "fit.yaml").read_text())
    assert config["model"]["backbone"]["init_args"]["width"] == 16


def test_checkpoints_are_plain_and_the_best_is_the_best(trained: Path) -> None:
    best, last = (torch.load(trained / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("best", "last"))
    history = [float(row["val/loss"]) for row in rows_of(trained / "csv/version_0/metrics.csv") if row["val/loss"]]
    assert best["epoch"] == int(np.argmin(history)) and last["epoch"] == 3
    assert last["dielectric_gnn"]["training_statistics"]["broadening"] == 0.3
    assert last["dielectric_gnn"]["training_statistics"]["num_materials"] == 69


def test_tensorboard_has_scalars_and_figures(trained: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert {"train/loss", "val/loss", "val/delta_e"} <= set(events.Tags()["scalars"])
    assert len(events.Images("val/spectra")) == 2


def test_report_equals_metrics_computed_from_the_model(
    command: Command, trained: Path, metals: list[CrystalRecord]
) -> None:
    """The printed table, its files, and an independent evaluation one material at a time agree."""
    result = command("test", "--ckpt_path", str(trained / "checkpoints" / "best.ckpt"))
    summary = rows_of(trained / "test" / "summary.csv")
    assert [(row["predictor"], row["statistic"]) for row in summary] == [
        (name, statistic)
        for name in ("model", "composition kernel", "training mean")
        for statistic in ("mean", "median", "σ")
    ]
    assert (trained / "test" / "summary.md").read_text() in result.stdout
    rows = rows_of(trained / "test" / "per_material.csv")
    test_ids = ExampleMetals(parts=1).split()["test"]
    assert sorted(row["material_id"] for row in rows) == sorted(test_ids)

    model = load_model(trained / "checkpoints" / "best.ckpt")
    from dielectric_gnn.data.store.crystal_store import CrystalStore

    by_id = {record.material_id: record for record in metals}
    for row in rows:
        graph = CrystalStore.from_records([by_id[row["material_id"]]], 5.5).gather([0])
        with torch.no_grad():
            values = model.evaluate_response(model(graph), graph)
        for column in COLUMNS:
            np.testing.assert_allclose(float(row[column.key]), float(values[column.key]), rtol=2e-3, atol=1e-4)
    for statistic, function in (("mean", np.mean), ("median", np.median), ("σ", np.std)):
        shown = next(row for row in summary if (row["predictor"], row["statistic"]) == ("model", statistic))
        for column in COLUMNS:
            expected = function([float(row[column.key]) for row in rows])
            assert abs(float(shown[column.heading]) - expected) <= 0.51 * 10**-column.digits + 1e-5 * abs(expected)


def test_trivial_row_is_the_training_mean(command: Command, trained: Path, metals: list[CrystalRecord]) -> None:
    summary = rows_of(trained / "test" / "summary.csv")
    split = ExampleMetals(parts=1).split()
    averages = {record.material_id: record.labels.average() for record in metals if record.labels}
    mean_eps = np.mean([averages[m][0] for m in split["train"]], axis=0)
    mean_drude = np.mean([averages[m][1] for m in split["train"]])
    losses = []
    for m in split["test"]:
        difference = averages[m][0] - mean_eps
        mae = (np.abs(difference.real).mean() + np.abs(difference.imag).mean()) / 2
        losses.append(mae + abs(averages[m][1] - mean_drude))
    assert abs(float(summary[6]["loss"]) - np.mean(losses)) < 1e-3


def test_predicted_files_are_physics_of_the_prediction(command: Command, trained: Path, repository: Path) -> None:
    checkpoint = trained / "checkpoints" / "best.ckpt"
    result = command(
        "predict", "--ckpt_path", str(checkpoint), "--crystals", "docs/crystals/fcc_silver.cif",
        "--predictions.damping_ev", "0.2",
    )  # fmt: skip
    folder = trained / "predictions"
    assert f"in {folder}/" in result.stdout
    comments = dict(
        line[2:].strip().split(": ", 1)
        for line in (folder / "fcc_silver.csv").read_text().splitlines()
        if line[0] == "#"
    )
    assert comments["damping_ev"] == "0.2" and comments["broadening_ev"] == "0.3" and comments["formula"] == "Ag"
    table = {key: np.array([float(row[key]) for row in rows_of(folder / "fcc_silver.csv")]) for key in (
        "energy_ev", "eps_inter_re", "eps_inter_im", "eps_re", "eps_im", "n", "k", "reflectivity",
    )}  # fmt: skip
    np.testing.assert_allclose(table["energy_ev"], np.linspace(0, 20, 2001), atol=1e-9)
    inter = table["eps_inter_re"] + 1j * table["eps_inter_im"]
    omega, drude = table["energy_ev"][1:], float(comments["drude_ev"])
    total = inter[1:] - drude**2 / (omega**2 + 0.2j * omega)
    np.testing.assert_allclose(table["eps_re"][1:] + 1j * table["eps_im"][1:], total, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose((table["n"][1:] + 1j * table["k"][1:]) ** 2, total, rtol=1e-3, atol=1e-3)
    (summary,) = rows_of(folder / "summary.csv")
    lab = optics.colour_lab(optics.colour_xyz(table["energy_ev"], table["reflectivity"]))
    np.testing.assert_allclose([float(summary[key]) for key in ("lab_l", "lab_a", "lab_b")], lab, atol=0.02)
    assert summary["damping_ev"] == "0.2"
    with Image.open(folder / "fcc_silver.png") as picture:
        assert picture.size[0] > 600 and len(np.unique(np.asarray(picture.convert("L")))) > 50


def test_predict_without_crystals_takes_the_test_set(command: Command, trained: Path, tmp_path: Path) -> None:
    command(
        "predict", "--ckpt_path", str(trained / "checkpoints" / "best.ckpt"), "--run_dir", str(tmp_path),
        "--predictions.figures", "false",
    )  # fmt: skip
    ids = [row["material_id"] for row in rows_of(tmp_path / "predictions" / "summary.csv")]
    assert sorted(ids) == sorted(ExampleMetals(parts=1).split()["test"])
    assert not list((tmp_path / "predictions").glob("*.png"))


def test_validate_reports_the_stored_best_loss(command: Command, trained: Path) -> None:
    result = command("validate", "--ckpt_path", str(trained / "checkpoints" / "best.ckpt"))
    history = [float(row["val/loss"]) for row in rows_of(trained / "csv/version_0/metrics.csv") if row["val/loss"]]
    shown = next(line for line in result.stdout.splitlines() if "val/loss" in line)
    assert abs(float(shown.split("│")[2]) - min(history)) < 1e-5


def test_config_survives_the_checkpoint(trained: Path) -> None:
    config = read_checkpoint(trained / "checkpoints" / "last.ckpt")["dielectric_gnn"]["config"]
    assert json.loads(json.dumps(config)) == config
    assert config["model"]["objective"]["init_args"]["drude_weight"] == 1.0


def test_own_entries_train_through_the_command(command: Command, repository: Path, tmp_path: Path) -> None:
    """A folder of published-format files, one of them broken, with an awkward number of training materials."""
    folder = tmp_path / "entries"
    folder.mkdir()
    energies = np.linspace(0, 20, 2001)
    for number, element in enumerate(["Li", "Be", "Na", "Mg", "Al", "K", "Ca", "Sc", "Ti", "V", "Cr"]):
        spectrum = np.stack([energies, *[np.exp(-energies / (1 + number))] * 3], axis=1).tolist()
        entry = {
            "data": {"mat_id": element, "drude_freq": [3.0] * 3, "eps_inter_re": spectrum, "eps_inter_im": spectrum},
            "structure": {
                "lattice": {"matrix": (np.eye(3) * 3).tolist()},
                "sites": [{"species": [{"element": element, "occu": 1}], "abc": [0, 0, 0]}],
            },
        }
        (folder / f"{element}.json").write_text(json.dumps(entry))
    (folder / "broken.json").write_text('{"data": {')
    run = ["fit", "--config", "configs/base.yaml", "--config", "configs/data/entry_json.yaml",
           "--data.source.path", str(folder), "--model.backbone.width", "16", "--trainer.max_epochs", "2",
           "--trainer.accelerator", "cpu", "--data.batch_size", "4", "--run_dir"]  # fmt: skip
    # 9 training materials in batches of 4: the ninth is folded into the second batch.
    result = command(*run, str(tmp_path / "run"), "--data.split", "seeded")
    assert "9 train, 1 val, 1 test" in result.stdout and "1 materials were rejected" in result.stderr
    assert "broken.json" in (tmp_path / "run" / "rejects_fit.csv").read_text()
    result = command(*run, str(tmp_path / "other"), "--data.on_error", "raise", status=2)
    assert result.stderr.splitlines()[-1].startswith(f"error: {folder}/broken.json: not readable JSON")
