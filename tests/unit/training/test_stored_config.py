"""No configuration inside a checkpoint runs anything: every key of every shipped configuration, with every attack."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from dielectric_gnn.cli.training import DielectricCLI
from dielectric_gnn.models.backbones import Backbone
from dielectric_gnn.training.stored_config import (
    check_stored,
    data_words,
    default_settings,
    foreign_classes,
    stored_paths,
)
from dielectric_gnn.utils.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[3]
CONFIGURATIONS = sorted(
    str(path.relative_to(REPOSITORY))
    for path in (REPOSITORY / "configs").rglob("*.yaml")
    if not {"study", "trainer", "width"} & {*path.relative_to(REPOSITORY).parts}  # of those, nothing is stored
)


class _Parsed(DielectricCLI):
    """What a checkpoint of `fit` with these options would state."""

    def before_instantiate_classes(self) -> None: ...

    def instantiate_classes(self) -> None:
        self.stored = self._plain_config()

    def after_instantiate_classes(self) -> None: ...

    def _run_subcommand(self, subcommand: str) -> None: ...


def stored_by(*options: str) -> dict[str, Any]:
    return _Parsed(["fit", "--config", "configs/base.yaml", *options]).stored


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that appears if anything is run; a module that writes it can be imported, and a pickle be loaded."""
    mark = tmp_path / "RUN"
    body = f"open({str(mark)!r}, 'w').close()\nfrom dielectric_gnn.models.heads import FreeFormHead as Head\n"
    (tmp_path / "evil_module.py").write_text(body)

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(mark), "w"))

    (tmp_path / "evil.pickle").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "evil.yaml").write_text("class_path: evil_module.Head\n")
    monkeypatch.syspath_prepend(tmp_path)
    return mark


def attacks(mark: Path) -> list[Any]:
    command = {"command": f"touch {mark}"}
    deep: Any = "x"
    for _ in range(3000):
        deep = [deep]
    return [
        {"class_path": "torch.os.system", "init_args": command},
        {"class_path": "os.system", "init_args": command},
        {"class_path": "dielectric_gnn.training.checkpoint.os.system", "init_args": command},
        {"class_path": "torch.load", "init_args": {"f": str(mark.parent / "evil.pickle"), "weights_only": False}},
        {"class_path": "torch.hub.load", "init_args": {"repo_or_dir": "evil/evil", "model": "evil"}},
        {"class_path": "dielectric_gnn.utils.files.write_text", "init_args": {"path": str(mark), "text": ""}},
        {"class_path": "dielectric_gnn.cli.training.run", "init_args": {"args": []}},
        {"class_path": "torch.optim.optimizer.os.system", "init_args": command},
        {"class_path": "torch.nn.Linear", "init_args": {"in_features": 10**6, "out_features": 10**6}},
        {"class_path": "evil_module.Head"},
        {"class_path": "evil_module.Head", "dict_kwargs": {"a": 1}},
        {"class_path": ["evil_module.Head"]},
        {"class_path": "dielectric_gnn.models.heads.FreeFormHead", "init_args": "evil_module.Head"},
        "evil_module.Head",
        "evil_module",
        "torch.os.system",
        str(mark.parent / "evil.yaml"),
        str(mark.parent / "evil.pickle"),
        ["evil_module.Head"],
        {"evil_module.Head": {"class_path": "evil_module.Head"}},
        deep,
    ]


def places(config: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key of a configuration, of mappings and lists."""
    items = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def replaced(config: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(config)
    parent: Any = changed
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return changed


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_every_attack_at_every_key_is_refused_and_nothing_runs(configuration: str, mark: Path) -> None:
    stored = stored_by("--config", configuration)
    check_stored("best.ckpt", stored)
    built_from = {group: stored[group] for group in ("model", "data")}
    for path in places(built_from):
        for attack in attacks(mark):
            if path == ("data", "crystals") and isinstance(attack, str):
                continue  # a list is expected there: tried as one
            with pytest.raises(InputError, match=r"^best\.ckpt"):
                hostile = replaced(built_from, path, attack)
                check_stored("best.ckpt", hostile)
                default_settings("best.ckpt", hostile, given={})
    assert not mark.exists()
    assert "evil_module" not in sys.modules


def test_attacks_would_run_without_the_check(mark: Path) -> None:
    """The attacks are real: the parser obeys one that comes from the user."""
    stored_by("--model.head", "evil_module.Head")
    assert mark.exists()
    sys.modules.pop("evil_module", None)


def test_classes_of_a_module_that_the_user_named(mark: Path) -> None:
    stored = stored_by()
    stored["model"]["head"] = {"class_path": "evil_module.Head"}
    with pytest.raises(InputError, match=r"evil_module\.Head, which is not part of dielectric_gnn"):
        check_stored("best.ckpt", stored)
    assert not mark.exists()
    given = {"model": {"head": {"class_path": "evil_module.Head", "init_args": {}}, "backbone": None}}
    check_stored("best.ckpt", stored, foreign_classes(given))  # imported, since the user named it
    assert mark.exists()
    sys.modules.pop("evil_module", None)


def test_a_named_class_must_be_of_the_kind_that_is_expected() -> None:
    stored = stored_by()
    stored["model"]["head"] = {"class_path": "collections.Counter"}
    with pytest.raises(InputError, match=r"model\.head: .*collections\.Counter.*Head"):
        check_stored("best.ckpt", stored, ["collections.Counter"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data.store", "data/mine"], ["--data.store", "data/mine"]),
        (
            ["--data.source", "EntryJson", "--data.source.path", "my entries", "--data.source.broadening_ev", "0.1"],
            ["--data.source", "dielectric_gnn.data.sources.EntryJson", "--data.source.path", "my entries",
             "--data.source.broadening_ev", "0.1"],
        ),
        (["--data.train_ids", "/etc/passwd"], ["--data.train_ids", "/etc/passwd"]),
    ],
)  # fmt: skip
def test_paths_are_used_only_if_the_user_gives_them_too(options: list[str], words: list[str]) -> None:
    stored = stored_by(*options)
    check_stored("best.ckpt", stored)
    assert data_words(stored["data"]) == words
    with pytest.raises(InputError, match=r"only if you give it too: add --data"):
        default_settings("best.ckpt", stored, given={})
    given = stored_by(*words)["data"]
    settings = default_settings("best.ckpt", stored, given)
    data = {key.removeprefix("data."): value for key, value in settings.items() if key.startswith("data.")}
    assert stored_paths({"data": data}) == {}
    assert given == stored["data"]
    assert default_settings("best.ckpt", stored, {}, structures_only=True)["data.store"] is None


def test_the_stored_source_given_again_with_its_unset_options_is_no_other_source() -> None:
    """Options that are null are not stored; where sources are joined, they are those of the items of a list."""
    entries = {"class_path": "dielectric_gnn.data.sources.EntryJson", "init_args": {"path": "coarse"}}
    joined = {"class_path": "dielectric_gnn.data.sources.Fidelities", "init_args": {"sources": [entries, entries]}}
    stored = stored_by("--data.source", json.dumps(joined))
    given = copy.deepcopy(stored["data"]["source"])
    given["init_args"]["sources"][1]["init_args"]["broadening_ev"] = None
    settings = default_settings("best.ckpt", stored, {"source": given})
    assert settings.get("data.grid") is None
    given["init_args"]["sources"][1]["init_args"]["broadening_ev"] = 0.2
    assert default_settings("best.ckpt", stored, {"source": given})["data.grid"] is not None


def test_a_store_replaces_a_stored_source() -> None:
    stored = stored_by("--data.source", "EntryJson", "--data.source.path", "entries")
    settings = default_settings("best.ckpt", stored, {"store": "data/mine"})
    assert settings["data.source"] is None
    assert settings["data.batch_size"] == stored["data"]["batch_size"]


class Describable(Backbone):
    """A backbone of a user with options of many types."""

    def __init__(
        self,
        sizes: list[int],
        names: dict[str, str],
        rate: float | torch.Tensor = 1.0,
        where: Path | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)


def test_options_of_many_types() -> None:
    path = f"{__name__}.Describable"
    stored = stored_by()
    stored["model"]["backbone"] = {
        "class_path": path,
        "init_args": {"sizes": [1, 2], "names": {"a": "b.c"}, "rate": 0.5, "where": "a/b", "scalar_dim": 8},
    }
    check_stored("best.ckpt", stored, [path])
    for option, value in [
        ("sizes", ["os.system"]), ("rate", "evil_module.Head"), ("scalar_dim", "x.y"), ("unknown", 1),
        ("names", {"a": {"class_path": "os.system"}}), ("names", {"a": ["x"]}),
    ]:  # fmt: skip
        changed = copy.deepcopy(stored)
        changed["model"]["backbone"]["init_args"][option] = value
        with pytest.raises(InputError, match=rf"model\.backbone\.{option}"):
            check_stored("best.ckpt", changed, [path])


def test_shipped_configurations_are_all_tried() -> None:
    assert len(CONFIGURATIONS) > 20
    assert all(isinstance(yaml.safe_load((REPOSITORY / name).read_text()), dict) for name in CONFIGURATIONS)


def test_paths_within_joined_sources_are_found() -> None:
    sources = "dielectric_gnn.data.sources"
    entries = {"class_path": f"{sources}.EntryJson", "init_args": {"path": "data/coarse"}}
    joined = [{"class_path": f"{sources}.ExampleMetals", "init_args": {"parts": 1}}, entries]
    source = {"class_path": f"{sources}.Fidelities", "init_args": {"sources": joined, "weights": [1.0, 0.5]}}
    assert stored_paths({"data": {"source": source}}) == {"data.source.sources.1.path": "data/coarse"}
    source["init_args"] = {"sources": joined[:1] * 2}
    assert stored_paths({"data": {"source": source}}) == {}
    for broken in ({"class_path": "os.system"}, {"class_path": f"{sources}.Absent"}, {"class_path": "a"}, "data/mine"):
        source["init_args"] = {"sources": [joined[0], broken]}
        with pytest.raises(InputError, match=r"data\.source\.sources\.1"):
            check_stored("it.ckpt", {"data": {"source": source}})
