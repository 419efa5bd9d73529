"""Every shipped configuration is parsed and built for every verb."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dielectric_gnn.cli.training import DielectricCLI
from dielectric_gnn.data.sources import SyntheticMetals
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.models.baselines import Baseline
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.utils.errors import InputError

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
        args += ["--model.backbone", "dielectric_gnn.models.backbones.Goten", "--model.backbone.tensors", "true"]
    if config.stem in ("gpu", "ddp", "slurm"):  # a Trainer for GPUs cannot be built where there are none
        args += ["--trainer.accelerator", "cpu", "--trainer.devices", "1", "--trainer.precision", "32-true"]
    if config.stem == "slurm":  # nor one for SLURM outside of it
        args += ["--trainer.plugins", "null"]
    cli = BuiltOnly(args)
    assert isinstance(cli.model.backbone, Baseline) == (config.parent.name == "baseline")
    assert cli.trainer.gradient_clip_val == 100


BACKBONES = sorted((FOLDER / "backbone").glob("*.yaml"))
EQUIVARIANT = {"goten", "escn", "cg"}


@pytest.mark.parametrize("head", sorted((FOLDER / "head").glob("*.yaml")), ids=lambda path: path.stem)
@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda path: path.stem)
def test_any_backbone_goes_with_any_head(backbone: Path, head: Path, tmp_path: Path) -> None:
    """But for tensors from invariant features, which is refused with the names of those that would do."""
    tensors = "tensor" in head.stem
    args = ["fit", "--config", str(FOLDER / "base.yaml"), "--config", str(backbone), "--config", str(head)]
    args += ["--model.backbone.width", "16"] if backbone.stem != "optimate" else []
    args += ["--model.backbone.tensors", "true"] if tensors and backbone.stem in EQUIVARIANT else []
    args += ["--run_dir", str(tmp_path)]
    if tensors and backbone.stem not in EQUIVARIANT:
        with pytest.raises(InputError, match="Goten, ESCN or ClebschGordan"):
            BuiltOnly(args)
        return
    model = BuiltOnly(args).model
    model.head.prepare(TrainingStatistics(1, [47], 0.3, torch.ones(2001, 2), torch.tensor(5.0)))
    crystals = CrystalStore.from_records(list(SyntheticMetals(3).records()), model.backbone.cutoff)
    response = model.eval()(crystals.gather([0, 1, 2]))
    known = response.eps_inter[..., 1]
    assert response.eps_inter.shape == (3, 2001, 2) and known.isfinite().all()


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_evaluation_verbs_build_from_the_checkpoint_alone(verb: str, trained: Path) -> None:
    cli = BuiltOnly([verb, "--ckpt_path", str(trained / "checkpoints" / "best.ckpt")])
    assert cli.model.backbone.scalar_dim == 16
    assert cli.datamodule.batch_size == 16
    assert cli.trainer.default_root_dir == str(trained)


def test_there_are_configurations() -> None:
    assert {path.parent.name for path in CONFIGS} >= {FOLDER.name, "backbone", "head", "data", "trainer"}
