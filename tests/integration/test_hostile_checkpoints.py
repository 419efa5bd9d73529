"""Checkpoints made to run a command when used, by every way there is to use one; and checkpoints with changed bits."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch

from dielectric_gnn.cli import training as cli
from dielectric_gnn.data.datamodule import CrystalDataModule
from dielectric_gnn.prediction.loading import load_model
from dielectric_gnn.training.checkpoint import AtomicCheckpointIO, read_checkpoint
from dielectric_gnn.training.module import DielectricModule
from dielectric_gnn.utils.errors import InputError
from tests.commands import SMALL, Command, run_command

SILVER = ["--crystals", "docs/crystals/fcc_silver.cif"]
ATTACKS = ["function", "plain_string", "hyper_parameters", "everything"]


@pytest.fixture(scope="module")
def best(trained: Path) -> Path:
    return trained / "checkpoints" / "best.ckpt"


@pytest.fixture
def hostile(best: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a checkpoint of a kind; what it would run leaves a file RUN beside it."""
    command = f"touch {tmp_path / 'RUN'}"
    (tmp_path / "evil_module.py").write_text(
        f"open({str(tmp_path / 'RUN')!r}, 'w').close()\nfrom dielectric_gnn.models.heads import FreeFormHead as Head\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    system = {"class_path": "torch.os.system", "init_args": {"command": command}}
    parameters = {
        "optimizer": {"class_path": "os.system", "init_args": {"command": command}},
        "_class_path": "evil_module.Head",
        "_instantiator": "evil_module.Head",
    }

    def make(kind: str) -> str:
        checkpoint: dict[str, Any] = copy.deepcopy(torch.load(best, weights_only=True))
        model = checkpoint["dielectric_gnn"]["config"]["model"]
        if kind in ("function", "everything"):
            model["optimizer"] = system
        if kind in ("plain_string", "everything"):
            model["head"] = "evil_module.Head"
        if kind in ("hyper_parameters", "everything"):
            checkpoint |= {"hyper_parameters": parameters, "datamodule_hyper_parameters": parameters}
        path = tmp_path / f"{kind}.ckpt"
        AtomicCheckpointIO().save_checkpoint(checkpoint, path)
        return str(path)

    return make


def check_nothing_ran(tmp_path: Path) -> None:
    assert not (tmp_path / "RUN").exists()
    assert "evil_module" not in sys.modules


USES = {
    "predict": ["predict", *SILVER, "--ckpt_path", "{}"],
    "test": ["test", "--ckpt_path", "{}"],
    "validate": ["validate", "--ckpt_path", "{}"],
    "ensemble": ["predict", *SILVER, "--ensemble", "{}", "{}"],
    "second of an ensemble": ["predict", *SILVER, "--ensemble", "{best}", "{}"],
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("attack", ["function", "plain_string", "everything"])
def test_a_stored_configuration_that_names_code_is_refused(
    attack: str, use: str, hostile: Callable[[str], str], best: Path, tmp_path: Path, repository: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(repository)
    path = hostile(attack)
    words = [word.format(path, best=best) for word in USES[use]]
    with pytest.raises(SystemExit) as stopped:
        cli.run([*words, "--run_dir", str(tmp_path / "run")])
    assert stopped.value.code == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith(f"error: {path}: ")
    assert (
        "model.optimizer is torch.os.system" in message or "model.head: it is the string 'evil_module.Head'" in message
    )
    check_nothing_ran(tmp_path)


def run(*words: str, cwd: Path, extra: Path) -> CompletedProcess[str]:
    return run_command(*words, cwd=cwd, paths=(extra,))


@pytest.mark.parametrize(
    ("option", "attack"), [("--ckpt_path", "hyper_parameters"), ("--fine_tune_from", "everything")]
)
def test_a_training_takes_weights_from_a_checkpoint_and_obeys_nothing_in_it(
    option: str, attack: str, hostile: Callable[[str], str], tmp_path: Path, repository: Path
) -> None:
    fit = ["fit", "--config", "configs/base.yaml", *SMALL, "--trainer.max_epochs", "5", option, hostile(attack)]
    result = run("-m", "dielectric_gnn", *fit, "--run_dir", str(tmp_path / "run"), cwd=repository, extra=tmp_path)
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "RUN").exists()
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()


def test_predict_ignores_the_hyper_parameters_that_lightning_would_obey(
    hostile: Callable[[str], str], tmp_path: Path, repository: Path
) -> None:
    words = ["predict", *SILVER, "--ckpt_path", hostile("hyper_parameters"), "--predictions.figures", "false"]
    result = run("-m", "dielectric_gnn", *words, "--run_dir", str(tmp_path / "run"), cwd=repository, extra=tmp_path)
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "RUN").exists()


def test_the_check_of_a_launch_obeys_nothing(hostile: Callable[[str], str], tmp_path: Path, repository: Path) -> None:
    options = ["--config", "configs/base.yaml", *SMALL, "--ckpt_path", hostile("everything")]
    run("tools/doctor.py", *options, "--run_dir", str(tmp_path / "run"), cwd=repository, extra=tmp_path)
    assert not (tmp_path / "RUN").exists()


@pytest.mark.parametrize("attack", ATTACKS)
def test_loading_in_python(attack: str, hostile: Callable[[str], str], tmp_path: Path) -> None:
    path = hostile(attack)
    if attack == "hyper_parameters":
        assert isinstance(load_model(path), DielectricModule)
    else:
        with pytest.raises(InputError, match=r"torch\.os\.system|evil_module\.Head"):
            load_model(path)
    for kind in (DielectricModule, CrystalDataModule):
        with pytest.raises(InputError):
            kind.load_from_checkpoint(path)
    check_nothing_ran(tmp_path)


def test_a_stored_path_is_opened_only_if_it_is_given_too(best: Path, tmp_path: Path, command: Command) -> None:
    checkpoint = torch.load(best, weights_only=True)
    checkpoint["dielectric_gnn"]["config"]["data"]["train_ids"] = "/etc/passwd"
    path = tmp_path / "paths.ckpt"
    AtomicCheckpointIO().save_checkpoint(checkpoint, path)
    refused = command("test", "--ckpt_path", str(path), status=2).stderr
    assert refused.count("\n") == 1
    assert "data.train_ids /etc/passwd" in refused and "add --data.train_ids /etc/passwd" in refused
    assert "root:" not in refused


@pytest.mark.parametrize("sealed", [True, False])
def test_300_changed_bits_are_all_noticed(best: Path, tmp_path: Path, sealed: bool) -> None:
    """One at a time; of a file without a hash, as earlier versions wrote, those in the members that torch reads."""
    original, path = tmp_path / "original.ckpt", tmp_path / "changed.ckpt"
    if sealed:
        AtomicCheckpointIO().save_checkpoint(torch.load(best, weights_only=True), original)
    else:
        torch.save(torch.load(best, weights_only=True), original)
    content = original.read_bytes()
    expected = read_checkpoint(original)["state_dict"]
    choose = random.Random(0)
    at_the_ends = [*range(300), *range(8 * len(content) - 8 * 120, 8 * len(content), 7)] if sealed else []
    unnoticed = 0
    for bit in [*(choose.randrange(8 * len(content)) for _ in range(300)), *at_the_ends]:
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            found = read_checkpoint(path)["state_dict"]
        except InputError as error:
            assert "\n" not in str(error)
            continue
        unnoticed += 1
        assert all(torch.equal(found[key], value) for key, value in expected.items()), "the weights are others"
    assert not (sealed and unnoticed)
