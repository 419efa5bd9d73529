"""Files of earlier versions still load, and mean what they meant."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dielectric_gnn.data.store.files import open_store
from dielectric_gnn.prediction.loading import load_model
from dielectric_gnn.testing import graph_of, sample_crystals
from dielectric_gnn.training.checkpoint import SCHEMA, SECTION, read_checkpoint
from dielectric_gnn.training.run_record import read_record

DATA = Path(__file__).parents[2] / "data/old_files"


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


VERSION_0_1 = DATA / "version_0_1"


@pytest.mark.parametrize("name", sorted(path.stem for path in VERSION_0_1.glob("*.ckpt")))
def test_checkpoints_of_version_0_1_load_and_give_the_same_response(name: str) -> None:
    model = load_model(VERSION_0_1 / f"{name}.ckpt").double()
    with torch.no_grad():
        found = model(graph_of(sample_crystals(), 5.5, torch.float64)).eps_inter
    with np.load(VERSION_0_1 / "outputs.npz") as file:
        expected = torch.from_numpy(file[name])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_every_backbone_and_head_of_version_0_1_is_there() -> None:
    assert len(list(VERSION_0_1.glob("*.ckpt"))) == 5 * 2 + 3 * 2


def test_the_store_of_version_0_1_opens() -> None:
    store, split = open_store(VERSION_0_1 / "store")
    batch = store.gather(range(len(store)))
    assert {name: rows.size for name, rows in split.items()} == {"train": 12, "val": 4, "test": 4}
    assert batch.num_crystals == 20 and batch.edge_index.shape[1] == 1252
    assert abs(float(batch.eps_inter.double().sum()) - (2953.272003223421)) < 1e-3


def test_the_run_record_of_version_0_1_is_read() -> None:
    record = read_record(VERSION_0_1 / "run_record.json")
    assert (record.backbone, record.head, record.num_train, record.epochs) == (
        "OptiMetal2B-CGConv", "FreeFormHead", 12, 1,
    )  # fmt: skip
