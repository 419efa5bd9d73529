"""One row per predicted material: as CSV, and as a page with colour swatches that sorts by any column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dielectric_gnn import optics
from dielectric_gnn.data.record import element_symbol
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.optics.screening import FIGURES, QUALITY, figures_of_merit
from dielectric_gnn.optics.spectrum import Spectrum
from dielectric_gnn.prediction.journal import Row
from dielectric_gnn.prediction.page import prediction_page
from dielectric_gnn.targets.training_statistics import TrainingStatistics
from dielectric_gnn.training.spectra import quality_of
from dielectric_gnn.utils.files import write_csv, write_text
from dielectric_gnn.utils.json_values import finite_or_none

_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("material_id", "material", ""),
    ("formula", "formula", ""),
    ("srgb_hex", "colour", "colour"),
    ("drude_ev", "ω_D", "eV"),
    ("drude_std_ev", "± ω_D", "eV"),
    ("eps_inter_std", "± ε", "mean over energies"),
    *((figure.key, figure.heading, figure.unit) for figure in (*FIGURES, *QUALITY)),
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

_TEXT = ("material_id", "formula", "srgb_hex", "illuminant", "observer", "unseen_elements", "remarks")
RANKABLE = tuple(key for key, _, _ in _COLUMNS if key not in _TEXT)
"""Columns of numbers."""

PAGE_ROWS = 5000
"""A browser is slow with more; the page then shows the first ones, the CSV has all."""


@dataclass(frozen=True)
class Conditions:
    """What a summary assumes beside the predicted response.

    Args:
        damping_ev: γ of the Drude term (eV).
        illuminant: Light under which colours are seen.
        observer: Whose eye: `2deg` or `10deg`, the CIE standard observers.
    """

    damping_ev: float = optics.DEFAULT_DAMPING
    illuminant: str = optics.DEFAULT_ILLUMINANT
    observer: optics.Observer = optics.DEFAULT_OBSERVER

    def __post_init__(self) -> None:
        optics.check_damping(self.damping_ev)
        if (self.illuminant, self.observer) != (optics.DEFAULT_ILLUMINANT, optics.DEFAULT_OBSERVER):
            # Refuses unknown names. It imports colour-science, half a second that `fit` can do without.
            optics.white_point(self.illuminant, self.observer)


def summarise(
    rows: Sequence[int],
    spectra: Sequence[Spectrum],
    store: CrystalStore,
    statistics: TrainingStatistics | None,
    conditions: Conditions,
) -> list[Row]:
    """The rows of the summary for some materials of a store.

    Args:
        rows: Their positions in the store.
        spectra: Their predicted responses.
        store: The materials.
        statistics: Of the training, for elements that it lacked.
        conditions: Damping and light.
    """
    eps_inter, drude = np.stack([one.eps_inter for one in spectra]), np.array([one.drude for one in spectra])
    energies, damping = spectra[0].energies, conditions.damping_ev
    light = (conditions.illuminant, conditions.observer)
    figures = figures_of_merit(energies, eps_inter, drude, damping, *light)
    figures |= quality_of(spectra, store, rows)
    xyz = optics.response_colour_or_nan(energies, eps_inter, drude, damping, *light)
    lab, srgb = optics.colour_lab(xyz, *light), optics.colour_srgb(xyz, *light)
    summaries: list[Row] = []
    for place, (row, spectrum) in enumerate(zip(rows, spectra, strict=True)):
        spread = spectrum.std
        known = None if statistics is None else statistics.elements
        unseen = [] if known is None else [z for z in store.elements([row]) if z not in known]
        summary: Row = {
            "material_id": str(store.material_ids[row]),
            "formula": str(store.formulas[row]),
            "srgb_hex": optics.hex_colour(srgb[place]) if np.isfinite(srgb[place]).all() else "",
            "drude_ev": spectrum.drude,
            "drude_std_ev": None if spread is None else spread.drude,
            "eps_inter_std": None if spread is None else (spread.eps_inter.real + spread.eps_inter.imag).mean() / 2,
            "illuminant": conditions.illuminant,
            "observer": conditions.observer,
            "damping_ev": damping,
            "broadening_ev": None if statistics is None else statistics.broadening,
            "unseen_elements": " ".join(element_symbol(number) for number in unseen),
            "remarks": "; ".join(store.remarks(row)),
            **{key: values[place] for key, values in figures.items()},
            **dict(zip(("lab_l", "lab_a", "lab_b"), lab[place], strict=True)),
        }
        summaries.append({key: _plain(summary[key]) for key, _, _ in _COLUMNS})
    return summaries


def write_summary(folder: Path, rows: Sequence[Row], rank_by: str | None) -> None:
    """Write `summary.csv` and `index.html`, ranked.

    Args:
        folder: Where.
        rows: From `summarise`.
        rank_by: Column of numbers, largest first, or with a minus before it smallest first; undefined ones last. None
            ranks by material id.
    """
    ranked = sorted(rows, key=lambda row: str(row["material_id"]))
    key, descending = (rank_by or "material_id").removeprefix("-"), rank_by is not None and rank_by[0] != "-"
    if rank_by is not None:
        sign = -1 if descending else 1
        ranked.sort(key=lambda row: math.inf if row[key] is None else sign * row[key])
    header = [key for key, _, _ in _COLUMNS]
    # Rows of a launch before a column was added lack it.
    write_csv(folder / "summary.csv", header, ([_cell(row.get(key)) for key in header] for row in ranked))
    columns = [column for column in _COLUMNS if any(row.get(column[0]) not in (None, "") for row in ranked)]
    subtitle = "Predicted by a neural network, not measured. Sort by a click on a heading."
    if len(ranked) > PAGE_ROWS:
        subtitle += f" The first {PAGE_ROWS} of {len(ranked)} materials; all are in summary.csv."
    page = prediction_page("Predicted optical response", subtitle, columns, ranked[:PAGE_ROWS], key, descending)
    write_text(folder / "index.html", page)


def _plain(value: object) -> object:
    """A value that JSON has; undefined numbers are None."""
    if isinstance(value, str) or value is None:
        return value
    return finite_or_none(float(value))  # type: ignore[arg-type]


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value or "")
