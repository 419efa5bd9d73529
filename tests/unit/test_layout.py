"""The architecture: packages depend downwards only, and nothing lies loose beside them."""

from pathlib import Path

import pytest
from importlinter.cli import lint_imports

import dielectric_gnn

PACKAGE = Path(dielectric_gnn.__file__).parent


def test_packages_depend_downwards_only(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contracts are in pyproject.toml."""
    monkeypatch.chdir(repository)
    assert lint_imports(no_cache=True) == 0


def test_no_module_lies_beside_the_packages() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_data_knows_nothing_of_networks() -> None:
    for path in (PACKAGE / "data").rglob("*.py"):
        assert "dielectric_gnn.models" not in path.read_text()
