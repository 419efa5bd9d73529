"""The published configurations train through the real command, with the published recipe."""

from pathlib import Path

import pytest
import torch

from tests.commands import FIRST_PART, Command

# Learning rate and weight decay at width 256, and trainable parameters (arXiv:2602.05702).
PUBLISHED = {
    "optimate": (1e-3, 1e-5, 4_902_545),
    "optimetal2b_cgc": (1e-3, 8e-6, 8_268_707),
    "optimetal2b_tc": (6e-4, 1e-6, 8_140_195),
    "optimetal3b_tc": (4e-4, 6e-4, 11_306_147),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configuration_trains(command: Command, tmp_path: Path, name: str) -> None:
    rate, decay, parameters = PUBLISHED[name]
    result = command(
        "fit", "--config", f"configs/published/{name}.yaml", "--config", "configs/data/example.yaml",
        *FIRST_PART,
        "--config", "configs/trainer/cpu.yaml", "--trainer.max_epochs", "2", "--data.train_size", "8",
        "--data.batch_size", "4", "--run_dir", str(tmp_path),
    )  # fmt: skip
    assert f"{parameters:,} trainable parameters" in result.stdout
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert group["initial_lr"] == rate and group["weight_decay"] == decay
    assert group["lr"] == pytest.approx(1e-7 + 2 / 5 * (rate - 1e-7))  # two epochs into the warm-up
    assert checkpoint["global_step"] == 4
    if name == "optimate":
        report = command("test", "--ckpt_path", str(tmp_path / "checkpoints" / "best.ckpt")).stdout
        assert "–" in report  # Re and omega_D are not predicted, and not reported


def test_learning_rate_follows_the_number_of_parameters(command: Command, tmp_path: Path) -> None:
    result = command(
        "fit", "--config", "configs/published/optimetal2b_tc.yaml", *FIRST_PART,
        "--model.backbone.width", "16", "--model.lr_scaling.reference_parameters", "8140195",
        "--model.lr_scaling.exponent", "1.0", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1",
        "--data.train_size", "8", "--data.batch_size", "4", "--run_dir", str(tmp_path),
    )  # fmt: skip
    assert "learning rate 0.0006 x (8,140,195 / 278,275)^1 = 0.01755" in result.stdout + result.stderr
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    (group,) = checkpoint["optimizer_states"][0]["param_groups"]
    assert group["initial_lr"] == pytest.approx(6e-4 * 8_140_195 / 278_275)
