"""Cross-validation by the real command: killed and launched again, compared, and mistakes."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import dielectric_gnn as dg
from dielectric_gnn.data.sources import SyntheticMetals
from dielectric_gnn.training.run_record import RECORD, read_record
from tests.commands import ROOT, Command, environment

NUM = 24
DATA = ("--data.source", "SyntheticMetals", "--data.source.num", str(NUM))
BASE = ("--config", "configs/base.yaml", "--config", "configs/trainer/cpu.yaml", *DATA, "--folds", "2")
KERNEL = ("--config", "configs/baseline/composition_kernel.yaml")
NETWORK = ("--model.backbone.width", "8", "--trainer.max_epochs", "3", "--data.batch_size", "8")


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "per_material.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def killed_after_the_first_run(*words: str, out: Path) -> Path:
    """Launch, and kill with SIGKILL once a run is finished and another is not; returns the folder of the finished."""
    line = [sys.executable, "-m", "dielectric_gnn", "cross-validate", *words, "--out", str(out)]
    process = subprocess.Popen(
        line, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True
    )
    deadline = time.monotonic() + 200
    while not (tested := [one for one in out.glob("runs/*/run_record.json") if "test/loss" in one.read_text()]):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return tested[0].parent


@pytest.fixture(scope="module")
def kernel(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cv") / "kernel"
    done = killed_after_the_first_run(*BASE, *KERNEL, out=out)
    before = (done / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    assert not (out / "per_material.csv").exists()
    shown = command("cross-validate", *BASE, *KERNEL, "--out", str(out)).stdout
    assert (done / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before  # kept, not trained again
    assert f"{NUM} materials" in shown and (out / "summary.md").read_text() in shown
    return out


def test_every_material_is_predicted_once_by_a_model_without_its_formula(kernel: Path) -> None:
    found = rows(kernel)
    assert len(found) == len({row["material_id"] for row in found}) == NUM
    formulas = {row["material_id"]: row["formula"] for row in found}
    for number in range(2):
        split = json.loads((kernel / "folds" / f"fold-{number}.json").read_text())
        held_out = {formulas[name] for name in split["test"]}
        trained_on = (kernel / "runs" / f"fold{number}-s0" / "train_ids.txt").read_text().split()
        assert sorted(trained_on) == sorted(split["train"]) and not split["val"]
        assert held_out.isdisjoint(formulas[name] for name in trained_on)
        assert {row["material_id"] for row in found if row["fold"] == str(number)} == set(split["test"])


def test_errors_are_those_of_the_tests_and_of_the_stored_spectra(kernel: Path) -> None:
    found = rows(kernel)
    for number in range(2):
        losses = [float(row["loss"]) for row in found if row["fold"] == str(number)]
        record = read_record(kernel / "runs" / f"fold{number}-s0" / RECORD)
        assert record.status == "finished" and record.metrics["test/loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    stored = np.load(kernel / "spectra.npz")
    data = dg.CrystalDataModule(source=SyntheticMetals(NUM), all_as="test")
    data.setup("test")
    assert data.store.eps_inter is not None and data.store.drude is not None
    assert stored["material_ids"].tolist() == list(data.store.material_ids) == [row["material_id"] for row in found]
    difference = stored["eps_inter"] - (data.store.eps_inter[..., 0] + 1j * data.store.eps_inter[..., 1])
    mae = (np.abs(difference.real) + np.abs(difference.imag)).mean(axis=1) / 2
    drude = np.abs(stored["drude_ev"] - data.store.drude)
    np.testing.assert_allclose([float(row["loss"]) for row in found], mae + drude, rtol=1e-4)
    np.testing.assert_allclose([float(row["drude_predicted_ev"]) for row in found], stored["drude_ev"], rtol=1e-5)


def test_a_network_with_two_seeds_is_compared_with_the_kernel(kernel: Path, command: Command, tmp_path: Path) -> None:
    out = tmp_path / "network"
    words = (*BASE, *NETWORK, "--seeds", "0", "1", "--workers", "2", "--validation", "0.2", "--out", str(out))
    shown = command("cross-validate", *words).stdout
    assert "mean prediction" in shown
    losses = {seed: [float(row["loss"]) for row in rows(out) if row["seed"] == seed] for seed in ("0", "1", "ensemble")}
    assert {len(values) for values in losses.values()} == {NUM} and losses["0"] != losses["1"]
    table = command("compare", str(out), str(kernel)).stdout
    kernel_loss = np.mean([float(row["loss"]) for row in rows(kernel)])
    cells = next(line for line in table.splitlines() if line.startswith("| loss")).split("|")
    assert float(cells[2].split()[0]) == pytest.approx(np.mean(losses["0"] + losses["1"]), abs=1e-3)
    assert float(cells[4].split()[0]) == pytest.approx(np.mean(losses["0"] + losses["1"]) - kernel_loss, abs=2e-3)


def test_mistakes_are_one_line(kernel: Path, command: Command, tmp_path: Path) -> None:
    for words, noun in (
        ((*BASE, *KERNEL, "--run_dir", "x"), "--out"),
        ((*BASE, *KERNEL, "--seeds", "0", "0"), "--seeds"),
        ((*BASE, *KERNEL, "--validation", "1"), "--validation"),
        ((*BASE, *KERNEL, "--folds", "500"), "folds"),
        ((*BASE, *KERNEL, "--model.backbone.alpha", "-1"), "alpha"),
        ((*BASE, *KERNEL, "--no_such.option", "1"), "no_such"),
    ):
        refused = command("cross-validate", *words, "--out", str(tmp_path / "out"), status=2)
        assert noun in refused.stderr and "Traceback" not in refused.stderr, refused.stderr
    other = command("cross-validate", *BASE, *KERNEL, "--fold-seed", "1", "--out", str(kernel), status=2)
    assert "other materials or folds" in other.stderr
    settings = ("--model.backbone.alpha", "0.5")
    other = command("cross-validate", *BASE, *KERNEL, *settings, "--out", str(kernel), status=2)
    assert "other settings" in other.stderr
    assert "cross-validate" in command("compare", str(kernel), str(tmp_path), status=2).stderr


def test_a_listed_split_takes_the_place_of_that_of_the_source(tmp_path: Path) -> None:
    ids = [record.material_id for record in SyntheticMetals(6).records()]
    listed = {"train": ids[3:5], "val": [], "test": ids[:2]}
    (tmp_path / "split.json").write_text(json.dumps(listed))
    data = dg.CrystalDataModule(source=SyntheticMetals(6), split_ids=str(tmp_path / "split.json"))
    data.setup("fit")
    found = {name: [data.store.material_ids[row] for row in data.indices[name]] for name in listed}
    assert found == listed
    for text, noun in (
        ('{"train": ["nobody"], "val": [], "test": []}', "nobody"),
        (json.dumps({**listed, "val": ids[:1]}), "into val and into test"),
        ('{"train": []}', "val"),
        ("[", "split"),
    ):
        (tmp_path / "split.json").write_text(text)
        with pytest.raises(dg.InputError, match=noun):
            dg.CrystalDataModule(source=SyntheticMetals(6), split_ids=str(tmp_path / "split.json")).setup("fit")
