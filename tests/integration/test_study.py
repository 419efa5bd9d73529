"""Studies through the real commands: killed half-way and launched again, failures, mistakes, dry runs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dielectric_gnn.training.run_record import RECORD, read_record, read_records
from tests.commands import environment, run_command

STUDY = """\
name: tiny
configs: [configs/base.yaml]
trainer: configs/trainer/cpu.yaml
options:
  data.source: dielectric_gnn.data.sources.ExampleMetals
  data.source.parts: 1
  trainer.max_epochs: 3
  data.batch_size: 16
  data.max_batch_share: null
  figures.every_n_epochs: 0
models:
  cgc: {configs: [configs/backbone/optimetal2b_cgc.yaml]}
grid: {models: [cgc], sizes: [20, 40], widths: [8], seeds: [1, 2]}
"""
SOURCE = """\
  data.source: dielectric_gnn.data.sources.ExampleMetals
  data.source.parts: 1
"""
FAULTY = '''
from pathlib import Path
from lightning.pytorch import Callback

class Fails(Callback):
    """Raises in the second epoch, a given number of times."""

    def __init__(self, marks: str, times: int):
        self.marks, self.times = Path(marks), times

    def on_train_epoch_start(self, trainer, pl_module):
        done = len(list(self.marks.glob("mark-*")))
        if trainer.current_epoch == 1 and done < self.times:
            (self.marks / f"mark-{done}").touch()
            raise RuntimeError("the disk is on fire")
'''
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(repository: Path, tmp_path: Path) -> Start:
    """Launch `dielectric-gnn study` on a study that lies in the test's folder."""

    def launch(*words: str, text: str = STUDY, study: Path | None = None) -> "subprocess.Popen[str]":
        if study is None:
            study = tmp_path / "study.yaml"
            study.write_text(text)
        line = [sys.executable, "tools/run_study.py", str(study), "--out", str(tmp_path / "out")]
        return subprocess.Popen(
            [*line, *words],
            cwd=repository, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    return launch


def finish(process: "subprocess.Popen[str]", status: int) -> str:
    shown, _ = process.communicate(timeout=400)
    assert process.returncode == status, shown
    assert "Traceback" not in shown
    return shown


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 180
    while not met():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.1)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """When files were written last, and what they hold."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_killed_and_launched_again_it_repeats_nothing(start: Start, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, second = out / "cgc-h8-d20-s1", out / "cgc-h8-d20-s2"
    killed = start()
    wait_until((second / "study.log").is_file)
    killed.kill()  # its child continues alone; no second one may start in its folder
    killed.communicate()
    before = contents(first)
    assert read_record(first / RECORD).status == "finished"

    shown = finish(start(), 0)
    assert "study tiny: 4 runs, 1 finished, " in shown and "4 of 4 runs are finished" in shown
    assert contents(first) == before, "a finished run is not touched"
    records = read_records(out)
    assert sorted((record.num_train, record.seed) for record in records) == [(20, 1), (20, 2), (40, 1), (40, 2)]
    for record in records:
        assert (record.status, record.study, record.epochs, record.width) == ("finished", "tiny", 3, 8)
        assert record.cost["launches"] == 1 and record.cost["threads"] == 1
        assert {"validation/loss", "test/loss", "validation/loss_eps", "test/loss_drude"} <= record.metrics.keys()
    assert len({record.subset for record in records}) == 2, "one subset for each size"

    everything = contents(out)
    assert "4 of 4 runs are finished" in finish(start(), 0)
    assert {path: what for path, (_, what) in contents(out).items()} == {
        path: what for path, (_, what) in everything.items()
    }
    refused = finish(start("--set", "trainer.max_epochs=4"), 2)
    assert "with other settings ('--trainer.max_epochs 3', now '--trainer.max_epochs 4')" in refused
    a_damaged_record_is_written_again(out, start)


def a_damaged_record_is_written_again(out: Path, start: Start) -> None:
    """`fit` resumes from the checkpoint, which is complete; the copy of the file of the study is used."""
    damaged, other = out / "cgc-h8-d20-s1", out / "cgc-h8-d40-s1"
    original, untouched = read_record(damaged / RECORD), contents(other)
    (damaged / RECORD).write_text("{")
    refused = run_command("-m", "dielectric_gnn", "test", "--ckpt_path", damaged / "checkpoints" / "best.ckpt")
    assert refused.returncode == 2 and refused.stderr.splitlines()[-1].startswith(
        f"error: {damaged / RECORD}: not a run"
    )
    assert "repeat the `fit` command of the run" in refused.stderr

    shown = finish(start(study=out / "study.yaml"), 0)
    assert "study tiny: 4 runs, 3 finished, 1 damaged" in shown and "4 of 4 runs are finished" in shown
    made = read_record(damaged / RECORD)
    assert made == replace(original, cost=made.cost) and contents(other) == untouched
    assert (out / "study.yaml").read_text() == STUDY


def test_interrupted_runs_continue(start: Start, tmp_path: Path) -> None:
    words = ("--only", "*-d40-s1", "--set", "trainer.max_epochs=40")
    run = tmp_path / "out" / "cgc-h8-d40-s1"
    stopped = start(*words)
    wait_until(lambda: (run / "study.log").is_file() and "epoch 3/" in (run / "study.log").read_text())
    os.kill(stopped.pid, signal.SIGINT)
    shown = finish(stopped, 130)
    assert "cgc-h8-d40-s1: interrupted" in shown and "to continue, repeat the command" in shown
    record = read_record(run / RECORD)
    assert record.status == "interrupted" and 3 <= record.epochs < 40
    finish(start(*words), 0)
    after = read_record(run / RECORD)
    assert (after.status, after.epochs, after.steps, after.samples_seen) == ("finished", 40, 120, 1600)
    assert [point["epoch"] for point in after.learning_curve] == list(range(1, 41))
    assert after.cost["launches"] == 2 and after.cost["cpu_seconds"] > record.cost["cpu_seconds"]
    assert "continuing " in (run / "study.log").read_text()


@pytest.mark.parametrize(("times", "status"), [(1, 0), (9, 1)], ids=["once", "always"])
def test_failed_runs_are_tried_again_and_reported(start: Start, tmp_path: Path, times: int, status: int) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    text = STUDY.replace("sizes: [20, 40]", "sizes: [20]").replace("seeds: [1, 2]", "seeds: [1]")
    callback = {"class_path": "faulty.Fails", "init_args": {"marks": str(tmp_path), "times": times}}
    text = text.replace("figures.every", f"trainer.callbacks: {json.dumps(callback)}\n  figures.every")
    process = start("--retries", "1", text=text)
    shown, _ = process.communicate(timeout=400)
    assert process.returncode == status, shown
    assert len(list(tmp_path.glob("mark-*"))) == min(times, 2)
    record = read_record(tmp_path / "out" / "cgc-h8-d20-s1" / RECORD)
    if status:
        assert record.status == "failed" and record.epochs == 1
        assert "failed: cgc-h8-d20-s1, exit status 1; RuntimeError: the disk is on fire; see " in shown
        assert "0 of 1 runs are finished" in shown
    else:
        assert record.status == "finished" and record.epochs == 3 and record.cost["launches"] == 2
        assert "finished after 2 attempts" in shown


def test_one_mistake_does_not_stop_the_others(start: Start, tmp_path: Path) -> None:
    text = STUDY.replace(
        "models:\n", "models:\n  bad: {options: {model.backbone: dielectric_gnn.models.backbones.Nothing}}\n"
    )
    grid = "[{models: [bad], sizes: [20], seeds: [1]}, {models: [cgc], sizes: [20, 5000], seeds: [1]}]"
    text = text[: text.index("grid:")] + f"grid: {grid}\n"
    shown = finish(start("--set", "trainer.max_epochs=1", text=text), 1)
    assert "bad-d20-s1: failed (exit status 2;" in shown, "a mistake is not tried again"
    assert "train_size is 5000, expected 1 to 69, the training materials" in shown
    assert "1 of 3 runs are finished" in shown


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        (("seeds:", "seed:"), (), "unknown key 'seed'; known are models, sizes, seeds"),
        (("sizes: [20, 40]", "sizes: []"), (), "sizes is empty, so there are no runs"),
        ((), ("--only", "*d99*"), "no run matches '*d99*'; the runs are cgc-h8-d20-s1"),
        ((), ("--set", "trainer.max_epochs"), "expected KEY=VALUE"),
        ((), ("--set", "a=["), "--set a=[: '[' is not YAML (expected the node content, but found '<stream end>')"),
        ((), ("--executor", "slurm", "--slurm", "time=["), "--slurm time=[: '[' is not YAML"),
        ((), ("--executor", "slurm", "--slurm", "partition=gpu"), "requires the time limit of a job in minutes"),
        (
            (),
            ("--executor", "slurm", "--slurm", "time=abc"),
            "time=abc: expected a whole number of minutes, at least 1",
        ),
        ((), ("--executor", "slurm", "--slurm", "time=1:30:00"), "time=1:30:00: expected a whole number of minutes"),
        (("models:\n", "data: {store: runs/absent}\nmodels:\n"), (), "runs/absent: no such store"),
    ],
)
def test_mistakes_are_one_line(
    start: Start, tmp_path: Path, change: tuple[str, ...], words: tuple[str, ...], message: str
) -> None:
    shown = finish(start(*words, text=STUDY.replace(*change) if change else STUDY), 2)
    assert shown.startswith("error: ") and message in shown
    assert not (tmp_path / "out").exists()


def test_options_that_submitit_does_not_have(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'dielectric-gnn[slurm]'")
    shown = finish(start("--executor", "slurm", "--slurm", "time=5", "partitoin=gpu"), 2)
    assert shown.startswith("error: --slurm partitoin=gpu: submitit has no such option; its options are account, ")
    assert not (tmp_path / "out").exists()


def test_dry_run_prints_commands_and_cost(start: Start, tmp_path: Path) -> None:
    store = tmp_path / "store"
    data = f"data: {{store: {store}, build: 'synthetic:60'}}\n"
    text = STUDY.replace(SOURCE, "").replace("models:\n", f"{data}models:\n").replace("widths: [8]", "widths: [16]")
    shown = finish(start("--dry-run", "--jobs", "2", text=text), 0)
    lines = shown.splitlines()
    assert lines[0] == f"dielectric-gnn prepare build synthetic:60 {store}"
    assert sum(line.startswith("dielectric-gnn fit ") for line in lines) == 4
    assert sum(line.startswith("dielectric-gnn test ") for line in lines) == 4
    # Eight, one and one tenths of the materials: beside 40 for training, 5 and 5.
    assert (
        "  cgc-h16: 4 runs, 278,627 parameters, 3 epochs, 3 validations of 5 materials, 360 training materials" in shown
    )
    assert "measured on the embedded metals" in shown and "with 2 at a time" in shown
    assert "sizes of validation and test sets are assumed" in shown
    assert not (tmp_path / "out").exists() and not store.exists()


def test_dry_run_estimates_each_block(start: Start) -> None:
    options = "options: {trainer.max_epochs: 12, trainer.check_val_every_n_epoch: 4}"
    block = "grid: {models: [cgc], sizes: [20, 40], widths: [8], seeds: [1, 2]}"
    more = f"grid:\n  - {block[6:]}\n  - {{models: [cgc], sizes: [10], widths: [8], seeds: [1], {options}}}"
    shown = finish(start("--dry-run", text=STUDY.replace(block, more)), 0)
    # The embedded metals have 69 materials for training, 16 and 17 for evaluation.
    assert "  cgc-h8: 4 runs, " in shown and " 3 epochs, 3 validations of " in shown
    assert "  cgc-h8, trainer.max_epochs 12, trainer.check_val_every_n_epoch 4: 1 runs, " in shown
    assert " 12 epochs, 3 validations of " in shown and " materials, 120 training materials of " in shown


def test_the_store_is_built_once(start: Start, tmp_path: Path) -> None:
    store = tmp_path / "store"
    data = f"data: {{store: {store}, build: 'synthetic:60'}}\n"
    text = STUDY.replace(SOURCE, "").replace("models:\n", f"{data}models:\n")
    words = ("--only", "*-d20-*", "--set", "trainer.max_epochs=1", "--jobs", "2")
    shown = finish(start(*words, text=text), 0)
    assert shown.count("building the store first") == 1 and "2 of 2 runs are finished" in shown
    assert all(str(store) in record.settings["source"] for record in read_records(tmp_path / "out"))
    refused = finish(start("--set", "trainer.max_epochs=1", text=text.replace("[20, 40]", "[20, 400]")), 2)
    assert "training materials, but the grid has sizes 400" in refused
