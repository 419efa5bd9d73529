"""CSV files of losses, as spreadsheets and people write them."""

from pathlib import Path

import pytest

from dielectric_gnn.scaling.reading import runs_from_csv
from dielectric_gnn.utils.errors import InputError


def table(folder: Path, text: str) -> Path:
    path = folder / "losses.csv"
    path.write_bytes(text.encode())
    return path


def test_the_byte_order_mark_of_excel_is_ignored(tmp_path: Path) -> None:
    runs, remarks = runs_from_csv(table(tmp_path, "\ufeffD,loss,seed\r\n100,1.5,1\r\n200,1.0,1.0\r\n"))
    assert [(run.values, run.loss, run.seed) for run in runs] == [({"D": 100}, 1.5, 1), ({"D": 200}, 1.0, 1)]
    assert not remarks


def test_names_of_columns_in_another_case(tmp_path: Path) -> None:
    (run,), remarks = runs_from_csv(table(tmp_path, " d ,n,Loss,GROUP,Seed,FLOPs,Run\n10,20,0.5,net,,1e9,first\n"))
    assert (run.values, run.loss, run.group, run.seed) == ({"N": 20, "D": 10}, 0.5, "net", None)
    assert (run.flops, run.name) == (1e9, "first") and not remarks


def test_columns_that_are_not_used_are_named(tmp_path: Path) -> None:
    path = table(tmp_path, "model,D,loss,epochs\nnet,10,0.5,3\n")
    _, (remark,) = runs_from_csv(path)
    assert remark == f"{path}: not used: model, epochs; known columns are loss, x, N, D, seed, run, group, flops"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "# a comment\n\nD,loss\n100,1.5\n# another\n200,low\n",
            "losses.csv, line 6: loss is 'low', expected a number",
        ),
        ("D,loss,seed\n1,2,nan\n", "line 2: seed is 'nan', expected a whole number, or nothing"),
        ("D,loss,seed\n1,2,1.5\n", "line 2: seed is '1.5', expected a whole number, or nothing"),
        ("D,loss,seed\n1,2,one\n", "line 2: seed is 'one', expected a number"),
        ("D,loss\n1,\n", "line 2: loss is '', expected a number"),
        ("D,loss\n1,2\n3\n", "line 3: it has 1 cells, expected 2, as the header"),
        ("D,loss\n1,2,3\n", "line 2: it has 3 cells, expected 2"),
        ("D,loss,d\n1,2,3\n", r"the column 'D' occurs twice \(D, loss, d\); keep one"),
        ("D,loss,loss\n1,2,3\n", r"the column 'loss' occurs twice"),
        ("D:loss\n1:2\n", "its columns are D:loss; expected `loss` with .* --column loss=val_loss"),
        ("", "it is empty; expected a header"),
    ],
)
def test_mistakes_name_the_line_of_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        runs_from_csv(table(tmp_path, text))
