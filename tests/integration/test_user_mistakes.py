"""A user's mistake gives one clear line and status 2, and no traceback through library code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.commands import SMALL, Command

FIT = ("fit", "--config", "configs/base.yaml", *SMALL)
BEST = "checkpoints/best.ckpt"


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((*FIT, "--model.backbone.widht", "3"), "widht"),
        ((*FIT, "--model.backbone", "NoSuchNet"), "NoSuchNet"),
        ((*FIT, "--config", "configs/nowhere.yaml"), "nowhere.yaml"),
        ((*FIT, "--data.train_size", "1000"), "train_size is 1000, expected 1 to 69"),
        ((*FIT, "--data.train_size", "1"), "at least 2 materials"),
        ((*FIT, "--data.batch_size", "1"), "batch_size is 1"),
        ((*FIT, "--data.cutoff", ".nan"), "cutoff is nan Å, expected a finite number above 0"),
        ((*FIT, "--data.subset_seed", "-1", "--data.train_size", "9"), "subset_seed is -1, expected at least 0"),
        ((*FIT, "--data.shuffle_seed", "-1"), "shuffle_seed is -1, expected at least 0"),
        ((*FIT, "--data.batch_edges", "0"), "batch_edges is 0, expected at least 1"),
        ((*FIT, "--trainer.devices", "0"), "trainer.devices is 0, expected how many (at least 1"),
        ((*FIT, "--trainer.devices", "two"), "trainer.devices is two, expected how many"),
        ((*FIT, "--data.cutoff", "4.0"), "up to 4.0 Å, but the backbone was built for 5.5 Å; set data.cutoff or"),
        ((*FIT, "--model.grid.num", "1001"), "2001 points on 0 to 20 eV, but the model 1001 points"),
        ((*FIT, "--model.objective.drude_weight", "0"), "FreeFormHead predicts"),
        ((*FIT, "--model.grid.num", "1"), "energy grid 1 points on 0 to 20 eV: expected"),
        ((*FIT, "--config", "configs/head/oscillator.yaml", "--model.head.init_args.dictionary.stop", ".nan"),
         "400 energies up to nan eV"),
        ((*FIT, "--model.schedule.warmup_epochs", "-1"), "warmup_epochs=-1"),
        ((*FIT, "--config", "configs/data/entry_json.yaml"), "data/entries: no such file or folder"),
        ((*FIT, "--ckpt_path", "nowhere.ckpt"), "nowhere.ckpt: no such checkpoint to continue from"),
        (("test",), "give --ckpt_path"),
        (("test", "--ckpt_path", "nowhere.ckpt"), "nowhere.ckpt: no such checkpoint"),
        (("predict", "--ckpt_path", "README.md"), "README.md: not a readable checkpoint"),
    ],
    ids=lambda value: " ".join(value[-2:]) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_mistakes(command: Command, tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    result = command(*args, "--run_dir", str(tmp_path / "run"), status=2)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert "error:" in result.stderr


def test_a_run_that_is_found_again_needs_its_folder(command: Command) -> None:
    assert "finds its training only by --run_dir" in last_line(command(*FIT, "--requeue", "true", status=2).stderr)
    assert "give its --run_dir too" in last_line(command(*FIT, "--ckpt_path", "last", status=2).stderr)


def test_mistakes_with_a_checkpoint(command: Command, trained: Path, tmp_path: Path) -> None:
    best = trained / BEST
    run = ("--run_dir", str(tmp_path))
    result = command("test", "--ckpt_path", str(best), "--model.backbone.width", "32", *run, status=2)
    assert "another architecture (OptiMetal2B {'width': 16" in last_line(result.stderr)
    result = command("test", "--ckpt_path", str(best), "--model.backbone", "OptiMate", *run, status=2)
    assert "(OptiMate {'cutoff': 5.5}" in last_line(result.stderr)
    result = command(*FIT, "--data.batch_size", "4", "--run_dir", str(trained), status=2)
    assert f"{trained} holds a training with other settings" in result.stderr
    result = command("predict", "--ckpt_path", str(best), "--predictions.damping_ev", ".nan", *run, status=2)
    assert last_line(result.stderr) == "error: the Drude damping is nan eV, expected a number above 0"
    result = command("predict", "--ckpt_path", str(best), "--crystals", "missing.cif", *run, status=2)
    assert last_line(result.stderr) == "error: missing.cif: no such file or folder"


def test_damaged_and_foreign_checkpoints(command: Command, trained: Path, tmp_path: Path) -> None:
    content = (trained / BEST).read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: len(content) // 2])
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    checkpoint = torch.load(trained / BEST, weights_only=True)
    checkpoint["dielectric_gnn"]["schema"] = 99
    torch.save(checkpoint, tmp_path / "future.ckpt")
    for name, message in (("cut", "not a readable"), ("foreign", "no section"), ("future", "update dielectric_gnn")):
        result = command("test", "--ckpt_path", str(tmp_path / f"{name}.ckpt"), status=2)
        assert message in last_line(result.stderr) and f"{name}.ckpt" in last_line(result.stderr)


def test_a_checkpoint_cannot_run_code(command: Command, trained: Path, tmp_path: Path) -> None:
    """Neither a pickled object nor a class path in the stored configuration is ever executed."""
    (tmp_path / "evil.py").write_text(
        "import pathlib\npathlib.Path('owned').touch()\nfrom dielectric_gnn.backbones import OptiMetal2B as Evil\n"
    )

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("open('owned', 'w')",)

    checkpoint = torch.load(trained / BEST, weights_only=True)
    torch.save({**checkpoint, "extra": Evil()}, tmp_path / "pickle.ckpt")
    checkpoint["dielectric_gnn"]["config"]["model"]["backbone"]["class_path"] = "evil.Evil"
    torch.save(checkpoint, tmp_path / "path.ckpt")
    for name, message in (("pickle", "unsafe"), ("path", "made with evil.Evil, which is not part of dielectric_gnn")):
        result = command(
            "test", "--ckpt_path", str(tmp_path / f"{name}.ckpt"), status=2, cwd=tmp_path, paths=(tmp_path,)
        )
        assert message in last_line(result.stderr)
        assert not (tmp_path / "owned").exists()


def test_unreadable_crystals_are_skipped_on_request(command: Command, trained: Path, tmp_path: Path) -> None:
    crystals = tmp_path / "crystals"
    crystals.mkdir()
    good = Path("docs/crystals/fcc_silver.cif").resolve()
    (crystals / "good.cif").write_bytes(good.read_bytes())
    (crystals / "bad.cif").write_text("not a crystal")
    heavy = good.read_text().replace(" Ag ", " Po ").replace("Ag1", "Po1")
    (crystals / "heavy.cif").write_text(heavy)
    args = ("predict", "--ckpt_path", str(trained / BEST), "--crystals", str(crystals), "--run_dir", str(tmp_path))
    result = command(*args, status=2)
    assert "bad.cif: pymatgen cannot read" in last_line(result.stderr)
    command(*args, "--data.on_error", "skip", "--predictions.figures", "false")
    rejects = (tmp_path / "rejects_predict.csv").read_text()
    assert "bad.cif" in rejects and "heavy.cif" in rejects and "84 is outside" in rejects
    assert [path.stem for path in sorted((tmp_path / "predictions").glob("*.csv"))] == ["good", "summary"]
