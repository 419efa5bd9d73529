"""A study on a real SLURM, of one node, that the test itself starts."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dielectric_gnn.training.run_record import RECORD, RunRecord, read_record, read_records
from tests.commands import environment
from tests.slurm import missing_programs, running_slurm

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'dielectric-gnn[slurm]'")
if missing := missing_programs():
    pytest.skip(f"no SLURM here: {', '.join(missing)} not found", allow_module_level=True)

STUDY = """\
name: tiny
configs: [configs/base.yaml]
trainer: configs/trainer/cpu.yaml
options: {{trainer.max_epochs: {epochs}, data.batch_size: 16, data.max_batch_share: null, figures.every_n_epochs: 0}}
models:
  cgc: {{configs: [configs/backbone/optimetal2b_cgc.yaml]}}
grid: {{models: [cgc], sizes: {sizes}, widths: [8], seeds: {seeds}}}
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    # A socket's path must be short, which pytest's own folders are not.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, running_slurm(Path(folder)) as variables:
        yield {**environment(), "SLURM_CONF": variables["SLURM_CONF"], "PATH": variables["PATH"]}


def start(study: Path, out: Path, slurm: dict[str, str], repository: Path) -> subprocess.Popen[str]:
    line = [sys.executable, "tools/run_study.py", str(study), "--out", str(out), "--executor", "slurm", "--jobs", "2"]
    return subprocess.Popen(
        [*line, "--slurm", "time=30"],
        cwd=repository, env=slurm, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(process: subprocess.Popen[str], status: int, out: Path) -> str:
    shown, _ = process.communicate(timeout=400)
    logs = "".join(path.read_text() for path in sorted((out / "slurm").glob("*_log.*")))
    assert process.returncode == status, shown + logs
    return shown


def test_four_runs_as_a_job_array(slurm: dict[str, str], repository: Path, tmp_path: Path) -> None:
    study, out = tmp_path / "study.yaml", tmp_path / "out"
    study.write_text(STUDY.format(epochs=3, sizes=[20, 40], seeds=[1, 2]))
    shown = finish(start(study, out, slurm, repository), 0, out)
    assert "4 of 4 runs are finished" in shown and f"dielectric-gnn fit-laws {out}" in shown
    jobs = json.loads((out / "slurm_jobs.json").read_text())
    assert len({job.split("_")[0] for job in jobs}) == 1, "one array"
    assert sorted(job.split("_")[1] for job in jobs) == ["0", "1", "2", "3"]
    records = read_records(out)
    assert sorted((record.num_train, record.seed) for record in records) == [(20, 1), (20, 2), (40, 1), (40, 2)]
    for record in records:
        assert_complete(record, epochs=3)
    assert len({record.subset for record in records}) == 2, "seeds share the subset of a size"
    # Nothing is left to submit.
    assert "4 of 4 runs are finished" in finish(start(study, out, slurm, repository), 0, out)
    assert json.loads((out / "slurm_jobs.json").read_text()) == jobs


def assert_complete(record: RunRecord, epochs: int) -> None:
    assert (record.status, record.study, record.epochs) == ("finished", "tiny", epochs)
    assert [point["epoch"] for point in record.learning_curve] == list(range(1, epochs + 1))
    assert record.samples_seen == epochs * record.num_train
    assert record.training_flops and record.best_validation_loss == record.metrics["validation/loss"]
    assert {"test/loss", "test/mae", "validation/mae"} <= record.metrics.keys()
    assert record.cost["cpu_seconds"] > 0 and record.cost["test_cpu_seconds"] > 0


def test_signalled_jobs_go_on(slurm: dict[str, str], repository: Path, tmp_path: Path) -> None:
    """SIGTERM leaves it to the user to repeat the command; SIGUSR1, as before a time limit, requeues the job."""
    epochs = 100
    study, out = tmp_path / "study.yaml", tmp_path / "out"
    study.write_text(STUDY.format(epochs=epochs, sizes=[64], seeds=[1]))
    run = out / "cgc-h8-d64-s1"
    stopped = start(study, out, slurm, repository)
    wait_for_epoch(run / "study.log", 3)
    signal_job(job_of(out), "TERM", slurm)
    assert "1 interrupted" in finish(stopped, 130, out)
    record = read_record(run / RECORD)
    assert record.status == "interrupted" and 3 <= record.epochs < epochs
    reached = record.epochs

    again = start(study, out, slurm, repository)
    wait_for_epoch(run / "study.log", reached + 3)
    signal_job(job_of(out), "USR1", slurm)
    wait_until(job_of(out), "PENDING", slurm, 120)
    start_soon(job_of(out), slurm)
    shown = finish(again, 0, out)
    assert "1 of 1 runs are finished" in shown
    record = read_record(run / RECORD)
    assert_complete(record, epochs)
    assert record.steps == epochs * 4 and record.cost["launches"] == 3
    log = (run / "study.log").read_text()
    assert log.count("continuing ") == 2 and log.count("Interrupted in epoch") == 2


def test_several_ranks_are_requeued_and_go_on(slurm: dict[str, str], repository: Path, tmp_path: Path) -> None:
    """What the guide shows: a job whose tasks are the processes of one training."""
    epochs, run, log = 60, tmp_path / "run", tmp_path / "job.log"
    words = ["--config", "configs/base.yaml", "--config", "configs/trainer/slurm.yaml", "--run_dir", str(run)]
    words += ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.precision", "32-true"]
    words += ["--trainer.sync_batchnorm", "false", "--trainer.max_epochs", str(epochs), "--model.backbone.width", "8"]
    words += ["--data.batch_size", "4", "--figures.every_n_epochs", "0"]
    script = tmp_path / "job.sh"
    script.write_text(
        f"#!/bin/bash\n#SBATCH --nodes=1 --ntasks-per-node=2 --requeue --open-mode=append --output={log}\n"
        f"srun {sys.executable} -m dielectric_gnn fit {' '.join(words)}\n"
    )
    line = ["sbatch", "--parsable", str(script)]
    variables = {**slurm, "PYTHONUNBUFFERED": "1"}
    sent = subprocess.run(line, cwd=repository, env=variables, check=True, capture_output=True, text=True, timeout=30)
    job = sent.stdout.strip()
    wait_for_epoch(log, 3)
    signal_job(job, "USR1", slurm)
    wait_until(job, "PENDING", slurm, 120)
    stopped = read_record(run / RECORD)
    assert stopped.status == "interrupted" and 3 <= stopped.epochs < epochs
    assert "Traceback" not in log.read_text() and f"job {job} is requeued" in log.read_text()
    start_soon(job, slurm)
    wait_until(job, "COMPLETED", slurm, 300)
    shown = log.read_text()
    record = read_record(run / RECORD)
    assert record.status == "finished", shown
    assert (record.epochs, record.cost["launches"], record.cost["world_size"]) == (epochs, 2, 2)
    assert record.steps == epochs * 9 and shown.count("continuing ") == 1


def job_of(out: Path) -> str:
    (job,) = json.loads((out / "slurm_jobs.json").read_text())
    return str(job)


def signal_job(job: str, name: str, slurm: dict[str, str]) -> None:
    subprocess.run(["scancel", f"--signal={name}", job], env=slurm, check=True, timeout=30)


def wait_until(job: str, wanted: str, slurm: dict[str, str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    state = ""
    line = ["squeue", "-h", "--states=all", "-o", "%T", "-j", job]
    while time.monotonic() < deadline and state != wanted:
        time.sleep(0.5)
        state = subprocess.run(line, env=slurm, check=True, capture_output=True, text=True).stdout.strip()
    assert state == wanted, f"the job is {state}, expected {wanted}"


def start_soon(job: str, slurm: dict[str, str]) -> None:
    """SLURM lets a requeued job wait for two minutes; seconds are enough here, where no node is slow to answer.

    But not at once: a credential made in the second in which the job was stopped counts as revoked with it, and SLURM
    then fails the job ("already killed, do not launch batch job").
    """
    subprocess.run(["scontrol", "update", f"jobid={job}", "StartTime=now+5"], env=slurm, check=True, timeout=30)


def wait_for_epoch(log: Path, epoch: int) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if log.is_file() and f"epoch {epoch}/" in log.read_text():
            return
        time.sleep(0.2)
    raise AssertionError(f"no epoch {epoch} in {log}: {log.read_text() if log.is_file() else 'no file'}")
