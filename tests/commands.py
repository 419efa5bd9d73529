"""The real command, in a process of its own, and one small trained run shared by the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

# Small and quick: enough to train, test and predict for real.
SMALL = [
    *("--model.backbone.width", "16", "--trainer.max_epochs", "4", "--trainer.accelerator", "cpu"),
    *("--data.batch_size", "16", "--figures.every_n_epochs", "2"),
]


def environment(*extra_paths: Path) -> dict[str, str]:
    path = os.pathsep.join(map(str, (Path(__file__).parents[1], *extra_paths)))  # the package of this very tree
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture(scope="session")
def command(repository: Path) -> Command:
    """Run `dielectric-gnn ARGS`, from the repository's folder unless told otherwise; fails the test on a wrong exit."""

    def run(
        *args: str, status: int = 0, cwd: Path = repository, paths: tuple[Path, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            [sys.executable, "-m", "dielectric_gnn", *args],
            capture_output=True, text=True, cwd=cwd, env=environment(*paths), timeout=300, check=False,
        )  # fmt: skip
        assert result.returncode == status, f"status {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    return run


@pytest.fixture(scope="session")
def trained(command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a small training on the embedded metals."""
    run_dir = tmp_path_factory.mktemp("trained") / "run"
    result = command("fit", "--config", "configs/base.yaml", *SMALL, "--run_dir", str(run_dir))
    (run_dir / "fit.log").write_text(result.stdout)
    return run_dir
