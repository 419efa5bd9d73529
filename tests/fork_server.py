"""Runs commands in forks of a process that has imported PyTorch and Lightning once; importing them takes five seconds.

Every command still has a process of its own: its working folder, environment, streams, exit status and exit handlers.
The server imports only; no thread runs in it and no network is computed, so that a fork is safe.

Protocol: one JSON object per line on standard input, with the keys `argv` (a script, or `-m` and a module, and the
arguments), `cwd`, `env`, `paths` (for `sys.path`), `stdout` and `stderr` (files); the answer is one line with the
process number, and one with the exit status.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import sys
import traceback
from pathlib import Path
from typing import Any

MODULES = (
    "dielectric_gnn.cli.training",
    "dielectric_gnn.cli.study",
    "lightning.pytorch.loggers",
    "torch.utils.tensorboard",
    "tensorboard.compat.proto.summary_pb2",
    "matplotlib.pyplot",
    "pymatgen.core",
    "pandas",
    "colour",
    "vesin",
)


def serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()
    # `readline` keeps nothing in a buffer that a child would read again.
    while line := os.fsdecode(_read_line(0)):
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os.close(answers.fileno())
            _become(request)
            _execute(request["argv"])
        print(pid, file=answers, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


def _read_line(file: int) -> bytes:
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(file, 1)):
        line += byte
    return line


def _become(request: dict[str, Any]) -> None:
    """Take over streams, environment, folder and import path of the command."""
    for name, target in (("/dev/null", 0), (request["stdout"], 1), (request["stderr"], 2)):
        file = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(file, target)
        os.close(file)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - the standard streams of the process
    sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", 1, closefd=False, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[:0] = request["paths"]
    importlib.invalidate_caches()


def _execute(argv: list[str]) -> None:
    """Run a script or a module as `python` does, and end the process."""
    status: Any = 0
    try:
        if argv[0] == "-m":
            sys.argv = argv[1:]
            sys.path.insert(0, str(Path.cwd()))
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = argv
            sys.path.insert(0, str(Path(argv[0]).parent))
            runpy.run_path(argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.exit(status)


if __name__ == "__main__":
    serve()
