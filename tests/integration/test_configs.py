"""Every shipped configuration is parsed and built for every verb."""

from __future__ import annotations

from pathlib import Path

import pytest

from dielectric_gnn.cli import DielectricCLI

FOLDER = Path(__file__).resolve().parents[2] / "configs"
CONFIGS = sorted(path for path in FOLDER.rglob("*.yaml") if path.parent.name != "study")  # those are no overlays


class BuiltOnly(DielectricCLI):
    """Builds model, data module and trainer, and stops there."""

    def _run_subcommand(self, subcommand: str) -> None:
        pass


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["dielectric-gnn"])


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_shipped_configurations_build(config: Path, tmp_path: Path) -> None:
    args = ["fit", "--config", str(FOLDER / "base.yaml"), "--config", str(config)]
    args += ["--run_dir", str(tmp_path)]
    if "tensor" in config.stem:
        args += ["--model.backbone", "dielectric_gnn.backbones.Goten", "--model.backbone.tensors", "true"]
    if config.stem in ("gpu", "ddp", "slurm"):  # a Trainer for GPUs cannot be built where there are none
        args += ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.precision", "32-true"]
    if config.stem == "slurm":  # nor one for SLURM outside of it
        args += ["--trainer.plugins", "null"]
    cli = BuiltOnly(args)
    assert cli.model.backbone.scalar_dim > 0
    assert cli.trainer.gradient_clip_val == 100


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_evaluation_verbs_build_from_the_checkpoint_alone(verb: str, trained: Path) -> None:
    cli = BuiltOnly([verb, "--ckpt_path", str(trained / "checkpoints" / "best.ckpt")])
    assert cli.model.backbone.scalar_dim == 16
    assert cli.datamodule.batch_size == 16
    assert cli.trainer.default_root_dir == str(trained)


def test_there_are_configurations() -> None:
    assert {path.parent.name for path in CONFIGS} >= {FOLDER.name, "backbone", "head", "data", "trainer"}
