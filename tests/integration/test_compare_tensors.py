"""The comparison of tensor models: its splits and its mistakes; without the trainings."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.commands import load_tool


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_tool("compare_tensors")


def test_every_anisotropic_metal_is_tested_once(tool: ModuleType) -> None:
    tested: list[str] = []
    for number in range(4):
        fold = tool.Fold(number, 4)
        formula = {record.material_id: record.formula for record in fold.records()}
        split = fold.split()
        assert not {formula[name] for name in split["train"]} & {formula[name] for name in split["test"]}
        assert len(split["train"]) > 0.8 * len(formula)
        tested += split["test"]
    assert len(tested) == len(set(tested)) == 17


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--folds", "0"], "--folds is 0, expected 2 to 1"),
        (["--folds", "40"], "--folds is 40, expected 2 to 1"),
        (["--width", "20"], "Goten has 8 heads, which do not divide its width 20; give heads that do, such as 4"),
        (["--epochs", "0"], "argument --epochs: 0, expected at least 1"),
        (["--width", "16", "--epochs", "7"], "made with width 32, but now it is 16; choose another --out"),
    ],
)
def test_mistakes_are_one_line(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    if "7" in words:
        options = {"folds": 4, "width": 32, "head": "free_form", "weight_decay": 0.01, "epochs": 7, "lr": 2e-3}
        (tmp_path / "fold0-seed1.json").write_text(json.dumps({"options": options, "errors": {}}))
    with pytest.raises(SystemExit) as exit_:
        tool.main([*words, "--out", str(tmp_path)])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_results_of_equal_options_are_used_again(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = {name: {key: [1.0] for key in tool.COLUMNS} for name in tool.PREDICTORS}
    options = {"folds": 2, "width": 64, "head": "free_form", "weight_decay": 0.01, "epochs": 60, "lr": 2e-3}
    for fold in range(2):
        (tmp_path / f"fold{fold}-seed1.json").write_text(json.dumps({"options": options, "errors": errors}))
    monkeypatch.setattr(tool, "train", None)
    tool.main(["--folds", "2", "--seeds", "1", "--out", str(tmp_path)])
    assert capsys.readouterr().out.count("| 1.000 ± 0.000 ") == 3 * len(tool.PREDICTORS)


def test_table_averages_crystals_then_seeds(tool: ModuleType) -> None:
    def fold(values: list[float]) -> dict[str, dict[str, list[float]]]:
        return {name: dict.fromkeys(tool.COLUMNS, values) for name in tool.PREDICTORS}

    results = {1: [fold([1.0, 2.0]), fold([6.0])], 42: [fold([4.0, 5.0]), fold([6.0])]}
    *_, last = tool.table(results).splitlines()
    assert last == "| true average in every direction " + "| 4.000 ± 1.000 " * 3 + "|"
