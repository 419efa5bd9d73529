"""Trained weights of the study: any of its architectures and options, read without executing what a file names."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dielectric_gnn.data.sources import ExampleMetals
from dielectric_gnn.data.store.writer import write_store
from dielectric_gnn.prediction.loading import load_model
from dielectric_gnn.testing import graph_of, sample_crystals
from dielectric_gnn.training.checkpoint import SECTION, read_checkpoint
from dielectric_gnn.training.ensemble import Ensemble
from dielectric_gnn.training.published import convert
from dielectric_gnn.training.published.reading import read_published
from dielectric_gnn.utils.errors import InputError
from tests.published_layout import PublishedModel, PublishedOptiMate, save

DATA = Path(__file__).parents[2] / "data/reference_models"

COMMON: dict[str, Any] = {
    "hidden_dim": 8,
    "spectra_dim": 12,
    "depth": 2,
    "activation": "relu",
    "twobody_cutoff": 5.5,
    "node_embedding_dict": {"type": "group_period"},
    "edge_embedding_dict": {"type": "gaussian", "num_basis": 8, "basis_width": 3.0, "apply_envelope": True},
    "pooling_dict": {"type": "vector_attention"},
}
TC = {"type": "transformer", "heads": 2, "hidden_multiplier": 3}
CGC = {"type": "cgconv", "hidden_multiplier": 2}
GAT = {"type": "gatv2", "heads": 4, "hidden_multiplier": 6}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "2b cgc": {"type": "optimetal_2b", "message_passing_dict": {**CGC, "num_layers": 2}},
    "2b tc, atoms, bessel, mean": {
        "type": "optimetal_2b",
        "message_passing_dict": {**TC, "num_layers": 1},
        "node_embedding_dict": {"type": "atom", "embedding_dim": 5},
        "edge_embedding_dict": {"type": "bessel", "num_basis": 4},
        "pooling_dict": {"type": "mean"},
    },
    "2b gat, trainable bessel, scalar attention, silu": {
        "type": "optimetal_2b",
        "message_passing_dict": {**GAT, "num_layers": 2},
        "edge_embedding_dict": {"type": "bessel", "num_basis": 4, "trainable": True, "apply_envelope": True},
        "pooling_dict": {"type": "scalar_attention"},
        "activation": "silu",
    },
    "2b gat alone, set2set, depth 3": {
        "type": "optimetal_2b_no_residual",
        "message_passing_dict": {"type": "gatv2", "heads": 4, "num_layers": 3},
        "pooling_dict": {"type": "set2set", "processing_steps": 2},
        "depth": 3,
    },
    "3b, two kinds of layers, l 4, no envelope, tanh": {
        "type": "optimetal_3b",
        "triplet_block_dict": {"num_layers": 1, "edge_graph_mp_dict": TC, "node_graph_mp_dict": CGC},
        "angle_embedding_dict": {"l_max": 4},
        "edge_embedding_dict": {"type": "gaussian", "num_basis": 8, "apply_envelope": False},
        "activation": "tanh",
        "depth": 1,
    },
    "3b gat": {
        "type": "optimetal_3b",
        "triplet_block_dict": {"num_layers": 2, "edge_graph_mp_dict": GAT, "node_graph_mp_dict": TC},
        "angle_embedding_dict": {"l_max": 3},
    },
}


def random_model(model: nn.Module) -> nn.Module:
    """Norms and running statistics that do something."""
    torch.manual_seed(0)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif value.is_floating_point() and value.dim() == 1 and "bessel" not in name:
            value.add_(torch.randn_like(value) * 0.3)
    return model.eval()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_option_of_the_study_is_imported(name: str, tmp_path: Path) -> None:
    """Against models of torch_geometric layers under the study's names, in single precision."""
    architecture = {**COMMON, **ARCHITECTURES[name]}
    theirs = random_model(PublishedModel(architecture))
    save(theirs, architecture, tmp_path / "best_model.pt")
    ours = load_model(convert(tmp_path / "best_model.pt", tmp_path / "run"))
    graph = graph_of(sample_crystals(), 5.5, torch.float32)
    with torch.no_grad():
        eps, drude = theirs(graph)
        found = ours(graph)
    torch.testing.assert_close(found.eps_inter, eps, rtol=0, atol=1e-5 * float(eps.abs().max()))
    torch.testing.assert_close(found.drude, drude, rtol=0, atol=1e-5 * max(1.0, float(drude.abs().max())))


def test_optimate_is_imported(tmp_path: Path) -> None:
    theirs = random_model(PublishedOptiMate())
    save(theirs, {"type": "optimate"}, tmp_path / "best_model.pt", loss_fn_eps="optimate")
    ours = load_model(convert(tmp_path / "best_model.pt", tmp_path / "run"))
    graph = graph_of(sample_crystals(), 5.5, torch.float32)
    with torch.no_grad():
        expected, found = theirs(graph), ours(graph)
    torch.testing.assert_close(found.eps_inter[..., 1], expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert found.drude.isnan().all() and ours.outputs == {"im"}


@pytest.mark.parametrize("name", ["optimetal2b_cgc", "optimetal2b_tc", "optimetal3b_tc"])
def test_files_of_the_study_give_the_reference_outputs(name: str, tmp_path: Path) -> None:
    """Saved by the study's trainer, with the instance of its own class in it, which is not there to be imported."""
    file = DATA / f"{name}_width16.pt"
    published = read_published(file)
    assert published.precision == "bf16" and published.configuration["num_epoch"] == 500
    checkpoint = convert(file, tmp_path / "run")
    statistics = read_checkpoint(checkpoint)[SECTION]["training_statistics"]
    assert statistics["broadening"] == 0.1 and statistics["mean_eps_inter"] is None and statistics["elements"] is None


def test_training_statistics_come_from_a_store(tmp_path: Path) -> None:
    source = ExampleMetals(parts=1)
    records = list(source.records())[:20]
    write_store(
        tmp_path / "metals", records, 5.5, lambda ids, *_: {"train": list(ids), "val": [], "test": []}, source="x"
    )
    with pytest.raises(InputError, match=r"0\.3 eV"):
        convert(DATA / "optimetal2b_cgc_width16.pt", tmp_path / "run", tmp_path / "metals")


def test_imported_models_make_an_ensemble(tmp_path: Path) -> None:
    members = [load_model(convert(DATA / f"optimetal{n}_width16.pt", tmp_path / n)) for n in ("2b_cgc", "3b_tc")]
    with torch.no_grad():
        response = Ensemble(members)(graph_of(sample_crystals(), 5.5, torch.float32))
    assert response.std is not None and response.eps_inter.isfinite().all()


def test_an_existing_checkpoint_is_kept(tmp_path: Path) -> None:
    convert(DATA / "optimetal2b_cgc_width16.pt", tmp_path)
    with pytest.raises(InputError, match="--overwrite"):
        convert(DATA / "optimetal2b_cgc_width16.pt", tmp_path)
    convert(DATA / "optimetal2b_cgc_width16.pt", tmp_path, overwrite=True)


class Runs:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


class Configuration:
    pass


def archive(path: Path, content: bytes) -> None:
    """A file of torch.save whose pickle is `content`."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", content)
        file.writestr("archive/version", "3")
        file.writestr("archive/byteorder", "little")


@pytest.mark.parametrize("place", ["config_dict", "model_state_dict", "epoch"])
def test_nothing_in_a_file_is_executed(place: str, tmp_path: Path) -> None:
    trap = tmp_path / "executed"
    content = {"epoch": 1, "model_state_dict": {}, "config_dict": {"architecture": {}}, "precision": None}
    torch.save({**content, place: Runs(trap)}, tmp_path / "bad.pt")
    with pytest.raises(InputError, match=r"bad\.pt: .* not read"):
        convert(tmp_path / "bad.pt", tmp_path / "run")
    assert not trap.exists() and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "optimetal.utils.os.system", "torch.load", "optimetal.Other"]
)
def test_names_beside_the_one_of_the_study_are_refused(name: str, tmp_path: Path) -> None:
    module, attribute = name.rsplit(".", 1)
    trap = tmp_path / "executed"
    argument = f"touch {trap}".encode()
    call = b"(X" + len(argument).to_bytes(4, "little") + argument + b"tR"
    pickled = b"\x80\x02" + f"c{module}\n{attribute}\n".encode() + call + b"."
    archive(tmp_path / "bad.pt", pickled)
    with pytest.raises(InputError, match=r"bad\.pt"):
        convert(tmp_path / "bad.pt", tmp_path / "run")
    assert not trap.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "optimetal_4b"}, "optimetal_4b"),
        ({"message_passing_dict": {"type": "gin", "num_layers": 1}}, "gin"),
        ({"dropout": 0.1}, "dropout"),
        ({"hidden_dim": 16}, "inconsistent with the options"),
        ({"pooling_dict": {"type": "mean"}}, "pooling"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    architecture = {**COMMON, **ARCHITECTURES["2b cgc"]}
    save(PublishedModel(architecture), {**architecture, **change}, tmp_path / "odd.pt")
    with pytest.raises(InputError, match=message) as caught:
        convert(tmp_path / "odd.pt", tmp_path / "run")
    assert str(tmp_path / "odd.pt") in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_no_checkpoints_of_the_study(tmp_path: Path) -> None:
    whole = (DATA / "optimetal2b_cgc_width16.pt").read_bytes()
    contents = {"text.pt": b"hello", "short.pt": whole[:1000], "empty.pt": b"", "pickle.pt": pickle.dumps({"a": 1})}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    torch.save({"a": 1}, tmp_path / "other.pt")
    torch.save([1], tmp_path / "list.pt")
    np.savez(tmp_path / "array.pt.npz", a=np.ones(3))
    for name in (*contents, "other.pt", "list.pt", "array.pt.npz", "absent.pt"):
        with pytest.raises(InputError, match=name) as caught:
            read_published(tmp_path / name)
        assert "\n" not in str(caught.value)
