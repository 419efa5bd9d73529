"""Asking SLURM to run a job again, with a stand-in for its command."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from dielectric_gnn.training.callbacks.graceful_stop import requeue_job


def put_scontrol(folder: Path, status: int) -> Path:
    asked = folder / "asked.txt"
    script = folder / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >> {asked}\necho refused >&2\nexit {status}\n')
    script.chmod(0o755)
    return asked


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({"SLURM_JOB_ID": "17"}, "17"),
        ({"SLURM_JOB_ID": "19", "SLURM_ARRAY_JOB_ID": "18", "SLURM_ARRAY_TASK_ID": "3"}, "18_3"),
    ],
)
def test_the_job_or_the_task_of_an_array_is_requeued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], job: str
) -> None:
    asked = put_scontrol(tmp_path, 0)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    requeue_job()
    assert asked.read_text() == f"requeue {job}\n"


def test_refusal_and_no_job_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put_scontrol(tmp_path, 1)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    with caplog.at_level(logging.INFO, logger="lightning.pytorch"):  # which other tests may have silenced
        requeue_job()
        monkeypatch.delenv("SLURM_JOB_ID")
        requeue_job()
    assert "SLURM did not requeue job 17 (refused); submit it again" in caplog.text
    assert "this is no SLURM job" in caplog.text
