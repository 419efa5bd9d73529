"""Studies: specification in YAML, planned runs, and their command lines."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

from dielectric_gnn.studies.execute import check_commands, state_of
from dielectric_gnn.studies.plan import PlannedRun, check_sizes, plan_runs
from dielectric_gnn.studies.spec import Study, read_study
from dielectric_gnn.training.run_record import RECORD, RunRecord, Status, write_record
from dielectric_gnn.utils.errors import InputError
from tests.unit.training.test_run_record import FULL

PLAIN = {
    "name": "small",
    "out": "runs/elsewhere",
    "configs": ["configs/base.yaml"],
    "trainer": "configs/trainer/cpu.yaml",
    "options": {"trainer.max_epochs": 3},
    "data": {"store": "data/none"},
    "models": {
        "tc": {
            "configs": ["configs/backbone/optimetal2b_tc.yaml"],
            "learning_rate": {"value": "6e-4", "reference_parameters": 8140195, "exponent": 1},
        },
        "goten": {"configs": ["configs/backbone/goten.yaml"], "options": {"model.backbone.init_args.heads": 4}},
    },
    "heads": {"free": {"configs": ["configs/head/free_form.yaml"]}, "oscillator": {}},
    "grid": {"models": ["tc", "goten"], "sizes": [100, 50], "widths": [16], "heads": ["free"], "seeds": [1, 42]},
}


@pytest.fixture(autouse=True)
def at_home(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)


def study_of(tmp_path: Path, **changes: object) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**PLAIN, **changes}, sort_keys=False))
    return read_study(path)


def test_the_test_of_a_run_names_the_source_of_its_materials(tmp_path: Path) -> None:
    overlay = tmp_path / "data.yaml"
    source = {"class_path": "EntryJson", "init_args": {"path": "my entries"}}
    overlay.write_text(yaml.safe_dump({"data": {"source": source, "batch_size": 8}, "trainer": {"max_epochs": 3}}))
    options = {"data.source.broadening_ev": 0.1, "data.cutoff": 5.0}
    study = study_of(tmp_path, data=None, configs=["configs/base.yaml", str(overlay)], options=options)
    words = plan_runs(study)[0].test
    given = words[words.index("--data.source") :]
    assert given[:4] == ("--data.source", json.dumps(source), "--data.source.broadening_ev", "0.1")
    assert given[4] == "--ckpt_path"


def test_every_combination_is_a_run(tmp_path: Path) -> None:
    runs = plan_runs(study_of(tmp_path), {"trainer.max_epochs": 7})
    assert len(runs) == len({run.name for run in runs}) == 8
    assert [run.size for run in runs] == [50] * 4 + [100] * 4, "small ones first"
    first = runs[0]
    assert first.name == "tc-free-h16-d50-s1" and first.folder == Path("runs/elsewhere/tc-free-h16-d50-s1")
    assert first.kind == "tc-free-h16"
    assert first.commands() == [
        "dielectric-gnn fit --config configs/base.yaml --config configs/backbone/optimetal2b_tc.yaml "
        "--config configs/head/free_form.yaml --config configs/trainer/cpu.yaml --trainer.max_epochs 7 "
        "--model.optimizer.init_args.lr 0.0006 --model.lr_scaling.reference_parameters 8140195 "
        "--model.lr_scaling.exponent 1.0 --model.backbone.init_args.width 16 --data.train_size 50 "
        "--data.store data/none --seed_everything 1 --study small --run_dir runs/elsewhere/tc-free-h16-d50-s1",
        "dielectric-gnn test --config configs/trainer/cpu.yaml --data.store data/none "
        "--ckpt_path runs/elsewhere/tc-free-h16-d50-s1/checkpoints/best.ckpt",
    ]
    goten = next(run for run in runs if run.name == "goten-free-h16-d100-s42")
    assert "--model.backbone.init_args.heads 4" in goten.commands()[0]
    assert "lr_scaling" not in goten.commands()[0]


def test_blocks_share_runs_and_sizes_may_be_all(tmp_path: Path) -> None:
    blocks = [
        {"models": ["goten"], "sizes": [50, None], "widths": [16], "seeds": [1]},
        {"models": ["goten"], "sizes": [50], "widths": [16, 32], "seeds": 1},
    ]
    names = [run.name for run in plan_runs(study_of(tmp_path, grid=blocks))]
    assert names == ["goten-h16-d50-s1", "goten-h32-d50-s1", "goten-h16-all-s1"]
    blocks[1]["options"] = {"trainer.max_epochs": 9}
    with pytest.raises(InputError, match="goten-h16-d50-s1 different options"):
        plan_runs(study_of(tmp_path, grid=blocks))


BLOCK = PLAIN["grid"]
assert isinstance(BLOCK, dict)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": [5]}, "unknown key 'sizes'; known are name, models, grid"),
        ({"grid": {**BLOCK, "size": [5]}}, r"grid\[0\]: unknown key 'size'"),
        ({"grid": []}, "no runs; the grid is empty"),
        ({"grid": {**BLOCK, "seeds": []}}, r"grid\[0\]: seeds is empty, so there are no runs"),
        ({"grid": {**BLOCK, "sizes": [0]}}, r"grid\[0\]: sizes has 0, expected numbers of at least 1"),
        ({"grid": {**BLOCK, "sizes": ["1k"]}}, "sizes has '1k', expected whole numbers"),
        ({"grid": {"models": ["tc"], "sizes": [5]}}, r"grid\[0\]: seeds is missing"),
        ({"grid": {**BLOCK, "models": ["cgc"]}}, r"'cgc' is not among the models \(tc, goten\)"),
        ({"grid": {**BLOCK, "heads": ["x"]}}, r"'x' is not among the heads \(free, oscillator\)"),
        ({"models": {}}, "models is {}, expected names"),
        ({"models": {"tc": {"config": []}}}, "models.tc: unknown key 'config'"),
        (
            {"models": {**PLAIN["models"], "tc": {"learning_rate": {"value": "fast"}}}},
            "value is 'fast', expected a pos",
        ),
        ({"models": {**PLAIN["models"], "tc": {"learning_rate": {"rate": 1}}}}, "learning_rate: unknown key 'rate'"),
        ({"configs": ["configs/none.yaml"]}, "configs/none.yaml: no such overlay"),
        ({"options": ["a"]}, r"options is \['a'\], expected keys and values"),
        ({"data": "store"}, "data: expected keys"),
        ({"name": 5}, "name is 5, expected text"),
        *(
            ({"name": name}, "study.yaml: name is .*expected a name")
            for name in (
                "",
                " ",
                "..",
                "../up",
                "/abs",
                "a/b",
                "a\\b",
                "a\nb",
                "\x1b[2J",
                "x" * 65,
                ".hidden",
                "-a",
                "a..b",
            )
        ),
        ({"models": {"../up": {}}}, "a name under models is '../up', expected"),
        ({"heads": {"a/b": {}}}, "a name under heads is 'a/b', expected"),
        ({"out": ""}, "out is '', expected the name of a folder"),
        ({"out": "runs/\x1b[2J"}, "without control characters"),
        ({"grid": {**BLOCK, "seeds": [1, -1]}}, "a seed is -1, expected a whole number from 0 to 4294967295"),
        ({"grid": {**BLOCK, "seeds": 2**32}}, "a seed is 4294967296, expected"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_runs(study_of(tmp_path, **changes))


def test_files_that_are_not_studies(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    with pytest.raises(InputError, match="cannot be read"):
        read_study(path)
    path.write_text("name: [")
    with pytest.raises(InputError, match="not YAML"):
        read_study(path)
    path.write_text("just text")
    with pytest.raises(InputError, match="expected keys"):
        read_study(path)


def test_sizes_larger_than_the_data(tmp_path: Path) -> None:
    store = tmp_path / "store"
    study = study_of(tmp_path, data={"store": str(store)})
    check_sizes(study, plan_runs(study))  # the store does not exist yet
    store.mkdir()
    with pytest.raises(InputError, match="not a store with a split"):
        check_sizes(study, plan_runs(study))
    np.save(store / "split_train.npy", np.arange(60))
    with pytest.raises(InputError, match="has 60 training materials, but the grid has sizes 100"):
        check_sizes(study, plan_runs(study))
    np.save(store / "split_train.npy", np.arange(100))
    check_sizes(study, plan_runs(study))


@pytest.mark.parametrize("name", ["laptop", "a.b", "Größe 2", "cgc+tc=(1,2)", "_x", "x" * 64, "7"])
def test_usual_names_are_accepted(tmp_path: Path, name: str) -> None:
    models = {name: PLAIN["models"]["goten"]}  # type: ignore[index]
    study = study_of(tmp_path, name=name, models=models, grid={**BLOCK, "models": [name], "seeds": [0, 2**32 - 1]})
    assert all(run.folder.parent == Path("runs/elsewhere") for run in plan_runs(study))


def planned(folder: Path, *fit: str) -> PlannedRun:
    return PlannedRun("a", folder, fit=("fit", *fit), test=("test",), kind="k", size=5, seed=1)


@pytest.mark.parametrize(
    ("status", "metrics", "state"),
    [
        ("finished", {"test/loss": 1.0}, "finished"),
        ("finished", {"validation/loss": 1.0}, "trained"),
        ("interrupted", {}, "interrupted"),
        ("failed", {}, "failed"),
        ("running", {}, "running"),
    ],
)
def test_state_follows_from_the_record(tmp_path: Path, status: Status, metrics: dict[str, float], state: str) -> None:
    assert state_of(planned(tmp_path)) == "waiting"
    record = RunRecord(**{**vars(FULL), "status": status, "metrics": metrics})
    write_record(tmp_path / RECORD, record)
    assert state_of(planned(tmp_path)) == state


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "commands.json").write_text('{"fit": ["fit", "--lr", "1"], "test": []}')
    check_commands(planned(tmp_path, "--lr", "1"))
    with pytest.raises(InputError, match=r"with other settings \('--lr 1', now '--lr 2'\)"):
        check_commands(planned(tmp_path, "--lr", "2"))
    (tmp_path / "commands.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        check_commands(planned(tmp_path, "--lr", "1"))


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[3].glob("configs/study/*.yaml")), ids=lambda p: p.stem)
def test_shipped_studies(path: Path) -> None:
    runs = plan_runs(read_study(path))
    seeds, sizes, widths = 3, 7, 7
    number = {
        "laptop": 30,
        "metals": 5 * 8 * seeds,
        "metals_backbones": 4 * 4 * seeds,
        "published_data_scaling": 4 * sizes * seeds,
        "published_width_scaling": 3 * widths * seeds,
        # Both axes of one model, which share a run; one axis of OptiMate; and two complete grids with their axes.
        "published_grid": (sizes + widths - 1 + sizes + 2 * sizes * widths) * seeds,
        "published_learning_rates": 11 * widths * seeds,
        "published_spectrum_widths": 4 * seeds,
        "published_layers": 8 * 2 * seeds,
    }
    assert len(runs) == number[path.stem]
    if path.stem.startswith("published"):
        assert {run.seed for run in runs} == {1, 42, 137}
        assert all("--data.subset published" in " ".join(run.fit) for run in runs)


def test_the_published_runs_are_all_there(repository: Path) -> None:
    """Data scaling 4 x 21, width scaling 3 x 21, grids 2 x 147, a scan of 231, and 12 and 48 further runs."""
    names = ("grid", "learning_rates", "spectrum_widths", "layers")
    runs = {name: plan_runs(read_study(repository / f"configs/study/published_{name}.yaml")) for name in names}
    assert [len(runs[name]) for name in names[1:]] == [231, 12, 48]
    rule = "--model.lr_scaling.reference_parameters"
    axes = {(run.kind, run.size, run.seed): rule in run.fit for run in runs["grid"]}
    models = {"optimetal2b_cgc": False, "optimetal2b_tc": True, "optimetal3b_tc": True}
    for model, scaled in models.items():
        data = [key for key in axes if key[0] == f"{model}-h256"]
        width = [key for key in axes if key[0].startswith(f"{model}-h") and key[1] == 20000]
        grid = [key for key in axes if key[0].startswith(f"{model}-h")]
        assert (len(data), len(width), len(grid)) == (21, 21, 147 if scaled else 39)
        assert all(axes[key] is scaled for key in grid), "the learning-rate rule is for the TransformerConv models"
    assert sum(key[0] == "optimate" for key in axes) == 21 and len(axes) == 39 + 21 + 2 * 147


def test_the_laptop_study_trains_every_size_equally_long(repository: Path) -> None:
    """Otherwise its curve would reflect the number of steps, not the data."""
    lengths = set()
    for run in plan_runs(read_study(repository / "configs/study/laptop.yaml")):
        option = dict(zip(run.fit, run.fit[1:], strict=False))
        epochs, every, warmup = (
            int(option[f"--{key}"])
            for key in ("trainer.max_epochs", "trainer.check_val_every_n_epoch", "model.schedule.warmup_epochs")
        )
        assert run.size is not None and epochs % every == 0, "the last epoch is validated"
        steps = epochs * math.ceil(run.size / int(option["--data.batch_size"]))
        assert 3750 <= steps <= 3840
        lengths.add((epochs * run.size, epochs // every, warmup / epochs))
    assert lengths == {(120_000, 30, 64 / 480)}


def test_commands_are_quoted_for_a_shell(tmp_path: Path) -> None:
    """Options with spaces and lists survive a shell."""
    study = study_of(tmp_path, options={"data.split_fractions": [0.7, 0.2, 0.1], "figures.every_n_epochs": None})
    command = plan_runs(study)[0].commands()[0]
    assert "--data.split_fractions '[0.7, 0.2, 0.1]'" in command and "--figures.every_n_epochs null" in command
    assert os.sep in command


def test_a_training_subset_per_seed(tmp_path: Path) -> None:
    grid = {**PLAIN["grid"], "subset_seed": "seed"}  # type: ignore[dict-item]
    for run in plan_runs(study_of(tmp_path, grid=grid)):
        assert run.fit[run.fit.index("--data.subset_seed") + 1] == str(run.seed)
    assert all("--data.subset_seed" not in run.fit for run in plan_runs(study_of(tmp_path)))
    with pytest.raises(InputError, match="subset_seed is 3, expected shared or seed"):
        study_of(tmp_path, grid={**grid, "subset_seed": 3})
