"""The summary of predictions, one row per material: as CSV, and as a page that sorts by any column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dielectric_gnn import optics
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.optics.intervals import Intervals
from dielectric_gnn.optics.screening import FIGURES_OF_MERIT, QUALITY_SCORES, figures_of_merit
from dielectric_gnn.optics.spectrum import Spectrum
from dielectric_gnn.prediction.journal import Row
from dielectric_gnn.prediction.page import prediction_page
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.training.applicability import reasons_to_doubt, unseen_elements
from dielectric_gnn.training.spectra import quality_of
from dielectric_gnn.utils.files import write_csv, write_text
from dielectric_gnn.utils.json_values import finite_or_none

_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("material_id", "material", ""),
    ("formula", "formula", ""),
    ("warnings", "warnings", ""),
    ("srgb_hex", "colour", "colour"),
    ("drude_ev", "ω_D", "eV"),
    ("drude_interval_ev", "90 % interval of ω_D: ±", "eV"),
    ("drude_std_ev", "σ of ω_D over members", "eV"),
    ("eps_inter_std", "± ε", "mean over energies"),
    *((figure.key, figure.heading, figure.unit) for figure in (*FIGURES_OF_MERIT, *QUALITY_SCORES)),
    ("lab_l", "L*", ""),
    ("lab_a", "a*", ""),
    ("lab_b", "b*", ""),
    ("illuminant", "illuminant", ""),
    ("observer", "observer", ""),
    ("damping_ev", "damping", "eV"),
    ("broadening_ev", "broadening", "eV"),
    ("unseen_elements", "elements not trained on", ""),
    ("remarks", "remarks", ""),
)
"""Key, heading and unit of every column."""

_TEXT_COLUMNS = (
    "material_id",
    "formula",
    "warnings",
    "srgb_hex",
    "illuminant",
    "observer",
    "unseen_elements",
    "remarks",
)
RANKABLE = tuple(key for key, _, _ in _COLUMNS if key not in _TEXT_COLUMNS)
"""Columns of numbers, by which materials can be ranked."""

MAX_PAGE_ROWS = 5000
"""Browsers are slow with more rows; the page shows the first ones, and the CSV has all."""


@dataclass(frozen=True)
class Conditions:
    """Assumptions of a summary beside the predicted response.

    Args:
        damping_ev: γ of the Drude term (eV).
        illuminant: CIE illuminant of colours.
        observer: CIE standard observer of colours, `2deg` or `10deg`.
    """

    damping_ev: float = optics.DEFAULT_DAMPING
    illuminant: str = optics.DEFAULT_ILLUMINANT
    observer: optics.Observer = optics.DEFAULT_OBSERVER

    def __post_init__(self) -> None:
        optics.check_damping(self.damping_ev)
        if (self.illuminant, self.observer) != (optics.DEFAULT_ILLUMINANT, optics.DEFAULT_OBSERVER):
            # Rejects unknown names. It imports colour-science, which takes half a second that `fit` need not spend.
            optics.white_point(self.illuminant, self.observer)


def summarise(
    rows: Sequence[int],
    spectra: Sequence[Spectrum],
    store: CrystalStore,
    statistics: TrainingStatistics | None,
    conditions: Conditions,
    intervals: Intervals | None = None,
) -> list[Row]:
    """Return the rows of the summary for some materials of a store.

    Args:
        rows: Their positions in the store.
        spectra: Their predicted responses.
        store: The materials.
        statistics: Training statistics, for elements that the training set lacks.
        conditions: Damping, illuminant and observer.
        intervals: Prediction intervals of the model, if they were calibrated.
    """
    eps_inter, drude = np.stack([one.eps_inter for one in spectra]), np.array([one.drude for one in spectra])
    energies, damping = spectra[0].energies, conditions.damping_ev
    light = (conditions.illuminant, conditions.observer)
    figures = figures_of_merit(energies, eps_inter, drude, damping, *light)
    figures |= quality_of(spectra, store, rows)
    xyz = optics.response_colour_or_nan(energies, eps_inter, drude, damping, *light)
    lab, srgb = optics.colour_lab(xyz, *light), optics.colour_srgb(xyz, *light)
    remarks = [store.remarks(row) for row in rows]
    reasons = reasons_to_doubt(spectra, figures["f_sum"].tolist(), store, rows, statistics, remarks)
    summaries: list[Row] = []
    for place, (row, spectrum) in enumerate(zip(rows, spectra, strict=True)):
        std = spectrum.std
        summary: Row = {
            "material_id": str(store.material_ids[row]),
            "formula": str(store.formulas[row]),
            "srgb_hex": optics.hex_colour(srgb[place]) if np.isfinite(srgb[place]).all() else "",
            "drude_ev": spectrum.drude,
            "drude_interval_ev": None if intervals is None else intervals.drude,
            "drude_std_ev": None if std is None else std.drude,
            "eps_inter_std": None if std is None else (std.eps_inter.real + std.eps_inter.imag).mean() / 2,
            "illuminant": conditions.illuminant,
            "observer": conditions.observer,
            "damping_ev": damping,
            "broadening_ev": None if statistics is None else statistics.broadening,
            "warnings": "; ".join(reasons[place]),
            "unseen_elements": " ".join(unseen_elements(store, row, statistics)),
            "remarks": "; ".join(remarks[place]),
            **{key: values[place] for key, values in figures.items()},
            **dict(zip(("lab_l", "lab_a", "lab_b"), lab[place], strict=True)),
        }
        summaries.append({key: _json_cell(summary[key]) for key, _, _ in _COLUMNS})
    return summaries


def write_summary(folder: Path, rows: Sequence[Row], rank_by: str | None) -> None:
    """Write `summary.csv` and `index.html`, ranked.

    Args:
        folder: Folder of the files.
        rows: Rows from `summarise`.
        rank_by: Column of numbers, largest first, or with a minus before it smallest first; undefined values last.
            None ranks by material id.
    """
    ranked = sorted(rows, key=lambda row: str(row["material_id"]))
    key, descending = (rank_by or "material_id").removeprefix("-"), rank_by is not None and rank_by[0] != "-"
    if rank_by is not None:
        sign = -1 if descending else 1
        ranked.sort(key=lambda row: math.inf if row[key] is None else sign * row[key])
    header = [key for key, _, _ in _COLUMNS]
    # Rows that an earlier version wrote lack columns that were added since.
    write_csv(folder / "summary.csv", header, ([_csv_cell(row.get(key)) for key in header] for row in ranked))
    columns = [column for column in _COLUMNS if any(row.get(column[0]) not in (None, "") for row in ranked)]
    subtitle = "Predicted by a model, not measured. Sort by a click on a heading."
    if len(ranked) > MAX_PAGE_ROWS:
        subtitle += f" The first {MAX_PAGE_ROWS} of {len(ranked)} materials; all are in summary.csv."
    page = prediction_page("Predicted optical response", subtitle, columns, ranked[:MAX_PAGE_ROWS], key, descending)
    write_text(folder / "index.html", page)


def _json_cell(value: object) -> object:
    """Return a value that JSON can store; undefined numbers are None."""
    if isinstance(value, str) or value is None:
        return value
    return finite_or_none(float(value))  # type: ignore[arg-type]


def _csv_cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value or "")
