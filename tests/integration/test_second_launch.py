"""A second launch in a folder that holds a training: nothing is lost, and one line says what to do."""

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dielectric_gnn.cli.training import run
from dielectric_gnn.training.run_record import RECORD, read_record, write_record
from dielectric_gnn.utils.locks import locked
from tests.commands import SMALL, environment

ROOT = Path(__file__).parents[2]
# The tests continue copies of one training, of which Lightning remarks that it has moved.
pytestmark = pytest.mark.filterwarnings("ignore:The dirpath has changed")

FIT = ["fit", "--config", str(ROOT / "configs/base.yaml"), *SMALL, "--figures.every_n_epochs", "0"]
LAST, BEST = "checkpoints/last.ckpt", "checkpoints/best.ckpt"


@pytest.fixture
def former(trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished training."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def launch(folder: Path, *words: str) -> list[str]:
    return [*FIT, "--run_dir", str(folder), *words]


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a command that changes nothing in its folder."""
    folder = Path(words[words.index("--run_dir") + 1])
    before = contents(folder)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        run(words)
    assert stopped.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    after = contents(folder)
    assert {path: what for path, what in after.items() if path != ".lock"} == {
        path: what for path, what in before.items() if path != ".lock"
    }
    return lines[0]


def test_two_trainings_in_one_folder(former: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locked(former, "the first training"):
        message = refused(launch(former, "--trainer.max_epochs", "9"), capsys)
        assert str(former) in message and f"process {os.getpid()} on" in message
    with locked(former, "a test", ".test.lock"), pytest.raises(SystemExit):
        run(["test", "--ckpt_path", str(former / BEST)])
    assert "in use by a test" in capsys.readouterr().err


def test_a_test_during_a_training_leaves_its_record_alone(
    former: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    before = (former / RECORD).read_bytes()
    with locked(former, "the training"):
        run(["test", "--ckpt_path", str(former / BEST), "--trainer.accelerator", "cpu"])
    assert (former / "test" / "summary.csv").is_file() and (former / RECORD).read_bytes() == before
    run(["test", "--ckpt_path", str(former / BEST), "--trainer.accelerator", "cpu"])
    assert "test/loss" in read_record(former / RECORD).metrics


@pytest.mark.parametrize("how", ["missing", "dangling link"])
def test_best_is_never_overwritten_where_last_is_absent(
    former: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (former / LAST).unlink()
    if how != "missing":
        (former / LAST).symlink_to("moved-away.ckpt")
    message = refused(launch(former), capsys)
    assert f"--ckpt_path {shlex.quote(str(former / BEST))}" in message and "--overwrite" in message
    assert how == "missing" or "moved-away.ckpt" in message
    run(launch(former, "--ckpt_path", str(former / BEST), "--trainer.max_epochs", "5"))
    assert read_record(former / RECORD).epochs == 5


def test_a_damaged_last_checkpoint_names_the_best(former: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (former / LAST).write_bytes((former / LAST).read_bytes()[:1000])
    message = refused(launch(former), capsys)
    assert str(former / LAST) in message and f"--ckpt_path {former / BEST}" in message
    (former / BEST).unlink()
    message = refused(launch(former), capsys)
    assert "--ckpt_path" not in message and "--overwrite" in message


def test_other_checkpoints_and_records_hold_a_training(former: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (former / LAST).unlink()
    (former / BEST).rename(former / "checkpoints" / "epoch=3.ckpt")
    assert "epoch=3.ckpt" in refused(launch(former), capsys)
    (former / "checkpoints" / "epoch=3.ckpt").unlink()
    assert RECORD in refused(launch(former), capsys)
    (former / RECORD).write_text("{")
    assert RECORD in refused(launch(former), capsys)


def test_a_training_that_never_got_to_a_checkpoint_starts_anew(former: Path) -> None:
    """Logs, and a record that is still running: so a kill in the first epoch leaves a run of a study."""
    shutil.rmtree(former / "checkpoints")
    write_record(former / RECORD, replace(read_record(former / RECORD), status="running", epochs=0))
    run(launch(former, "--trainer.max_epochs", "1"))
    # Killed between the first best.ckpt and the first last.ckpt: the same.
    (former / LAST).unlink()
    write_record(former / RECORD, replace(read_record(former / RECORD), status="running"))
    run(launch(former, "--trainer.max_epochs", "1"))
    assert read_record(former / RECORD).epochs == 1 and (former / LAST).is_file()


def test_a_checkpoint_of_another_folder_does_not_replace_a_training(
    former: Path, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    longer = ("--trainer.max_epochs", "5")
    message = refused(launch(former, "--ckpt_path", str(trained / LAST), *longer), capsys)
    assert f"--ckpt_path {former / LAST}" in message and "--overwrite" in message
    run(launch(tmp_path / "new", "--ckpt_path", str(trained / LAST), *longer))
    assert read_record(tmp_path / "new" / RECORD).epochs == 5
    # The job runs again with the same words, which must not take it back to where it began.
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    run(launch(tmp_path / "new", "--ckpt_path", str(trained / LAST), "--overwrite", "--trainer.max_epochs", "6"))
    record = read_record(tmp_path / "new" / RECORD)
    assert record.epochs == 6 and record.cost["launches"] == 3


def test_overwrite_discards_what_the_training_wrote_and_nothing_else(
    former: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = [former / "notes.txt", former / "checkpoints" / "notes.txt", former / "test" / "summary.csv"]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    old = torch.load(former / LAST, weights_only=True)
    other = ("--model.backbone.width", "8", "--trainer.max_epochs", "1")
    assert "--run_dir" in refused_with_table(launch(former, *other), capsys)
    for option in ("--ckpt_path", "--fine_tune_from"):
        assert "--overwrite would discard" in refused(launch(former, "--overwrite", option, str(former / BEST)), capsys)
    assert "expected" in refused(launch(former, "--overwrite", "--best_min_delta", "-1"), capsys), "nothing is lost"
    run(launch(former, *other, "--overwrite"))
    new = torch.load(former / LAST, weights_only=True)
    assert old["global_step"] == 20 and new["global_step"] == 5
    record = read_record(former / RECORD)
    assert (record.width, record.epochs, record.cost["launches"]) == (8, 1, 1)
    assert all(path.read_text() == "mine" for path in mine)
    assert [path.name for path in (former / "csv").iterdir()] == ["version_0"]
    # The configuration that is kept does not discard again.
    run(["fit", "--config", str(former / "csv/version_0/fit.yaml")])
    assert read_record(former / RECORD).cost["launches"] == 2


def refused_with_table(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        run(words)
    return capsys.readouterr().err


def test_continued_on_other_materials_it_is_no_clean_run(former: Path) -> None:
    whole = read_record(former / RECORD)
    assert [(part["epoch"], part["num_train"]) for part in whole.segments] == [(0, 69)]
    assert not whole.trained_on_several_sets
    fewer = launch(former, "--data.train_size", "30", "--ckpt_path", "last")
    run([*fewer, "--trainer.max_epochs", "5"])
    run([*fewer, "--trainer.max_epochs", "6"])
    record = read_record(former / RECORD)
    assert [(part["epoch"], part["num_train"]) for part in record.segments] == [(0, 69), (4, 30)]
    assert record.segments[1]["samples_seen"] == whole.samples_seen and record.trained_on_several_sets
    assert record.segments[0]["subset"] == whole.subset != record.segments[1]["subset"] == record.subset


def test_a_record_knows_what_an_earlier_version_trained_on(former: Path) -> None:
    """Its checkpoints state no segments, its record is of an earlier schema."""
    checkpoint = torch.load(former / LAST, weights_only=True)
    key = next(key for key in checkpoint["callbacks"] if "ScalingRecord" in key)
    del checkpoint["callbacks"][key]["segments"]
    torch.save(checkpoint, former / LAST)
    plain = json.loads((former / RECORD).read_text())
    del plain["segments"]
    (former / RECORD).write_text(json.dumps({**plain, "schema_version": 2}))
    run(launch(former, "--data.train_size", "30", "--ckpt_path", "last", "--trainer.max_epochs", "5"))
    assert [part["num_train"] for part in read_record(former / RECORD).segments] == [69, 30]


@pytest.mark.parametrize("seed", ["-1", str(2**32)])
def test_seeds_out_of_range(seed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"{seed}, expected" in refused(launch(tmp_path, "--seed_everything", seed), capsys)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[2J"])
def test_names_of_runs_and_studies(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused([*launch(tmp_path), f"--run_dir={name}"], capsys)
    assert "--run_dir" in message and "\x1b" not in message
    if name:
        assert "--study" in refused(launch(tmp_path, f"--study={name}"), capsys)
    assert "--study" in refused(launch(tmp_path, "--study", "../other"), capsys)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_reader_that_has_seen_enough_ends_no_training(tmp_path: Path) -> None:
    words = shlex.join([sys.executable, "-m", "dielectric_gnn", *launch(tmp_path / "run")])
    line = f"{words} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], env=environment(), capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1 and done.stderr == ""
    record = read_record(tmp_path / "run" / RECORD)
    assert record.status == "finished" and record.epochs == 4


@pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
def test_a_checkpoint_that_does_not_fit_on_the_disk(former: Path) -> None:
    """The system refuses files of more than 100 kB: PyTorch then raises an error of its own."""
    before = contents(former / "checkpoints")
    done = subprocess.run(
        [sys.executable, "-m", "dielectric_gnn", *launch(former, "--trainer.max_epochs", "6")],
        env=environment(), capture_output=True, text=True, check=False, cwd=ROOT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ") and ".ckpt" in last and "make room" in last
    assert contents(former / "checkpoints") == before, "what was there is whole, and nothing half-written is left"
    assert read_record(former / RECORD).status == "failed"


def test_all_that_a_test_prints_in_latin_1(former: Path) -> None:
    line = [sys.executable, "-m", "dielectric_gnn", "test", "--ckpt_path", str(former / BEST)]
    variables = {**environment(), "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(line, env=variables, capture_output=True, check=False, cwd=ROOT)
    shown = done.stdout.decode("latin-1")
    assert done.returncode == 0 and "training mean" in shown and "R²" in shown and "\\u03c9" in shown
