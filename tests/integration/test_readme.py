"""What the README shows works: the backbone of a third party, its configuration, its test and its command."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Command, environment


def block(readme: str, after: str, language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", readme[readme.index(after) :], re.DOTALL)
    assert match
    return match.group(1)


def test_third_party_backbone_trains_tests_and_predicts(command: Command, repository: Path, tmp_path: Path) -> None:
    readme = (repository / "README.md").read_text()
    (tmp_path / "my_backbone.py").write_text(block(readme, "The class, `my_backbone.py`", "python"))
    (tmp_path / "my_backbone.yaml").write_text(block(readme, "The configuration, `my_backbone.yaml`", "yaml"))
    (tmp_path / "test_my_backbone.py").write_text(block(readme, "The test, `test_my_backbone.py`", "python"))
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "ignore", "-c", os.devnull, "test_my_backbone.py"],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0 and "24 passed" in result.stdout, result.stdout
    line = next(line for line in readme.splitlines() if line.startswith("dielectric-gnn fit") and "my_backbone" in line)
    words = line.replace("configs/", f"{repository}/configs/").split()[1:]
    words[words.index("--trainer.max_epochs") + 1] = "2"
    fitted = command(*words, "--run_dir", str(tmp_path / "run"), cwd=tmp_path, paths=(tmp_path,))
    assert "model: MyBackbone" in fitted.stdout
    best = str(tmp_path / "run" / "checkpoints" / "best.ckpt")
    refused = command("test", "--ckpt_path", best, cwd=tmp_path, paths=(tmp_path,), status=2)
    assert "my_backbone.MyBackbone" in refused.stderr
    for verb in ("test", "predict"):
        command(verb, "--config", "my_backbone.yaml", "--ckpt_path", best, cwd=tmp_path, paths=(tmp_path,))
    assert "loss" in (tmp_path / "run" / "test" / "summary.md").read_text()


def test_every_path_that_the_readme_names_exists(repository: Path) -> None:
    readme = (repository / "README.md").read_text()
    paths = re.findall(r"\b(?:tools|configs|docs|dielectric_gnn|tests)/[\w./-]*\w", readme)
    assert len(paths) > 10
    assert not [path for path in paths if not (repository / path).exists()]


@pytest.mark.filterwarnings("ignore:.*(many workers|LeafSpec|Trying to infer|logging interval)")
def test_python_example_runs(repository: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (repository / "README.md").read_text()
    code = block(readme, "## From Python", "python").replace("runs/mine", str(trained))
    (tmp_path / "docs").symlink_to(repository / "docs")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    exec(code, namespace)
    assert namespace["silver"].eps.shape == (2001,)
    assert {"silver.png", "silver_meep.py"} <= {path.name for path in tmp_path.iterdir()}
