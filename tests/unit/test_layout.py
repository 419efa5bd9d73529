"""The architecture: packages depend downwards only, and nothing lies loose beside them."""

import subprocess
import sys
from pathlib import Path

import dielectric_gnn
from tests.commands import environment

PACKAGE = Path(dielectric_gnn.__file__).parent


def test_packages_depend_downwards_only(repository: Path) -> None:
    """The contracts are in pyproject.toml. In a process of its own: the checker silences all loggers of its process."""
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    line = [sys.executable, "-c", code]
    result = subprocess.run(line, cwd=repository, env=environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_no_module_lies_beside_the_packages() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_data_knows_nothing_of_networks() -> None:
    for path in (PACKAGE / "data").rglob("*.py"):
        assert "dielectric_gnn.models" not in path.read_text()
