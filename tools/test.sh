#!/usr/bin/env bash
# Set up a fresh virtual environment and run everything that must pass: ruff, mypy, the documentation and the tests.
#   bash tools/test.sh [PYTEST OPTIONS]     (PYTHON chooses the interpreter)
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv-test

source tools/environment.sh
make_environment "$venv" ".[dev,docs]"

"$venv/bin/ruff" check .
"$venv/bin/ruff" format --check .
"$venv/bin/mypy"
# The variable turns off a notice about later versions of the theme.
NO_MKDOCS_2_WARNING=1 "$venv/bin/mkdocs" build --quiet --strict
# Two files of tests at a time, in the order of their names: the long integration tests come before the short unit tests,
# so that both processes end at the same time.
"$venv/bin/python" -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder "$@"
