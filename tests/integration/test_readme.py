"""What the README and the guides show works: commands, Python, and the backbone of a third party with its test."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dielectric_gnn.cli.training import DielectricCLI
from tests.commands import Command, environment

REPOSITORY = Path(__file__).resolve().parents[2]
GUIDES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def block(text: str, after: str, language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", text[text.index(after) :], re.DOTALL)
    assert match
    return match.group(1)


def shown_commands(guide: Path, verb: str) -> Iterator[list[str]]:
    """The arguments of every `dielectric-gnn VERB` in the shell blocks of a guide."""
    for shell in re.findall(r"```bash\n(.*?)```", guide.read_text(), re.DOTALL):
        for line in shell.replace("\\\n", " ").splitlines():
            _, found, arguments = line.partition(f"dielectric-gnn {verb} ")
            if found:
                yield shlex.split(arguments, comments=True)


class ParsedOnly(DielectricCLI):
    """Parses the command and builds nothing."""

    def instantiate_classes(self) -> None:
        pass

    def after_instantiate_classes(self) -> None:
        pass

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def test_third_party_backbone_trains_tests_and_predicts(command: Command, repository: Path, tmp_path: Path) -> None:
    guide = (repository / "docs" / "backbone.md").read_text()
    (tmp_path / "my_backbone.py").write_text(block(guide, "The class, `my_backbone.py`", "python"))
    (tmp_path / "my_backbone.yaml").write_text(block(guide, "The configuration, `my_backbone.yaml`", "yaml"))
    (tmp_path / "test_my_backbone.py").write_text(block(guide, "The test, `test_my_backbone.py`", "python"))
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "ignore", "-c", os.devnull, "test_my_backbone.py"],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0 and "24 passed" in result.stdout, result.stdout
    line = next(line for line in guide.splitlines() if line.startswith("dielectric-gnn fit") and "my_backbone" in line)
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


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_path_that_a_guide_names_exists(guide: Path) -> None:
    paths = set(re.findall(r"\b(?:tools|configs|docs|dielectric_gnn|tests|examples)/[\w./-]*\w", guide.read_text()))
    assert not [path for path in paths if not (REPOSITORY / path).exists()]


def test_the_guides_show_commands() -> None:
    assert sum(len(list(shown_commands(guide, "fit"))) for guide in GUIDES) > 10


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_training_that_a_guide_shows_is_parsed(
    guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of docs/backbone.md runs in the test above; the others have their options checked here."""
    monkeypatch.setattr("sys.argv", ["dielectric-gnn"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    for arguments in shown_commands(guide, "fit"):
        if "my_backbone.yaml" not in arguments and "..." not in arguments:
            assert ParsedOnly(["fit", *arguments]).config


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
