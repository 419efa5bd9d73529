"""The notebooks of examples/: they run, their stored outputs are complete and small, and the site shows them."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from tests.commands import environment

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
MAX_BYTES = 200_000


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_there_are_three_notebooks_and_the_site_shows_them(repository: Path) -> None:
    assert len(NOTEBOOKS) == 3
    navigation = yaml.safe_load((repository / "mkdocs.yml").read_text())["nav"]
    assert {f"examples/{path.name}" for path in NOTEBOOKS} <= {
        page for section in navigation for pages in section.values() if isinstance(pages, list)
        for entry in pages for page in entry.values()
    }  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_outputs_are_complete_and_small(path: Path) -> None:
    assert path.stat().st_size < MAX_BYTES
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path) -> None:
    """An error in any cell raises here."""
    notebook = nbformat.read(path, as_version=4)
    before = {file.name for file in EXAMPLES.iterdir()}
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(EXAMPLES)}}
    )
    client.execute(env=environment())
    assert {file.name for file in EXAMPLES.iterdir()} == before  # results go to temporary folders
