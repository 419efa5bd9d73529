"""The Python examples of the guides run as they stand."""

import re
from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("guide", ["optics.md"])
def test_python_examples_run(guide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (GUIDES / guide).read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, guide, "exec"), names)
    optics, energies, eps = (names[name] for name in ("optics", "energies", "eps"))
    assert abs(optics.screened_plasma_energy(energies, eps) - 9.0) < 0.01  # type: ignore[attr-defined]
