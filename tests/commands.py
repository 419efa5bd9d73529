"""The real command, in a process of its own, and one small trained run shared by the tests."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]

# Small and quick: enough to train, test and predict for real.
SMALL_MODEL = [
    *("--model.backbone.width", "16", "--trainer.max_epochs", "4", "--trainer.accelerator", "cpu"),
    *("--data.batch_size", "16", "--data.max_batch_share", "null", "--figures.every_n_epochs", "2"),
]
# The first file of the embedded metals: 69 training, 15 validation and 18 test materials.
FIRST_PART = ["--data.source", "dielectric_gnn.data.sources.ExampleMetals", "--data.source.parts", "1"]
SMALL = [*SMALL_MODEL, *FIRST_PART]
ROOT = Path(__file__).parents[1]
_TIMEOUT_S = 300


def environment(*extra_paths: Path) -> dict[str, str]:
    path = os.pathsep.join(map(str, (ROOT, *extra_paths)))  # the package of this very tree
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def run_command(
    *argv: object, cwd: Path = ROOT, paths: tuple[Path, ...] = (), env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script of this repository, or `-m dielectric_gnn`, in a fork of a process with all imports done.

    Args:
        argv: The script and its arguments, or `-m`, a module and its arguments.
        cwd: Working folder; a script's path is relative to the repository.
        paths: Further folders to import from.
        env: Variables beside those of `environment`.
    """
    words = [str(word) for word in argv]
    if words[0] != "-m":
        words[0] = str(ROOT / words[0])
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    with tempfile.TemporaryDirectory() as folder:
        streams = {name: str(Path(folder) / name) for name in ("stdout", "stderr")}
        request = {"argv": words, "cwd": str(cwd), "paths": [str(path) for path in paths], **streams}
        request["env"] = {**environment(*paths), **(env or {})}
        server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.flush()
        pid = int(server.stdout.readline())
        if not select.select([server.stdout], [], [], _TIMEOUT_S)[0]:
            os.kill(pid, signal.SIGKILL)
        status = int(server.stdout.readline())
        out, err = (Path(streams[name]).read_text(encoding="utf-8") for name in ("stdout", "stderr"))
    return subprocess.CompletedProcess(words, status, out, err)


def load_tool(name: str) -> ModuleType:
    """A script of tools/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def _server() -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "tests.fork_server"]
    server = subprocess.Popen(
        line, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )

    def stop() -> None:
        with server:  # waits, and closes its streams
            server.kill()

    atexit.register(stop)
    return server


@pytest.fixture(scope="session")
def command() -> Command:
    """Run `dielectric-gnn ARGS`, from the repository's folder unless told otherwise; fails the test on a wrong exit."""

    def run(
        *args: str, status: int = 0, cwd: Path = ROOT, paths: tuple[Path, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        result = run_command("-m", "dielectric_gnn", *args, cwd=cwd, paths=paths)
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
