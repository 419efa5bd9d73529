"""Files of earlier versions still load, and mean what they meant."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dielectric_gnn.checkpoint import SCHEMA, SECTION, read_checkpoint
from dielectric_gnn.loading import load_model
from dielectric_gnn.testing import graph_of, sample_crystals

DATA = Path(__file__).parents[1] / "data/old_files"


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_three_body_checkpoints_keep_the_angles_at_the_receiver(mode: str) -> None:
    model = load_model(DATA / "optimetal3b_schema1.ckpt").train(mode == "train")
    with torch.no_grad():
        found = model(graph_of(sample_crystals(), 5.5, torch.float32)).eps_inter[:, ::100]
    with np.load(DATA / "optimetal3b_schema1_outputs.npz") as file:
        expected = torch.from_numpy(file[mode])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_the_section_is_that_of_this_version() -> None:
    section = read_checkpoint(DATA / "optimetal3b_schema1.ckpt")[SECTION]
    assert section["schema"] == SCHEMA
    assert section["config"]["model"]["backbone"]["init_args"]["angles"] == "at_receiver"
