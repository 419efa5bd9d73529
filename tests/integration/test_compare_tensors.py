"""The comparison of tensor models: who is trained on and tested, and what its table says; without the trainings."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def tool(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_tensors", repository / "tools" / "compare_tensors.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_table_averages_crystals_then_seeds(tool: ModuleType) -> None:
    def fold(values: list[float]) -> dict[str, dict[str, list[float]]]:
        return {name: dict.fromkeys(tool.COLUMNS, values) for name in tool.PREDICTORS}

    results = {1: [fold([1.0, 2.0]), fold([6.0])], 42: [fold([4.0, 5.0]), fold([6.0])]}
    *_, last = tool.table(results).splitlines()
    assert last == "| true average in every direction " + "| 4.000 ± 1.000 " * 3 + "|"
