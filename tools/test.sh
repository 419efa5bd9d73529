#!/usr/bin/env bash
# Set up a fresh virtual environment and run everything that must pass: ruff, mypy and the tests.
#   bash tools/test.sh [PYTEST OPTIONS]     (PYTHON chooses the interpreter)
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv-test

source tools/environment.sh
make_environment "$venv" ".[dev]"

"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
"$venv/bin/mypy"
# Two files of tests at a time: most of them wait for commands that use one core.
"$venv/bin/python" -m pytest --numprocesses 2 --dist loadfile "$@"
