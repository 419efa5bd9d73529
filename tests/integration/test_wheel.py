"""The wheel, installed outside the clone: commands find their configurations and the embedded data there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import SMALL, environment


@pytest.fixture(scope="module")
def installed(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a wheel was installed to, without its dependencies, which are those of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building leaves folders behind
    shutil.copytree(repository / "configs", source / "configs")
    shutil.copytree(repository / "dielectric_gnn", source / "dielectric_gnn", symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(source)], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(wheel)], check=True)
    return folder / "site"


def test_fit_test_predict_and_fit_laws_run_from_the_wheel(installed: Path, repository: Path, tmp_path: Path) -> None:
    variables = {**environment(), "PYTHONPATH": str(installed)}

    def command(*words: str) -> str:
        line = [sys.executable, "-m", "dielectric_gnn", *words]
        result = subprocess.run(
            line, capture_output=True, text=True, cwd=tmp_path, env=variables, timeout=300, check=False
        )
        assert result.returncode == 0, result.stderr
        return result.stdout + result.stderr

    shown = subprocess.run(
        [sys.executable, "-c", "import dielectric_gnn; print(dielectric_gnn.__file__)"],
        capture_output=True, text=True, cwd=tmp_path, env=variables, check=True,
    ).stdout  # fmt: skip
    assert shown.startswith(str(installed))
    crystal = tmp_path / "silver.cif"
    crystal.write_text((repository / "docs/crystals/fcc_silver.cif").read_text())
    said = command("fit", "--config", "base.yaml", "--config", "data/example.yaml", *SMALL, "--run_dir", "run")
    assert f"base.yaml: read from {installed}" in said
    best = "run/checkpoints/best.ckpt"
    command("test", "--ckpt_path", best)
    command("predict", "--ckpt_path", best, "--crystals", "silver.cif")
    assert (tmp_path / "run" / "predictions" / "silver.csv").is_file()
    losses = "".join(f"{size},{size**-0.5}\n" for size in (100, 200, 400, 800, 1600, 3200))
    (tmp_path / "losses.csv").write_text(f"D,loss\n{losses}")
    command("fit-laws", "losses.csv", "--out", "laws", "--no-figures", "--laws", "power")
    assert (tmp_path / "laws" / "report.md").is_file()
