"""Cutoff, energy grid and `tensors` are given once; the order of the shipped overlays has no effect."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import pytest

from dielectric_gnn.cli.config_files import in_reading_order
from dielectric_gnn.cli.training import DielectricCLI
from dielectric_gnn.data.record import CrystalRecord
from dielectric_gnn.data.store.writer import write_store
from dielectric_gnn.utils.errors import InputError
from dielectric_gnn.utils.yaml_files import read_yaml

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
GOTEN = ("--model.backbone", "dielectric_gnn.models.backbones.Goten")


class ParsedOnly(DielectricCLI):
    """Parses, and builds nothing."""

    def before_instantiate_classes(self) -> None:
        pass

    def instantiate_classes(self) -> None:
        pass

    def after_instantiate_classes(self) -> None:
        pass

    def _run_subcommand(self, subcommand: str) -> None:
        pass


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["dielectric-gnn"])


def parsed(*words: str) -> dict[str, Any]:
    cli = ParsedOnly(["fit", *words])
    settings: dict[str, Any] = json.loads(cli._parser("fit").dump(cli.config["fit"], format="json"))
    return settings


def with_files(*names: str) -> list[str]:
    return [word for name in names for word in ("--config", str(CONFIGS / f"{name}.yaml"))]


def leaves(settings: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from leaves(value, f"{prefix}.{key}")
    else:
        yield prefix


@pytest.mark.parametrize(("one", "other"), list(combinations(("backbone", "head", "data", "trainer"), 2)))
def test_overlays_of_two_kinds_have_no_setting_in_common(one: str, other: str) -> None:
    for first in (CONFIGS / one).glob("*.yaml"):
        for second in (CONFIGS / other).glob("*.yaml"):
            assert not {*leaves(read_yaml(first))} & {*leaves(read_yaml(second))}, (first, second)


def test_every_permutation_of_overlays_is_read_recipe_first_and_refinements_last() -> None:
    names = ("base", "backbone/goten", "head/tensor", "data/store", "trainer/cpu", "width/32")
    for order in permutations(names):
        files = [Path(word).stem for word in in_reading_order(with_files(*order))[1::2]]
        assert files[0] == "base" and files[-1] == "32" and sorted(files) == sorted(Path(name).stem for name in names)


@pytest.mark.parametrize("head", ["tensor", "oscillator"])
@pytest.mark.parametrize("backbone", ["goten", "optimetal3b_tc"])
def test_permuted_overlays_parse_to_the_same_settings(backbone: str, head: str) -> None:
    names = (f"backbone/{backbone}", f"head/{head}", "data/example", "trainer/cpu", "width/32", "base")
    expected = parsed(*with_files("base", *names[:-1]))
    assert expected["model"]["backbone"]["init_args"]["width"] == 32 and expected["data"]["batch_size"] == 16
    for order in (names, names[::-1], (*names[3:], *names[:3])):
        found = parsed(*with_files(*order))
        assert {**found, "config": None} == {**expected, "config": None}


def test_files_given_with_an_equals_sign_are_ordered_too() -> None:
    words = [f"--config={CONFIGS / 'width' / '16.yaml'}", "--config", str(CONFIGS / "base.yaml")]
    assert in_reading_order(words) == [f"--config={CONFIGS / 'base.yaml'}", "--config", words[0].split("=")[1]]


@pytest.mark.parametrize("option", ["--data.cutoff", "--model.backbone.cutoff", "--model.backbone.init_args.cutoff"])
def test_a_cutoff_holds_for_data_and_backbone(option: str) -> None:
    settings = parsed(*with_files("base", "backbone/goten"), option, "6.0")
    assert settings["data"]["cutoff"] == settings["model"]["backbone"]["init_args"]["cutoff"] == 6.0


def test_two_cutoffs_are_refused_with_both_values_and_places(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("model: {backbone: {init_args: {cutoff: 5.0}}}\n")
    with pytest.raises(InputError, match=r"data\.cutoff is 6\.0 \(command line\).* is 5\.0 \(.*mine\.yaml\)"):
        parsed(*with_files("base"), "--config", str(file), "--data.cutoff=6.0")
    assert parsed("--config", str(file))["data"]["cutoff"] == 5.0


def test_tensors_of_the_data_hold_for_the_backbone() -> None:
    settings = parsed(*with_files("head/tensor", "base", "backbone/goten"))
    assert settings["data"]["tensors"] and settings["model"]["backbone"]["init_args"]["tensors"]
    with pytest.raises(InputError, match=r"data\.tensors is True .*model\.backbone\.tensors is False"):
        parsed(*GOTEN, "--data.tensors", "true", "--model.backbone.tensors", "false")


def test_a_store_determines_cutoff_and_grid(metals: list[CrystalRecord], tmp_path: Path) -> None:
    split = {"train": slice(0, 2), "val": slice(2, 3), "test": slice(3, 4)}
    write_store(
        tmp_path / "store", metals[:4], 4.5, lambda ids, _: {k: list(ids[s]) for k, s in split.items()}, source="x"
    )
    settings = parsed("--data.store", str(tmp_path / "store"))
    assert settings["data"]["cutoff"] == settings["model"]["backbone"]["init_args"]["cutoff"] == 4.5
    assert settings["model"]["grid"] == {"start": 0.0, "stop": 20.0, "num": 2001}


GRID = {"start": 0.0, "stop": 8.0, "num": 401}


def grid_words(option: str, **values: float) -> list[str]:
    return [word for key, value in {**GRID, **values}.items() for word in (f"--{option}.{key}", str(value))]


@pytest.mark.parametrize(
    "words",
    [
        grid_words("data.grid"),
        ["--data.grid", json.dumps(GRID)],
        [*grid_words("data.grid"), *grid_words("model.grid")],
        ["--data.source", "Calculations", "--data.source.path", "x", *grid_words("data.source.grid")],
    ],
)
def test_the_grid_of_the_data_holds_for_the_model(words: list[str]) -> None:
    assert parsed(*with_files("base"), *words)["model"]["grid"] == GRID


def test_two_grids_are_refused_with_both_values() -> None:
    with pytest.raises(InputError, match=r"data\.grid is 401 points .* model\.grid is 161 points"):
        parsed(*with_files("base"), *grid_words("data.grid"), *grid_words("model.grid", num=161))
