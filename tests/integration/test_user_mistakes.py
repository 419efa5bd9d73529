"""Names, paths and configurations as people have them: they work, or the command says in one line what to change."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dielectric_gnn.cli.command_line import checked_words, with_home
from dielectric_gnn.cli.trainer_parts import check_devices
from dielectric_gnn.cli.training import run
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.optics.plots import comparison_figure, save_figure
from dielectric_gnn.optics.spectrum import Spectrum
from dielectric_gnn.studies import spec
from dielectric_gnn.training.callbacks import graceful_stop
from dielectric_gnn.utils.errors import InputError, RecordError
from dielectric_gnn.utils.files import check_writable, file_stem, write_csv, write_text
from dielectric_gnn.utils.yaml_files import read_yaml
from tests.commands import run_command

ROOT = Path(__file__).parents[2]
QUICK = ["fit", "--config", str(ROOT / "configs/quickstart.yaml"), "--trainer.max_epochs", "1"]
SMALL = ["--model.backbone.init_args.width", "8", "--figures.every_n_epochs", "0"]


def mistake(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command ends with."""
    with pytest.raises(SystemExit) as stopped:
        run(words)
    assert stopped.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


NAMES = ["$Ag$", "a_$b", r"\frac{1}{0}$x^$", "x" * 245, "é" * 200, "Ag\udce4", r"back\slash", "_Ag", "100%", "a\nb"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn_and_be_part_of_a_file_name(name: str, tmp_path: Path) -> None:
    spectrum = Spectrum(np.linspace(0, 20, 11), np.ones(11, dtype=complex), 3.0)
    path = tmp_path / f"{file_stem(name)}_optics.png"
    save_figure(comparison_figure([(name.encode(errors="replace").decode(), spectrum, spectrum)]), path)
    write_csv(tmp_path / "summary.csv", ["id"], [[name]])
    write_text(tmp_path / "note.txt", name)
    assert path.stat().st_size > 0 and len(os.fsencode(f".{path.name}.12345678.tmp")) <= 255


def test_names_that_are_cut_stay_different() -> None:
    assert file_stem("x" * 245 + "1") != file_stem("x" * 245 + "2")


def test_a_material_whose_name_no_file_can_hold_is_refused() -> None:
    with pytest.raises(RecordError, match="rename it"):
        CrystalRecord("Ag\udce4", 3 * np.eye(3), np.array([47]), np.zeros((1, 3)))


def test_a_key_given_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("trainer:\n  max_epochs: 3\ndata:\n  batch_size: 4\ntrainer:\n  devices: 1\n")
    message = mistake([*QUICK, "--config", str(path)], capsys)
    assert str(path) in message and "'trainer'" in message and "lines 1 and 5" in message
    with pytest.raises(InputError, match="given twice"):
        spec.read_study(path)


def test_configurations_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("# Glühwein\ntrainer:\n  max_epochs: 3\n", encoding="utf-16")
    assert "UTF-8" in mistake([*QUICK, f"--config={path}"], capsys)
    path.write_text("a: [1\n")
    assert "not YAML" in mistake([*QUICK, "--config", str(path)], capsys)
    path.write_text("a: 1\n", encoding="utf-8-sig")  # some editors of Windows mark UTF-8 so
    assert read_yaml(path) == {"a": 1}


def test_merge_keys_and_aliases_are_no_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("base: &base {a: 1, b: 2}\none:\n  <<: *base\n  a: 3\n")
    assert read_yaml(path)["one"] == {"a": 3, "b": 2}


def test_home_is_understood_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert checked_words(["--run_dir=~/a", "~/b", "--study", "~", "--note=a~/b"]) == [
        f"--run_dir={tmp_path}/a",
        f"{tmp_path}/b",
        "--study",
        str(tmp_path),
        "--note=a~/b",
    ]
    assert with_home({"a": ["~/x", {"b": "~/y"}], "c": "~name"}) == {
        "a": [f"{tmp_path}/x", {"b": f"{tmp_path}/y"}],
        "c": "~name",
    }


def test_a_training_goes_on_in_a_folder_below_home(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("run_dir: ~/run\n")
    words = [*QUICK, *SMALL, "--config", "~/mine.yaml", "--trainer.max_epochs"]
    for epochs in (1, 2):
        done = run_command("-m", "dielectric_gnn", *words, epochs, cwd=tmp_path, env={"HOME": str(tmp_path)})
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/checkpoints/last.ckpt").is_file() and not (tmp_path / "~").exists()


def test_folders_that_cannot_be_written_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "below"):
        assert "not a folder" in mistake([*QUICK, "--run_dir", str(folder)], capsys)
    with pytest.raises(InputError, match="choose another"):
        check_writable(file)


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.logger", "false"],
        ["--trainer.enable_checkpointing", "false"],
        ["--trainer.overfit_batches", "1"],
        ["--trainer.limit_val_batches", "0"],
        ["--trainer.fast_dev_run", "true"],
    ],
    ids=lambda options: options[0],
)
@pytest.mark.filterwarnings("ignore")  # Lightning explains what the options entail
def test_options_of_lightning_work(options: list[str], tmp_path: Path) -> None:
    run([*QUICK, *SMALL, "--run_dir", str(tmp_path), *options])


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.accelerator", "nonsense"],
        ["--trainer.strategy", "nonsense"],
        ["--trainer.devices", "9999"],
        ["--trainer.overfit_batches", "0.01"],
        ["--trainer.limit_val_batches", "0.01"],
    ],
    ids=lambda options: options[0],
)
@pytest.mark.filterwarnings("ignore")
def test_options_of_lightning_that_cannot_be_used(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(mistake([*QUICK, *SMALL, "--run_dir", str(tmp_path), *options], capsys)) > 40


def test_processes_on_cpus_are_bounded() -> None:
    check_devices(9999, on_gpus=True)
    with pytest.raises(InputError, match="cores"):
        check_devices(9999)


def test_signals_of_other_systems() -> None:
    """Windows has no SIGUSR1."""
    lines = [
        "import signal; del signal.SIGUSR1",
        "import dielectric_gnn.training.callbacks.graceful_stop as g, dielectric_gnn.studies.execute",
        "stop = g.GracefulStop(None); stop.listen(); stop._note(signal.SIGINT, None); stop._restore()",
        "print(len(g._SIGNALS))",
    ]
    result = subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "2" and len(graceful_stop._SIGNALS) == 2 + hasattr(signal, "SIGUSR1")
