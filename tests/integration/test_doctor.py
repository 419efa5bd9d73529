"""The preflight: a sound setting passes, each fault is named with its cure."""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess

import pytest
from packaging.requirements import Requirement

from dielectric_gnn.cli.doctor import environment
from dielectric_gnn.cli.doctor.environment import check_devices, check_disk, check_slurm, check_version, check_versions
from dielectric_gnn.cli.doctor.memory import available_memory
from dielectric_gnn.data.sources import ExampleMetals
from tests.commands import run_command
from tests.integration.test_prepare_data import json_entry


def doctor(*args: str) -> CompletedProcess[str]:
    return run_command("tools/doctor.py", *args, env={"COLUMNS": "400"})


SMALL = ("--config", "configs/base.yaml", "--model.backbone.width", "16", "--trainer.accelerator", "cpu")


def test_sound_setting_is_ready() -> None:
    result = doctor(*SMALL, "--trainer.devices", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Ready" in result.stdout and "two processes over gloo" in result.stdout
    assert "MB per crystal in a training step" in result.stdout


def test_faults_are_named_with_a_cure(tmp_path: Path) -> None:
    result = doctor(*SMALL, "--quick", "--data.store", str(tmp_path / "none"))
    assert result.returncode == 1
    assert "no such store; `dielectric-gnn prepare` writes one" in result.stdout and "Not ready." in result.stdout
    result = doctor(*SMALL, "--quick", "--model.backbone.widht", "8")
    assert result.returncode == 1 and "Option 'widht' is not accepted" in result.stdout
    result = doctor(*SMALL, "--quick", "--trainer.devices", "two")
    assert result.returncode == 1 and "trainer.devices is two, expected a number" in result.stdout


def test_batch_that_cannot_fit_is_refused() -> None:
    result = doctor(*SMALL, "--data.batch_size", "100000000")
    assert result.returncode == 1
    assert "set data.batch_size to " in result.stdout


def test_budgets_and_rejects_are_looked_at_and_nothing_is_written(repository: Path, tmp_path: Path) -> None:
    entries = tmp_path / "entries"
    entries.mkdir()
    for record in list(ExampleMetals(parts=1).records())[::3]:
        (entries / f"{record.material_id}.json").write_bytes(json_entry(record))
    (entries / "broken.json").write_text("{}")
    source = ("--data.source", "EntryJson", "--data.source.path", str(entries), "--data.on_error", "skip")
    result = doctor(*SMALL, *source, "--data.batch_edges", "100000000", "--run_dir", str(tmp_path / "run"))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "broken.json" in result.stdout and "Ready, with warnings." in result.stdout
    assert f"free at {tmp_path}," in result.stdout and not (tmp_path / "run").exists()
    assert not (repository / "rejects_fit.csv").exists()
    result = doctor(*SMALL, *source, "--data.batch_edges", "100")
    assert result.returncode == 1 and "the budget of a batch is 100" in result.stdout


@pytest.mark.parametrize(("release", "words"), [("2.6.2", "steals credentials"), ("2.6.5", "executes code")])
def test_compromised_releases_are_named(release: str, words: str) -> None:
    finding = check_version("lightning", release, Requirement("lightning>=2.6.6,<2.7"))
    assert finding.status == "error" and words in finding.found and ">=2.6.6" in finding.cure


def test_versions_of_this_environment_are_in_bounds() -> None:
    findings = list(check_versions())
    assert len(findings) > 10 and {finding.status for finding in findings} == {"ok"}
    missing = check_version("torch", None, Requirement("torch>=2.8"))
    assert missing.status == "error" and missing.cure == "pip install 'torch>=2.8'"
    old = check_version("torch", "2.1", Requirement("torch>=2.8"))
    assert old.status == "error" and "expected >=2.8" in old.found


def test_devices_threads_and_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    few = next(iter(check_devices("cuda", 4)))
    assert few.status == "error" and few.found == "4 GPUs requested, 1 visible" and few.cure.endswith("to 1")
    crowded = list(check_devices("cpu", 1000))
    assert [finding.status for finding in crowded] == ["ok", "warning"] and "OMP_NUM_THREADS=1" in crowded[1].cure
    monkeypatch.delenv("SLURM_JOB_NUM_NODES", raising=False)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    assert [finding.status for finding in check_slurm(1, 1)] == ["error"]
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "4")
    (nodes,) = check_slurm(2, 2)
    assert nodes.found == "4 nodes in this job, but trainer.num_nodes is 2" and "trainer.num_nodes 4" in nodes.cure
    assert not list(check_slurm(2, 4))
    assert check_disk(tmp_path / "not" / "yet", 1).status == "ok"
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    assert check_disk(tmp_path, 1000).status == "error"


@pytest.mark.parametrize(
    ("group", "folder", "limit", "used", "cache"),
    [
        ("0::/job/step", "", "memory.max", "memory.current", "inactive_file"),
        ("4:memory:/job/step", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
    ids=["v2", "v1"],
)
def test_memory_is_that_of_the_control_group(
    tmp_path: Path, group: str, folder: str, limit: str, used: str, cache: str
) -> None:
    def put(path: str, text: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    put("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n")
    assert available_memory(tmp_path) == 8_192_000
    put("proc/self/cgroup", f"1:cpu:/elsewhere\n{group}\n")
    assert available_memory(tmp_path) == 8_192_000, "no limits to be seen"
    job = f"sys/fs/cgroup/{folder}/job"
    for name, text in ((limit, "5000000\n"), (used, "3000000\n"), ("memory.stat", f"anon 1\n{cache} 400000\n")):
        put(f"{job}/{name}", text)
    assert available_memory(tmp_path) == 2_400_000, "the limit of a group around, but pages of files can be dropped"
    put(f"{job}/{limit}", "max\n" if not folder else "9223372036854771712\n")
    assert available_memory(tmp_path) == 8_192_000
