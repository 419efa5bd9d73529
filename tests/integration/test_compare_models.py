"""The comparison of models: its numbers and its table; without the trainings."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from dielectric_gnn.training.checkpoint import add_section
from dielectric_gnn.training.run_record import RECORD, RunRecord, write_record
from tests.commands import load_tool


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool("compare_models")


def write_run(folder: Path, tool: ModuleType, losses: tuple[str, str]) -> Path:
    """The files of a tested run that the comparison reads."""
    (folder / "test").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    columns = ["material_id", *(key for key in tool.COLUMNS if key != "gain"), "gain_share"]
    rows = [
        [name, loss, *["0.5"] * (len(columns) - 3), gain] for name, loss, gain in zip("ab", losses, "01", strict=True)
    ]
    text = "\n".join(",".join(row) for row in [columns, *rows])
    (folder / "test" / "per_material.csv").write_text(text + "\n")
    checkpoint = {"state_dict": {}, "epoch": 6}
    add_section(checkpoint, None, None)
    torch.save(checkpoint, folder / "checkpoints" / "best.ckpt")
    write_record(folder / RECORD, RunRecord("run", "finished", "net", "head", 17, 2, "2-a", 1, 7, 14, 14))
    (folder / "seconds.txt").write_text("12.5\n")
    return folder


def test_numbers_of_a_run(tool: ModuleType, tmp_path: Path) -> None:
    numbers = tool.summarize(write_run(tmp_path / "run", tool, ("1.0", "2.0")))
    assert (numbers["loss"], numbers["mae_re"], numbers["gain"]) == (1.5, 0.5, 0.5)
    assert (numbers["parameters"], numbers["epoch"], numbers["seconds"]) == (17.0, 7.0, 12.5)
    assert np.isnan(tool.summarize(write_run(tmp_path / "other", tool, ("1.0", "nan")))["loss"])


def test_table_has_mean_and_sample_standard_deviation(tool: ModuleType) -> None:
    rest = {**dict.fromkeys(tool.COLUMNS, 0.5), "parameters": 1234.0, "epoch": 7.0, "seconds": 10.0}
    found = tool.table({"net": [{**rest, "loss": 1.0, "mae_re": np.nan}, {**rest, "loss": 2.0, "epoch": 9.0}]})
    cells = [cell.strip() for cell in found.splitlines()[-1].strip("|").split("|")]
    assert cells[:4] == ["net", "1,234", "1.50 ± 0.71", "–"] and cells[-2:] == ["7, 9", "10"]
