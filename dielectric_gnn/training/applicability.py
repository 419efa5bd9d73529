"""Where a prediction is to be doubted: structures, compositions and spectra unlike those of the training set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dielectric_gnn.data.charge_balance import is_charge_balanced
from dielectric_gnn.data.composition import descriptor_names, stored_descriptors
from dielectric_gnn.data.record import element_symbol
from dielectric_gnn.data.store.crystal_store import CrystalStore
from dielectric_gnn.optics.spectrum import Spectrum
from dielectric_gnn.targets.training_statistics import TrainingStatistics

SMALL_DRUDE_EV = 1.0
"""A smaller predicted Drude frequency is rare among metals: 1 of 448 embedded ones is below."""
USUAL_F_SUM = (0.1, 10.0)
"""Share of the f-sum of valence electrons within the window; beyond that of every embedded metal (0.16 to 7.9)."""
LARGE_SPREAD_EV = 1.5
"""Standard deviation of the Drude frequency over the members of an ensemble that is named."""


def reasons_to_doubt(
    spectra: Sequence[Spectrum],
    f_sums: Sequence[float],
    store: CrystalStore,
    rows: Sequence[int],
    statistics: TrainingStatistics | None,
    remarks: Sequence[Sequence[str]],
) -> list[list[str]]:
    """Reasons to doubt predictions, the most serious ones first; an empty list for each that has none.

    Args:
        spectra: Predictions for B materials, on one grid.
        f_sums: Their share of the f-sum (`training.spectra.quality_of`), (B,).
        store: Holds the materials.
        rows: Their positions in it, (B,).
        statistics: Of the training set of the model; None if it is unknown.
        remarks: Those of the store on the structures (`CrystalStore.remarks`), (B,).
    """
    far = _distant(store, rows, statistics)
    return [
        [
            *remarks[place],
            *_unseen_elements(store, row, statistics),
            *far[place],
            *_doubts_about_a_metal(store, row, spectrum),
            *_doubtful_spectrum(spectrum, float(f_sums[place])),
        ]
        for place, (row, spectrum) in enumerate(zip(rows, spectra, strict=True))
    ]


def unseen_elements(store: CrystalStore, row: int, statistics: TrainingStatistics | None) -> list[str]:
    """Symbols of the elements of a material that the training set lacks; none where the training set is unknown."""
    known = None if statistics is None else statistics.elements
    return [] if known is None else [element_symbol(z) for z in store.elements([row]) if z not in known]


def _unseen_elements(store: CrystalStore, row: int, statistics: TrainingStatistics | None) -> list[str]:
    if statistics is None or statistics.elements is None:
        return ["the training set of the model is unknown"]
    unseen = unseen_elements(store, row, statistics)
    return [f"elements that the training set lacks: {', '.join(unseen)}"] if unseen else []


def _distant(store: CrystalStore, rows: Sequence[int], statistics: TrainingStatistics | None) -> list[list[str]]:
    coverage = None if statistics is None else statistics.coverage
    if coverage is None or coverage.centre.shape != (len(descriptor_names()),):  # none, or descriptors of before
        return [[] for _ in rows]
    distances = coverage.distances(stored_descriptors(store, np.asarray(rows, dtype=np.int64))).tolist()
    return [
        [f"composition or density unlike the training set (distance {distance:.2g}, limit {coverage.limit:.2g})"]
        if distance > coverage.limit
        else []
        for distance in distances
    ]


def _doubts_about_a_metal(store: CrystalStore, row: int, spectrum: Spectrum) -> list[str]:
    found = []
    if is_charge_balanced(store.numbers_of(row).tolist()):
        found.append("may not be a metal: its electrons just close the shells of the ions")
    if spectrum.drude < SMALL_DRUDE_EV:
        found.append(f"may not be a metal: the predicted Drude frequency is {spectrum.drude:.2g} eV")
    return found


def _doubtful_spectrum(spectrum: Spectrum, f_sum: float) -> list[str]:
    found, (least, most) = [], USUAL_F_SUM
    if np.isfinite(f_sum) and not least <= f_sum <= most:
        found.append(f"the f-sum of the spectrum is {f_sum:.2g}, expected {least:g} to {most:g}")
    if spectrum.std is not None and spectrum.std.drude > LARGE_SPREAD_EV:
        found.append(f"the members of the ensemble disagree: Drude frequency ± {spectrum.std.drude:.2g} eV")
    return found
