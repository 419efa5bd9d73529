r"""Compare two cross-validations of one data set: the paired difference of the errors, with its standard error.

    dielectric-gnn compare runs/cv-network runs/cv-kernel

A and B are folders of `dielectric-gnn cross-validate`. The errors of every material are averaged over the seeds of
each, and subtracted; standard errors are clustered by formula.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dielectric_gnn.cli.function_parser import parse_words
from dielectric_gnn.utils.entry import command

if TYPE_CHECKING:
    from dielectric_gnn.studies.cross_validation.results import OutOfFold


def main(words: Sequence[str] | None = None) -> None:
    """Compare and print.

    Args:
        words: Command line without the program's name; None takes that of the process.
    """
    command(lambda: compare(**parse_words(compare, words, "dielectric-gnn compare", __doc__)))


def compare(a: Path, b: Path) -> None:
    """Print the table of two cross-validations and their difference.

    Args:
        a: Folder of the first.
        b: Folder of the second.
    """
    # Imported here, because Lightning takes seconds that the help page need not spend.
    from dielectric_gnn.studies.cross_validation.results import read_results
    from dielectric_gnn.studies.cross_validation.table import comparison_table

    first, second = read_results(a), read_results(b)
    table, num = comparison_table(first, second)
    print(f"A: {a}\nB: {b}\n{num} materials; means ± standard errors clustered by formula\n\n{table}")
    numbers = {len(first[0].ids), len(second[0].ids)}
    if numbers != {num}:
        print(f"A has {len(first[0].ids)} materials and B {len(second[0].ids)}; only common ones are compared")
    if not _same_folds(first[0], second[0]):
        print("A and B were cross-validated with different folds, so that the training materials differ, too")


def _same_folds(first: OutOfFold, second: OutOfFold) -> bool:
    folds = dict(zip(second.ids, second.folds, strict=True))
    pairs = {(fold, folds[name]) for name, fold in zip(first.ids, first.folds, strict=True) if name in folds}
    return len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
