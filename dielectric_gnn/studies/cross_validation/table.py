"""Tables of cross-validations: one result, and the paired difference of two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dielectric_gnn.studies.cross_validation.clustered import Estimate, clustered_mean, clustered_slope
from dielectric_gnn.studies.cross_validation.results import ENSEMBLE, ERRORS, OutOfFold
from dielectric_gnn.utils.errors import InputError

_HEADINGS = {"loss": "loss", "mae": "MAE ε", "drude_error": "abs. Δω_D (eV)"}
_TRUE, _PREDICTED = len(ERRORS), len(ERRORS) + 1


def result_table(results: Sequence[OutOfFold]) -> str:
    """Markdown table with a row for every seed, their mean, and the mean prediction of all seeds.

    Errors are means over materials with their standard errors, clustered by formula, and medians. The row of the mean
    over seeds averages the errors of each material before.
    """
    headings = [text for heading in _HEADINGS.values() for text in (heading, "median")]
    rows = [["seed", *headings, "slope of ω_D"]]
    seeds = [one for one in results if one.seed != ENSEMBLE]
    for one in seeds:
        rows.append([one.seed, *_cells(one.values, one.formulas)])
    if len(seeds) > 1:
        rows.append(["mean over seeds", *_cells(mean_over_seeds(seeds).values, seeds[0].formulas)])
    for one in results:
        if one.seed == ENSEMBLE:
            rows.append(["mean prediction", *_cells(one.values, one.formulas)])
    return markdown(rows)


def comparison_table(first: Sequence[OutOfFold], second: Sequence[OutOfFold]) -> tuple[str, int]:
    """Markdown table of two cross-validations and their difference, and the number of materials in it.

    The difference is paired: that of the same material, averaged over the seeds of each side. Only materials that both
    have are compared.

    Raises:
        InputError: They have no material in common.
    """
    one, other = mean_over_seeds(_single_seeds(first)), mean_over_seeds(_single_seeds(second))
    place = {material_id: row for row, material_id in enumerate(other.ids)}
    rows = [row for row, material_id in enumerate(one.ids) if material_id in place]
    if not rows:
        raise InputError("the two cross-validations have no material in common; expected two of one data set")
    formulas = [one.formulas[row] for row in rows]
    left, right = one.values[rows], other.values[[place[one.ids[row]] for row in rows]]
    table = [["", "A", "B", "A − B", "A − B, share of B", "standard errors"]]
    for column, name in enumerate(ERRORS):
        means = [clustered_mean(values[:, column], formulas) for values in (left, right)]
        difference = clustered_mean(left[:, column] - right[:, column], formulas)
        share = f"{difference.value / means[1].value:+.1%}" if means[1].value > 0 else "–"
        sizes = f"{abs(difference.value) / difference.error:.1f}" if difference.error > 0 else "–"
        table.append([_HEADINGS[name], *map(_text, means), _text(difference, "+"), share, sizes])
    slopes = [clustered_slope(values[:, _TRUE], values[:, _PREDICTED], formulas) for values in (left, right)]
    table.append(["slope of ω_D", *map(_text, slopes), "", "", ""])
    return markdown(table), len(rows)


def mean_over_seeds(results: Sequence[OutOfFold]) -> OutOfFold:
    """The errors of every material, averaged over the seeds.

    Raises:
        InputError: The seeds do not have the same materials.
    """
    if any(one.ids != results[0].ids for one in results):
        raise InputError("the seeds of a cross-validation have different materials; repeat the command")
    first = results[0]
    values = np.mean([one.values for one in results], axis=0)
    return OutOfFold("mean", first.ids, first.formulas, first.folds, values)


def _single_seeds(results: Sequence[OutOfFold]) -> list[OutOfFold]:
    return [one for one in results if one.seed != ENSEMBLE]


def _cells(values: NDArray[np.float64], formulas: Sequence[str]) -> list[str]:
    cells = []
    for column in range(len(ERRORS)):
        known = values[~np.isnan(values[:, column]), column]
        median = f"{np.median(known):.3f}" if known.size else "–"
        cells += [_text(clustered_mean(values[:, column], formulas)), median]
    return [*cells, _text(clustered_slope(values[:, _TRUE], values[:, _PREDICTED], formulas))]


def _text(estimate: Estimate, sign: str = "") -> str:
    return "–" if np.isnan(estimate.value) else f"{estimate.value:{sign}.3f} ± {estimate.error:.3f}"


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A table as Markdown, in columns of equal width; its first row is the header."""
    widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in table]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines) + "\n"


def result_lines(folder: Path, results: Sequence[OutOfFold]) -> str:
    """What was cross-validated, and the table."""
    first, num_seeds = results[0], len(_single_seeds(results))
    return (
        f"{len(first.ids)} materials of {len(set(first.formulas))} formulas in {len(set(first.folds))} folds, "
        f"{num_seeds} seed{'s' if num_seeds > 1 else ''}; means ± standard errors clustered by formula\n\n"
        f"{result_table(results)}\nErrors of every material and spectra are in {folder}/\n"
    )
